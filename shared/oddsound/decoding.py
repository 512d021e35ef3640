"""Opens a recording and reads its samples in blocks. Every format goes through `open_decoder`."""

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
import soundfile

from oddsound import containers
from oddsound.arriving import ArrivingFile
from oddsound.complaints import caught
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError, UnsupportedAudioError
from oddsound.ffmpeg import open_ffmpeg
from oddsound.formats import FORMATS
from oddsound.layouts import find
from oddsound.layouts.layout import Layout
from oddsound.pcm import PcmDecoder
from oddsound.spliced import SplicedFile

type Source = bytes | Path | ArrivingFile
"""A recording: the content of a file, its path, or a file that is still arriving."""

DECODED = {"WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"}
"""Names in libsndfile of the formats that are decoded."""

STEPS = {"PCM_S8": 1 / 128, "PCM_U8": 1 / 128, "PCM_16": 1 / 32768}
"""Subtypes in libsndfile with coarse steps -> the difference of neighbouring values. Finer ones may
contain a sound whose range is one step of 16 bits."""

UNSCALED = {"FLOAT", "DOUBLE"}
"""Subtypes in libsndfile that can contain samples of any scale."""

UNKNOWN_FRAMES = 1 << 62
"""libsndfile reports a number of frames above this if the header does not contain the length."""


class Decoder(Protocol):
    """Reads the samples of one recording, from its start to its end.

    sample_rate : of the file, in Hz
    channels : number of channels
    frames : number of frames (samples of each channel) in the header; None if it has none
    step : smallest difference of two samples in the file, or 0 if it is not fixed
    has_full_scale : whether samples beyond 1 are impossible
    notes : after the last block, sentences for the user about what is missing
    """

    sample_rate: int
    channels: int
    frames: int | None
    step: float
    has_full_scale: bool
    notes: list[str]

    def read(self, frames: int) -> Array:
        """The next frames, float32 [shape=(frames, channels)], full scale 1; empty at the end.

        Raises InvalidAudioError if the file is damaged or truncated.
        """
        ...


@contextmanager
def open_decoder(source: Source) -> Iterator[Decoder]:
    """Open a recording. The content decides how it is decoded, not the name of the file.

    Raises UnsupportedAudioError (not a recording, or in another format) or InvalidAudioError
    (damaged; at the end also if the file could not be read).
    """
    with _file(source) as file, _telling_failures(file):
        kind = _container(file)
        size = file.seek(0, io.SEEK_END)
        if kind.demuxer:
            whole = SplicedFile(file, [range(kind.offset, size)])
            with open_ffmpeg(whole, kind, find.layout(file, kind)) as decoder:
                yield decoder
            return
        layout = find.layout(file, kind)
        if layout.pcm:
            yield PcmDecoder(file, layout.pcm)
            return
        # Through a file object, libsndfile sees neither a name nor what is beside the file, and
        # damaged bytes are the same to it wherever they come from.
        target = SplicedFile(file, layout.pieces or [range(size)])
        with caught() if kind.name == "MP3" else nullcontext():
            sound = _opened(target, kind, layout.problem)
        with sound:
            yield LibsndfileDecoder(sound, layout)


def size_of(source: Source) -> int:
    """Size of a recording, in bytes. Raises InvalidAudioError if it is a device or a pipe."""
    if isinstance(source, ArrivingFile):
        return source.size
    if isinstance(source, bytes):
        return len(source)
    info = source.stat()
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        raise InvalidAudioError("this is a device or a pipe; write the recording to a file first")
    return info.st_size


def _file(source: Source) -> io.BytesIO | io.FileIO:
    """A recording as a file, opened for reading without a buffer."""
    if isinstance(source, ArrivingFile):
        return cast("io.FileIO", source.open())
    return io.BytesIO(source) if isinstance(source, bytes) else _LocalFile(source)


