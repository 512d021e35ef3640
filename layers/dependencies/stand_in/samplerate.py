"""Stands where samplerate would be, a resampler that librosa looks for at import and can do without.

Finding nothing, librosa's loader prepares an error text from the sources of all callers, which
takes a tenth of a second at every start.
"""

raise ImportError("samplerate is not in the Lambda layer; soxr is, which librosa resamples with by default")
