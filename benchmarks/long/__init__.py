"""Memory and processor time of a prediction, for recordings of a minute to an hour.

Run it with `make bench-long`.
"""
