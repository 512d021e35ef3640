"""Supported audio formats, their file name suffixes, and limits."""

from dataclasses import dataclass

FORMATS = "WAV, FLAC, OGG, MP3, AIFF and AU"
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".snd")
"""File name suffixes of recordings, in lower case."""

SAMPLE_RATES_HZ = (2_000, 384_000)
"""Lowest and highest sample rate of a recording and of a model."""


@dataclass(frozen=True)
class AudioLimits:
    """Limits of one recording.

    max_bytes : size of the file
    max_duration_s : duration of the decoded audio
    """

    max_bytes: int
    max_duration_s: float
