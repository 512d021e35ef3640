"""Supported audio formats, their file name suffixes, and limits."""

from dataclasses import dataclass
from importlib.util import find_spec

FORMATS = "WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64"
SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus"),
    *(".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
)
"""File name suffixes of recordings that are read everywhere, in lower case."""

HOW_TO_CONVERT = "convert it to WAV or FLAC first, for example with `ffmpeg -i FILE recording.wav`"

OPTIONAL_SUFFIXES = (
    *(".m4a", ".mp4", ".m4b", ".mov", ".3gp", ".3gpp", ".3g2", ".aac", ".webm", ".weba"),
    *(".mka", ".mkv", ".amr", ".awb", ".wma", ".wv", ".ape", ".tta", ".spx", ".voc", ".sph"),
)
"""File name suffixes of other recordings. The optional package PyAV reads them, see ffmpeg.py."""

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


def named_as_recording(name: str) -> bool:
    """Whether a file name or key is that of a recording, which may not be readable here."""
    return name.lower().endswith(SUFFIXES + OPTIONAL_SUFFIXES)


def ffmpeg_installed() -> bool:
    """Whether the optional package PyAV is there, which reads what has OPTIONAL_SUFFIXES."""
    return find_spec("av") is not None
