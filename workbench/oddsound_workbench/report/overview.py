"""A recording of any length in as many numbers as a picture shows, in one pass over the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import librosa
import numpy as np

from oddsound import audio
from oddsound.descriptors import Array
from oddsound.formats import AudioLimits

MAX_COLUMNS = 900
"""Columns of the waveform and of the spectrogram."""

MAX_BANDS = 96
SAMPLES_PER_BAND = 8
"""Samples of an STFT frame for each mel band; with fewer, low bands contain no frequency."""

FRAME_S, MIN_HOP_S = 0.064, 0.004
RANGE_DB = 80
"""Levels below the loudest one that are distinguished."""


@dataclass(frozen=True)
class Overview:
    """What a picture of a recording shows.

    duration_s : of the recording
    low, high : smallest and largest sample of each column [shape=(columns,)]
    levels_db : largest level of each mel band in each column, relative to the loudest
        [shape=(bands, columns)], -80 to 0
    top_hz : highest frequency of the spectrogram
    """

    duration_s: float
    low: Array
    high: Array
    levels_db: Array
    top_hz: float


def overview_of(path: Path, sample_rate: int, duration_s: float, limits: AudioLimits) -> Overview:
    """Read a recording in blocks; memory does not grow with its length.

    sample_rate : of the waveform, in Hz: that of the model, or less
    duration_s : of the recording, as its prediction says
    Raises the errors of `audio.open_stream`.
    """
    with audio.open_stream(path, limits) as stream:
        rate = min(sample_rate, stream.sample_rate)
        total = max(1, round(duration_s * rate))
        waveform, spectrogram = _Waveform(total), _Spectrogram(total, rate)
        for block in stream.blocks(rate):
            waveform.add(block)
            spectrogram.add(block)
    return Overview(
        duration_s, waveform.low, waveform.high, spectrogram.levels_db(), top_hz=rate / 2
    )


class _Waveform:
    """The smallest and largest sample of each column."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        count = min(MAX_COLUMNS, total)
        self._low = np.full(count, np.inf, np.float32)
        self._high = np.full(count, -np.inf, np.float32)

    @property
    def low(self) -> Array:
        """0 in columns without samples."""
        return np.where(np.isfinite(self._low), self._low, np.float32(0))

    @property
    def high(self) -> Array:
        return np.where(np.isfinite(self._high), self._high, np.float32(0))

    def add(self, block: Array) -> None:
        columns = _columns(self._done, len(block), self._total, len(self._low))
        _pool(np.minimum, self._low, block, columns)
        _pool(np.maximum, self._high, block, columns)
        self._done += len(block)


class _Spectrogram:
    """The largest power of each mel band in each column."""

    def __init__(self, total: int, rate: int) -> None:
        self._size = 1 << round(np.log2(FRAME_S * rate))
        self._hop = int(np.clip(total // MAX_COLUMNS, MIN_HOP_S * rate, self._size // 2))
        self._frames = 1 + total // self._hop
        bands = min(MAX_BANDS, self._size // SAMPLES_PER_BAND)
        self._filters = librosa.filters.mel(sr=rate, n_fft=self._size, n_mels=bands)
        self._power = np.zeros((bands, min(MAX_COLUMNS, self._frames)), np.float32)
        # Zeros before the start and after the end, so that frames are centred at their time.
        self._rest = np.zeros(self._size // 2, np.float32)
        self._done = 0

    def add(self, block: Array) -> None:
        waveform = np.concatenate([self._rest, block])
        frames = max(0, 1 + (len(waveform) - self._size) // self._hop)
        if frames:
            self._add_frames(waveform[: (frames - 1) * self._hop + self._size])
        self._rest = waveform[frames * self._hop :]

    def levels_db(self) -> Array:
        """The levels, when all blocks were added."""
        self.add(np.zeros(self._size // 2, np.float32))
        levels: Array = librosa.power_to_db(self._power, ref=np.max, amin=1e-20, top_db=RANGE_DB)
        return levels

    def _add_frames(self, waveform: Array) -> None:
        spectra = librosa.stft(waveform, n_fft=self._size, hop_length=self._hop, center=False)
        power = self._filters @ np.square(np.abs(spectra))
        columns = _columns(self._done, power.shape[1], self._frames, self._power.shape[1])
        _pool(np.maximum, self._power, power, columns)
        self._done += power.shape[1]


def _columns(start: int, count: int, total: int, columns: int) -> Any:
    """The column of each of `count` values from `start` on, of `total` values."""
    return np.minimum(np.arange(start, start + count) * columns // total, columns - 1)


def _pool(choose: np.ufunc, target: Array, values: Array, columns: Any) -> None:
    """Combine values with those of their column in `target`, along the last axis."""
    if not len(columns):
        return
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    found = choose.reduceat(values, starts, axis=-1)
    place = columns[starts]
    target[..., place] = choose(target[..., place], found)
