"""Decodes a recording to a mono float32 waveform at the model's sample rate, block by block."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import soxr

from oddsound.decoding import Decoder, Source, open_decoder, size_of
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError
from oddsound.formats import SAMPLE_RATES_HZ, AudioLimits
from oddsound.quality.meter import SignalMeter, SignalQuality

MAX_CHANNELS = 64
MAX_AMPLITUDE = 2.0**31
"""Largest accepted sample. Float files are scaled to 1.0 or contain 32-bit integers, unscaled."""

BLOCK_SAMPLES = 1 << 18
"""Samples of a block; of more than CHANNELS_PER_BLOCK channels, a block has more."""

CHANNELS_PER_BLOCK = 8
"""Each block and channel takes some time, however short the block is."""


@dataclass(frozen=True)
class RecordingInfo:
    """What is known about a recording when all of it has been decoded.

    sample_rate : of the file, in Hz
    duration_s : of the file
    step : smallest difference of two samples in the file, or 0 if it is not fixed
    quality : what the recorder did to it
    """

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
        elif self.quality.dc_offset:
            found = "never changes"
        else:
            found = "is digital silence"
        raise InvalidAudioError(f"the recording {found}; was the microphone on?")


@dataclass(frozen=True)
class Recording(RecordingInfo):
    """A recording that was decoded as a whole.

    waveform : float32 [shape=(samples,)], mono, at the requested sample rate
    """

    waveform: Array


class RecordingStream:
    """A recording that is decoded, measured, mixed and resampled block by block.

    Memory does not grow with the length of the recording.
    """

    def __init__(self, decoder: Decoder, limits: AudioLimits) -> None:
        self._decoder = decoder
        self._limits = limits
        self._info: RecordingInfo | None = None

    @property
    def sample_rate(self) -> int:
        """Of the file, in Hz."""
        return self._decoder.sample_rate

    @property
    def info(self) -> RecordingInfo:
        """What is known after the last block."""
        if self._info is None:
            raise RuntimeError("the recording has not been read to its end")
        return self._info

    def expected_samples(self, sample_rate: int) -> int | None:
        """Number of samples of all blocks together, if the length in the header is right.

        None if the header contains no length.
        """
        frames = self._decoder.frames
        return None if frames is None else resampled_length(frames, self.sample_rate, sample_rate)

    def blocks(self, sample_rate: int) -> Iterator[Array]:
        """The waveform at `sample_rate` Hz in blocks, float32 [shape=(samples,)]; only once.

        Silent channels are left out of the mix, and inverted ones are corrected, see ChannelMix.
        Raises InvalidAudioError (damaged, contains no frames, or values that are not audio) or
        AudioTooLargeError (longer than its header says, and than allowed).
        """
        if sample_rate == self.sample_rate:
            yield from self._mono_blocks()
            return
        resampler = soxr.ResampleStream(self.sample_rate, sample_rate, 1, dtype="float32")
        for block in self._mono_blocks():
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mono_blocks(self) -> Iterator[Array]:
        """The blocks of the recording [shape=(samples,)], measured and mixed by SignalMeter."""
        decoder, limits = self._decoder, self._limits
        meter = SignalMeter(
            decoder.sample_rate,
            decoder.channels,
            decoder.step,
            has_full_scale=decoder.has_full_scale,
        )
        size = max(1, BLOCK_SAMPLES // min(decoder.channels, CHANNELS_PER_BLOCK))
        done = 0
        while len(block := decoder.read(size)):
            done += len(block)
            # The header may be wrong, or contain no length.
            limits.check_frames(done, decoder.sample_rate, decoder.channels, is_end=False)
            # Contiguous channels: a reduction over every second sample takes ten times as long.
            planes = np.ascontiguousarray(block.T)
            low, high = planes.min(axis=1), planes.max(axis=1)
            _check_samples(max(-float(low.min()), float(high.max())))
            yield meter.mix(planes, low, high)
        if not done:
            raise InvalidAudioError("the file contains no audio (0 frames)")
        duration_s = done / decoder.sample_rate
        quality = replace(meter.quality(), notes=decoder.notes)
        self._info = RecordingInfo(decoder.sample_rate, duration_s, decoder.step, quality)


@contextmanager
def open_stream(source: Source, limits: AudioLimits) -> Iterator[RecordingStream]:
    """Open a recording, and check everything that its header says.

    Raises AudioTooLargeError, UnsupportedAudioError (not audio) or InvalidAudioError
    (empty or damaged, or its sample rate or number of channels is not supported).
    """
    _check_size(source, limits)
    with open_decoder(source) as decoder:
        _check_header(decoder, limits)
        yield RecordingStream(decoder, limits)


def load(source: Source, sample_rate: int, limits: AudioLimits) -> Recording:
    """Decode a whole recording, mix it to mono and resample it to `sample_rate` Hz.

    Decoding stops at the limits, also if the header gives a shorter duration.
    Raises AudioTooLargeError, UnsupportedAudioError or InvalidAudioError, see RecordingStream.
    """
    with open_stream(source, limits) as stream:
        parts = list(stream.blocks(sample_rate))
        info = stream.info
    waveform = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Recording(info.sample_rate, info.duration_s, info.step, info.quality, waveform)


def native_rate(source: Source, limits: AudioLimits) -> int:
    """The sample rate in the header of a recording, in Hz.

    Raises AudioTooLargeError, InvalidAudioError or UnsupportedAudioError.
    """
    with open_stream(source, limits) as stream:
        return stream.sample_rate


def resampled_length(samples: int, from_hz: int, to_hz: int) -> int:
    """Number of samples that soxr makes of so many; soxr computes it in the same way."""
    return int(samples / (from_hz / to_hz) + 0.5)


def _check_size(source: Source, limits: AudioLimits) -> None:
    size = size_of(source)
    if size == 0:
        raise InvalidAudioError("the file is empty (0 bytes)")
    limits.check_bytes(size)


def _check_header(decoder: Decoder, limits: AudioLimits) -> None:
    low, high = SAMPLE_RATES_HZ
    if not low <= decoder.sample_rate <= high:
        raise InvalidAudioError(
            f"the sample rate is {decoder.sample_rate:,} Hz; {low:,} to {high:,} Hz are supported"
        )
    if not 1 <= decoder.channels <= MAX_CHANNELS:
        raise InvalidAudioError(
            f"the file has {decoder.channels} channels; 1 to {MAX_CHANNELS} are supported"
        )
    if decoder.frames is not None:
        limits.check_frames(decoder.frames, decoder.sample_rate, decoder.channels)


def _check_samples(loudest: float) -> None:
    if not np.isfinite(loudest):
        raise InvalidAudioError("the recording contains samples that are not finite numbers")
    if loudest > MAX_AMPLITUDE:
        raise InvalidAudioError(
            f"the recording contains a sample of {loudest:.3g}; full scale is 1,"
            f" and the limit is {MAX_AMPLITUDE:.3g}"
        )