class _LocalFile(io.FileIO):
    """A file on a disk.

    Decoders read it in callbacks from C, which no exception can pass through: for them, a failure
    is the end of the file.

    failure : why it could not be read to its end; None if it could so far
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self.failure: str | None = None
        self._size = self.seek(0, io.SEEK_END)
        self.seek(0)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        try:
            count = self._read(buffer)
        except OSError as error:
            self.failure = error.strerror or str(error)
            return 0
        if count == 0 and len(buffer) and self.tell() < self._size:
            self.failure = "it became shorter while it was read"
        return count

    def _read(self, buffer: memoryview) -> int:
        return super().readinto(buffer) or 0


@contextmanager
def _telling_failures(file: BinaryIO | io.FileIO) -> Iterator[None]:
    """Raises InvalidAudioError if the file could not be read to its end."""
    try:
        yield
    except InvalidAudioError:
        _check_read(file)
        raise
    _check_read(file)


def _check_read(file: BinaryIO | io.FileIO) -> None:
    if isinstance(file, _LocalFile) and file.failure:
        raise InvalidAudioError(f"the file could not be read to its end: {file.failure}")


def _container(file: BinaryIO) -> containers.Container:
    """The container of a file. Raises UnsupportedAudioError if it is not that of a recording."""
    kind = containers.identify(file)
    if kind is None:
        file.seek(0)
        raise UnsupportedAudioError(
            f"this is not a recording: it begins with {file.read(8)!r}; supported: {FORMATS}"
        )
    return kind


def _opened(file: SplicedFile, kind: containers.Container, problem: str) -> soundfile.SoundFile:
    """A file, opened by libsndfile. problem : a better reason than its own if it fails, or empty"""
    try:
        sound = _SoundFile(file)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        reason = problem or str(error).split(": ", 1)[-1]
        raise InvalidAudioError(
            f"the file begins like {kind.name} but cannot be decoded: {reason}"
        ) from None
    if sound.format not in DECODED:
        sound.close()
        raise UnsupportedAudioError(f"{sound.format} files are not supported; {FORMATS} are")
    return sound


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A SoundFile that is only read from its start to its end.

    soundfile seeks to the current position after each block of a seekable file. That takes time in
    compressed files, and fails in a FLAC file whose header does not contain the length.
    """

    def seekable(self) -> bool:
        return False


class LibsndfileDecoder:
    """A Decoder for the formats of libsndfile."""

    def __init__(self, sound: soundfile.SoundFile, layout: Layout) -> None:
        self._sound = sound
        self._layout = layout
        self._done = 0
        self.sample_rate: int = sound.samplerate
        self.channels: int = sound.channels
        known = layout.has_length and sound.frames < UNKNOWN_FRAMES
        self.frames: int | None = layout.frames or (sound.frames if known else None)
        self.step = STEPS.get(sound.subtype, 0.0)
        self.has_full_scale = sound.subtype not in UNSCALED
        self.notes: list[str] = []
        self._damaged_s: float | None = None

    def read(self, frames: int) -> Array:
        if self._is_flac and self.frames:
            # What follows the last frame is no frame, and would be reported as damaged.
            frames = min(frames, self.frames - self._done)
        try:
            block = self._read(frames)
        except soundfile.SoundFileError as error:
            self._layout.check()
            raise InvalidAudioError(f"the file is damaged {self._place(frames)}: {error}") from None
        self._done += len(block)
        if not len(block):
            self._check_complete()
        return block

    def _place(self, frames: int) -> str:
        """Where the next frames are; libsndfile does not say where in them it failed."""
        end = self._done + frames
        if self.frames and self.frames <= end:
            return f"after {self._done / self.sample_rate:.1f} s"
        start_s, end_s = self._done / self.sample_rate, end / self.sample_rate
        return f"between {start_s:.1f} s and {end_s:.1f} s"

    def _read(self, frames: int) -> Array:
        if self._sound.subtype == "PCM_16":
            # The same numbers as dtype="float32", five times faster.
            samples: Array = self._sound.read(frames, dtype="int16", always_2d=True)
            scaled = samples.astype(np.float32)
            scaled *= np.float32(1 / 32768)
            return scaled
        if self._sound.format != "MP3":
            return self._read_float(frames)
        with caught() as complaints:
            found = self._read_float(frames)
        if complaints and self._damaged_s is None:
            self._damaged_s = self._done / self.sample_rate
        return found

    def _read_float(self, frames: int) -> Array:
        found: Array = self._sound.read(frames, dtype="float32", always_2d=True)
        return found

    @property
    def _is_flac(self) -> bool:
        return bool(self._sound.format == "FLAC")

    def _check_complete(self) -> None:
        found_s, layout = self._done / self.sample_rate, self._layout
        layout.check()
        # libsndfile can reach the end of a truncated FLAC file without an error.
        if self._is_flac and self.frames and self._done < self.frames:
            raise InvalidAudioError(
                f"the file is truncated: it contains {found_s:.1f} s"
                f" of {self.frames / self.sample_rate:.1f} s"
            )
        self.notes = layout.notes(found_s)
        if self._damaged_s is not None:
            self.notes.append(
                f"the file is damaged: frames after {self._damaged_s:.1f} s could not be decoded"
            )
