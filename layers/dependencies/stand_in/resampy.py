"""Replaces the resampler resampy, which librosa tries to import but does not need.

Without this module, librosa's loader prepares an error text from the sources of all callers,
which takes 0.1 s at every start.
"""

raise ImportError("resampy is not in the Lambda layer; librosa can resample with soxr, which is")
