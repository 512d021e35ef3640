"""Does this machine sound normal? The library behind every way in."""
