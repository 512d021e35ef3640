"""Decodes the formats that libsndfile does not read, with FFmpeg.

FFmpeg comes with the optional package PyAV (`pip install 'oddsound[formats]'`). Without it, these
formats are refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from oddsound.containers import Container
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError, UnsupportedAudioError
from oddsound.formats import HOW_TO_CONVERT, ffmpeg_installed
from oddsound.layouts.layout import Layout
from oddsound.spliced import SplicedFile

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

EXACT = {"mov", "tta", "wv", "ape", "aiff", "iff"}
"""Demuxers whose duration is the number of samples, and not an estimate."""

ESTIMATED = {"aac", "amr", "ac3", "wav", "ogg"}
"""Demuxers that estimate the duration from the size of the file."""

WITH_CHECKSUMS = {"wv", "tta", "ape"}
"""Demuxers of lossless codecs with checksums, which FFmpeg compares only on request."""

MAX_MISSING_S = 0.1
"""Sound that may be missing at the end: durations are rounded, or include the codec's delay."""

ZERO_AND_FULL = {
    "u8": (2**7, 2.0**7),
    "s16": (0, 2.0**15),
    "s32": (0, 2.0**31),
    "s64": (0, 2.0**63),
}
"""FFmpeg's integer formats of samples -> the values of silence and of full scale."""


@contextmanager
def open_ffmpeg(file: SplicedFile, kind: Container, layout: Layout) -> Iterator["FfmpegDecoder"]:
    """Open a recording whose container is known.

    file : seekable, from the beginning of the container on
    layout : how much sound the header announces, as far as FFmpeg does not notice
    Raises UnsupportedAudioError if PyAV is not installed, InvalidAudioError if the file is damaged
    or contains no sound.
    """
    if not ffmpeg_installed():
        raise UnsupportedAudioError(
            f"this is {kind}, which needs the extra `formats`: `pip install 'oddsound[formats]'`"
            f" on the computer that reads it; or {HOW_TO_CONVERT}",
            convertible=True,
        )
    import av

    try:
        # FFmpeg does not choose the format itself: it knows playlists, which name other files.
        container = av.open(file, "r", format=kind.demuxer, io_open=_open_nothing)
    except (av.FFmpegError, ValueError) as error:
        raise _undecodable(kind, error) from None
    with container:
        yield FfmpegDecoder(container, kind, layout)


def _open_nothing(*_: object) -> NoReturn:
    raise ValueError("a recording may not name other files")


def _undecodable(kind: Container, error: Exception) -> InvalidAudioError:
    reason = getattr(error, "strerror", None) or error
    return InvalidAudioError(f"the file begins like {kind.name} but cannot be decoded: {reason}")


class FfmpegDecoder:
    """A Decoder, see decoding.py, for the main sound track of a container."""

    def __init__(self, container: "InputContainer", kind: Container, layout: Layout) -> None:
        from av import AudioStream

        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            raise InvalidAudioError(f"this is {kind} without a sound track")
        self._container, self._stream, self._kind = container, stream, kind
        self._layout = layout
        self._frames = self._decoded()
        self._done, self._received = 0, 0
        self.notes: list[str] = []
        context = stream.codec_context
        if kind.demuxer in WITH_CHECKSUMS and context is not None:
            context.options = {"err_detect": "crccheck+explode"}
        if context is None:  # FFmpeg knows no decoder for it, though PyAV's types say it does
            raise InvalidAudioError(f"this is {kind} with a codec that FFmpeg does not decode")
        self.sample_rate, self.channels = context.sample_rate, context.channels
        # The header of AAC may have half of the rate that is decoded: the first frame decides.
        first = next(self._frames, None)
        if first is not None:
            self.sample_rate, self.channels = first.sample_rate, first.layout.nb_channels
        self._held = [self._samples(first)] if first is not None else []
        sample_format = first.format.name.removesuffix("p") if first is not None else ""
        self.step = {"u8": 1 / 2**7, "s16": 1 / 2**15}.get(sample_format, 0.0)
        self.has_full_scale = not context.name.startswith("pcm_f")
        self._expected_s = self._header_s()
        known = self._expected_s if kind.demuxer in EXACT else None
        self.frames = None if known is None else round(known * self.sample_rate)

    def read(self, frames: int) -> Array:
        """The next frames, as Decoder.read."""
        held = sum(map(len, self._held))
        while held < frames and (frame := next(self._frames, None)) is not None:
            self._held.append(self._samples(frame))
            held += frame.samples
        if not held:
            self._check_complete()
            return np.zeros((0, self.channels), np.float32)
        whole = np.concatenate(self._held)
        found, rest = whole[:frames], whole[frames:]
        self._held = [rest] if len(rest) else []
        self._done += len(found)
        return found

    def _decoded(self) -> Iterator["AudioFrame"]:
        import av

        try:
            for packet in self._container.demux(self._stream):
                yield from self._stream.decode(packet)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            at = self._received / self.sample_rate
            raise InvalidAudioError(f"the file is damaged after {at:.1f} s: {reason}") from None

    def _samples(self, frame: "AudioFrame") -> Array:
        """The samples of a frame, float32 [shape=(frames, channels)], full scale 1."""
        found = frame.sample_rate, frame.layout.nb_channels
        if found != (self.sample_rate, self.channels):
            at = self._received / self.sample_rate
            raise InvalidAudioError(
                f"after {at:.1f} s, the recording changes from {self.sample_rate:,} Hz and"
                f" {self.channels} channel(s) to {found[0]:,} Hz and {found[1]}"
            )
        self._received += frame.samples
        planes: Any = frame.to_ndarray()
        samples = planes.T if frame.format.is_planar else planes.reshape(-1, self.channels)
        zero, full = ZERO_AND_FULL.get(frame.format.name.removesuffix("p"), (0, 1.0))
        scaled: Array = ((samples - np.float64(zero)) / full).astype(np.float32)
        return scaled

    def _header_s(self) -> float | None:
        """Duration in the header in seconds, None if there is none."""
        stream, whole = self._stream, self._container.duration
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return None if whole is None else whole / 1e6

    def _check_complete(self) -> None:
        """Raises InvalidAudioError if there is less sound than the header says."""
        found_s = self._done / self.sample_rate
        self._layout.check()
        self.notes = self._layout.notes(found_s)
        if self._kind.demuxer in ESTIMATED or self._expected_s is None:
            return
        if found_s < self._expected_s - MAX_MISSING_S:
            raise InvalidAudioError(
                f"the file is truncated: it contains {found_s:.1f} s of {self._expected_s:.1f} s"
            )
