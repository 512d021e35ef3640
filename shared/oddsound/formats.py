"""Supported audio formats, their file name suffixes, and limits."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import PurePosixPath

from oddsound.errors import AudioTooLargeError

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

MEDIA_TYPES = {
    **dict.fromkeys((".wav", ".wave", ".bwf", ".rf64"), "audio/wav"),
    **dict.fromkeys((".ogg", ".oga", ".opus", ".spx"), "audio/ogg"),
    **dict.fromkeys((".mp3", ".mp2"), "audio/mpeg"),
    **dict.fromkeys((".m4a", ".mp4", ".m4b"), "audio/mp4"),
    **dict.fromkeys((".aif", ".aiff", ".aifc"), "audio/aiff"),
    **dict.fromkeys((".webm", ".weba"), "audio/webm"),
    ".flac": "audio/flac",
    ".aac": "audio/aac",
}
"""Of recordings that browsers may play, by the suffix of the file name."""

SAMPLE_RATES_HZ = (2_000, 384_000)
"""Lowest and highest sample rate of a recording and of a model."""


MAX_DECODED_SAMPLES = 700_000_000
"""An hour of 96 kHz stereo has 691 million."""


@dataclass(frozen=True)
class LimitNames:
    """The settings that limits come from, for error texts."""

    max_bytes: str = "MAX_UPLOAD_BYTES"
    max_duration_s: str = "MAX_DURATION_S"
    max_samples: str = "MAX_DECODED_SAMPLES"


@dataclass(frozen=True)
class AudioLimits:
    """Limits of one recording.

    max_bytes : size of the file
    max_duration_s : duration of the decoded audio
    max_samples : decoded samples of all channels: what decoding costs
    names : of the settings; None if these limits cannot be set
    """

    max_bytes: int
    max_duration_s: float
    max_samples: int = MAX_DECODED_SAMPLES
    names: LimitNames | None = LimitNames()

    def check_bytes(self, size: int, what: str = "the file") -> None:
        """Raises AudioTooLargeError if a file is larger than `max_bytes`."""
        if size > self.max_bytes:
            limit = f"{self.max_bytes:,} bytes"
            raise self._error(f"{what} has {size:,} bytes", limit, "max_bytes")

    def check_frames(
        self, frames: int, sample_rate: int, channels: int, *, is_end: bool = True
    ) -> None:
        """Raises AudioTooLargeError if a recording is longer, or has more samples, than allowed.

        frames : number of samples of each channel
        is_end : false if there may be more frames
        """
        duration_s, samples = frames / sample_rate, frames * channels
        if duration_s > self.max_duration_s:
            found = f"{duration_s:,.1f}" if is_end else f"more than {self.max_duration_s:,g}"
            limit = f"{self.max_duration_s:,g} s"
            raise self._error(f"the recording lasts {found} s", limit, "max_duration_s")
        if samples > self.max_samples:
            found = f"{samples:,}" if is_end else f"more than {self.max_samples:,}"
            times = f"{sample_rate:,} Hz x {channels} channels x {duration_s:,.1f} s"
            found = f"the recording has {found} samples ({times})"
            raise self._error(found, f"{self.max_samples:,} samples", "max_samples")

    def _error(self, found: str, limit: str, field: str) -> AudioTooLargeError:
        setting: str | None = getattr(self.names, field) if self.names else None
        origin = f", set by {setting}" if setting else ""
        return AudioTooLargeError(f"{found}; the limit is {limit}{origin}", setting=setting)


def named_as_recording(name: str) -> bool:
    """Whether a file name or key is that of a recording, which may not be readable here."""
    return name.lower().endswith(SUFFIXES + OPTIONAL_SUFFIXES)


def media_type_of(name: str) -> str:
    """The media type that a file name or key promises, for a player; never that of a page."""
    suffix = PurePosixPath(name).suffix.lower()
    return MEDIA_TYPES.get(suffix, "application/octet-stream")


def ffmpeg_installed() -> bool:
    """Whether the optional package PyAV is there, which reads what has OPTIONAL_SUFFIXES."""
    return find_spec("av") is not None
