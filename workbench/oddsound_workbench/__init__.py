"""What a person runs on their own machine: command line, training, evaluation."""

import os

from oddsound.threads import VARIABLES

# Before NumPy is imported, also for what reads no settings. `oddsound.threads` says why.
for _variable in VARIABLES:
    os.environ.setdefault(_variable, "1")
