"""Does this machine sound normal? The library behind every way in."""

import gc

__version__ = "0.2.0"

# What is imported stays. Looking for garbage in it every 700 objects takes a tenth of a cold start.
gc.set_threshold(20_000, 20, 20)
