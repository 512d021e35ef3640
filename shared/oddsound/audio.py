"""Decodes bytes or a file to a mono float32 waveform at the model's sample rate."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from oddsound.descriptors import Array
from oddsound.errors import AudioTooLargeError, InvalidAudioError, UnsupportedAudioError
from oddsound.formats import FORMATS, SAMPLE_RATES_HZ, AudioLimits
from oddsound.quality.meter import SignalMeter, SignalQuality

CONTAINERS = {
    "WAV": b"RIFF",
    "WAVEX": b"RIFF",
    "RF64": b"RF64",
    "FLAC": b"fLaC",
    "OGG": b"OggS",
    "MP3": b"ID3",
    "AIFF": b"FORM",
    "AU": b".snd",
}
"""Supported formats: the name in libsndfile -> the first bytes of a file."""

MAX_CHANNELS = 64
MAX_AMPLITUDE = 2.0**31
"""Largest accepted sample. Float files are scaled to 1.0 or contain 32-bit integers, unscaled."""

STEPS = {"PCM_S8": 1 / 128, "PCM_U8": 1 / 128, "PCM_16": 1 / 32768}
"""Subtypes in libsndfile with coarse steps -> the difference of neighbouring values. Finer ones may
contain a sound whose range is one step of 16 bits."""

UNSCALED = {"FLOAT", "DOUBLE"}
"""Subtypes in libsndfile that can contain samples of any scale."""

BLOCK_SAMPLES = 1 << 18
"""Samples of a block; of more than CHANNELS_PER_BLOCK channels, a block has more."""

CHANNELS_PER_BLOCK = 8
"""Each block and channel takes some time, however short the block is."""

UNKNOWN_FRAMES = 1 << 62
"""libsndfile reports a number of frames above this if the header does not contain the length."""


@dataclass(frozen=True)
class Recording:
    """A decoded recording.

    waveform : float32 [shape=(samples,)], mono, at the requested sample rate
    sample_rate : of the file, in Hz
    duration_s : of the file
    step : smallest difference of two samples in the file, or 0 if it is not fixed
    quality : what the recorder did to it
    """

    waveform: Array
    sample_rate: int
    duration_s: float
    step: float
    quality: SignalQuality

    def check_sound(self) -> None:
        """Raises InvalidAudioError if the recording never changes by more than one step.

        That is what a dead microphone delivers: silence, a constant, or noise of one bit.
        """
        if self.quality.range > self.step:
            return
        if self.quality.range > 0:
            found = "changes by one bit at most"
        elif self.waveform.any():
            found = "never changes"
        else:
            found = "is digital silence"
        raise InvalidAudioError(f"the recording {found}; was the microphone on?")


def load(source: bytes | Path, sample_rate: int, limits: AudioLimits) -> Recording:
    """Decode a recording, mix it to mono and resample it to `sample_rate` Hz.

    The blocks are measured while they are decoded, see SignalMeter. Silent channels are left out of
    the mix, and inverted ones are corrected, see ChannelMix.
    Decoding stops at `limits.max_duration_s`, also if the header gives a shorter duration.
    Raises AudioTooLargeError, UnsupportedAudioError (not audio) or InvalidAudioError
    (empty, damaged, contains no frames, or contains values that are not audio).
    """
    _check_size(source, limits)
    with _opened(source) as sound:
        _check_header(sound, limits)
        native, step = sound.samplerate, STEPS.get(sound.subtype, 0.0)
        meter = SignalMeter(
            native, sound.channels, step, has_full_scale=sound.subtype not in UNSCALED
        )
        blocks = _mono_blocks(sound, limits, meter)
        if native == sample_rate:
            parts = list(blocks)
            frames = sum(map(len, parts))
        else:
            stream = soxr.ResampleStream(native, sample_rate, 1, dtype="float32")
            parts, frames = [], 0
            for block in blocks:
                parts.append(stream.resample_chunk(block))
                frames += len(block)
            parts.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    if frames == 0:
        raise InvalidAudioError("the file contains no audio (0 frames)")
    waveform = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Recording(waveform, native, frames / native, step, meter.quality())


def _check_size(source: bytes | Path, limits: AudioLimits) -> None:
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size == 0:
        raise InvalidAudioError("the file is empty (0 bytes)")
    if size > limits.max_bytes:
        raise AudioTooLargeError(
            f"the file has {size:,} bytes; the limit is {limits.max_bytes:,} bytes"
        )


def native_rate(source: bytes | Path, limits: AudioLimits) -> int:
    """The sample rate in the header of a recording, in Hz.

    Raises AudioTooLargeError, InvalidAudioError or UnsupportedAudioError.
    """
    _check_size(source, limits)
    with _opened(source) as sound:
        return int(sound.samplerate)


class _Bytes(io.BytesIO):
    """A BytesIO that ignores a seek to a negative position, as a file does.

    A damaged header can make libsndfile seek to one. BytesIO raises ValueError; libsndfile calls
    this method as a callback from C, which no exception can pass through.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


