"""What is read: the formats, how their files are called, and how large they may be."""

from dataclasses import dataclass

FORMATS = "WAV, FLAC, OGG, MP3, AIFF and AU"
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".snd")
"""How the names of such files end, in lower case."""


@dataclass(frozen=True)
class AudioLimits:
    """What is refused unread: max_bytes of a file, max_duration_s of its sound."""

    max_bytes: int
    max_duration_s: float