@contextmanager
def _opened(source: bytes | Path) -> Iterator[soundfile.SoundFile]:
    with _Bytes(source) if isinstance(source, bytes) else source.open("rb", 0) as file:
        start = file.read(12)
        file.seek(0)
        try:
            # With a file descriptor, libsndfile reads the file without Python callbacks, and
            # does not see the name: its suffix must not decide how the file is decoded.
            target = file if isinstance(file, _Bytes) else file.fileno()
            sound = soundfile.SoundFile(target, closefd=False)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            raise _open_error(start, str(error)) from None
        with sound:
            if sound.format not in CONTAINERS:
                raise UnsupportedAudioError(
                    f"{sound.format} files are not supported; {FORMATS} are"
                )
            yield sound


def _open_error(start: bytes, reason: str) -> InvalidAudioError | UnsupportedAudioError:
    """The error for a file that cannot be opened: a damaged recording, or not a recording.

    start : first bytes of the file; reason : text of libsndfile
    """
    kinds = [kind for kind, magic in CONTAINERS.items() if start.startswith(magic)]
    if not kinds or (kinds[0] == "WAV" and not b"WAVE".startswith(start[8:12])):
        return UnsupportedAudioError(
            f"this is not a recording: it begins with {start[:8]!r}; supported: {FORMATS}"
        )
    reason = reason.split(": ", 1)[-1]
    return InvalidAudioError(f"the file begins like {kinds[0]} but cannot be decoded: {reason}")


def _check_header(sound: soundfile.SoundFile, limits: AudioLimits) -> None:
    low, high = SAMPLE_RATES_HZ
    if not low <= sound.samplerate <= high:
        raise InvalidAudioError(
            f"the sample rate is {sound.samplerate:,} Hz; {low:,} to {high:,} Hz are supported"
        )
    if not 1 <= sound.channels <= MAX_CHANNELS:
        raise InvalidAudioError(
            f"the file has {sound.channels} channels; 1 to {MAX_CHANNELS} are supported"
        )
    duration_s = sound.frames / sound.samplerate
    if sound.frames < UNKNOWN_FRAMES and duration_s > limits.max_duration_s:
        raise _too_long(f"{duration_s:,.1f}", limits)


def _mono_blocks(
    sound: soundfile.SoundFile, limits: AudioLimits, meter: SignalMeter
) -> Iterator[Array]:
    """The blocks of the recording [shape=(samples,)], measured and mixed by `meter`.

    Raises InvalidAudioError or AudioTooLargeError when it reaches a block that is not accepted.
    """
    size = max(1, BLOCK_SAMPLES // min(sound.channels, CHANNELS_PER_BLOCK))
    max_frames = int(limits.max_duration_s * sound.samplerate)
    done = 0
    while True:
        try:
            block = _block(sound, size)
        except soundfile.SoundFileError as error:
            at = done / sound.samplerate
            raise InvalidAudioError(f"the file is damaged at {at:.1f} s: {error}") from None
        if not len(block):
            break
        done += len(block)
        if done > max_frames:
            raise _too_long(f"more than {limits.max_duration_s:,.0f}", limits)
        # Contiguous channels: a reduction over every second sample takes ten times as long.
        planes = np.ascontiguousarray(block.T)
        low, high = planes.min(axis=1), planes.max(axis=1)
        _check_samples(max(-float(low.min()), float(high.max())))
        yield meter.mix(planes, low, high)
    # libsndfile can reach the end of a truncated FLAC file without an error.
    if sound.format == "FLAC" and done < sound.frames < UNKNOWN_FRAMES:
        raise InvalidAudioError(
            f"the file is truncated: it contains {done / sound.samplerate:.1f} s"
            f" of {sound.frames / sound.samplerate:.1f} s"
        )


def _check_samples(loudest: float) -> None:
    if not np.isfinite(loudest):
        raise InvalidAudioError("the recording contains samples that are not finite numbers")
    if loudest > MAX_AMPLITUDE:
        raise InvalidAudioError(
            f"the recording contains a sample of {loudest:.3g}; full scale is 1,"
            f" and the limit is {MAX_AMPLITUDE:.3g}"
        )


def _block(sound: soundfile.SoundFile, frames: int) -> Array:
    """The next frames, float32 [shape=(frames, channels)], full scale 1."""
    if sound.subtype == "PCM_16":
        # The same numbers as dtype="float32", five times faster.
        found: Array = sound.read(frames, dtype="int16", always_2d=True) * np.float32(1 / 32768)
    else:
        found = sound.read(frames, dtype="float32", always_2d=True)
    return found


def _too_long(found: str, limits: AudioLimits) -> AudioTooLargeError:
    return AudioTooLargeError(
        f"the recording lasts {found} s; the limit is {limits.max_duration_s:,g} s"
    )
