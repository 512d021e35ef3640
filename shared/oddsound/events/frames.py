"""Measures of short times of a recording, from which events are found.

Most are relative to the typical level of the same sound, so that they do not depend on the gain.
Frequencies above 0.45 times the sample rate are not used, because resamplers differ there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from oddsound.descriptors import SILENCE, Array
from oddsound.fourier import rfft

HOP_S = 0.016
TICKS = 4
"""Ticks in a hop. The level is measured once per tick, to find drop-outs and the start of knocks.
"""

LOW_HZ, TOP_SHARE = 50.0, 0.45
BANDS = 16
FLOOR_DB = 40.0
"""The floor of the levels, below the typical power of a band: hides the noise of 16-bit samples."""

DIGITAL_SILENCE_DB = 100.0
"""Level below the typical one that is reported for samples that do not change at all."""

QUIETEST_TICK = 1e-14
"""Mean square of the differences of samples below which the samples count as unchanged."""

MAX_SINGLE_CHUNK = 1.5
"""A recording of up to so many chunks is one chunk, as for the windows of a prediction."""

QUIETEST_DB = 10 * np.log10(QUIETEST_TICK) + 0.01

PART_FRAMES = 128
"""Frames whose Fourier transforms are computed together; a multiple of HALF."""

HALF = 8
"""Frames in half a block: 128 ms."""

TONE_HALVES = 3
"""A tone stands out in so many consecutive half blocks, which a knock does not."""

NEIGHBOURS, SKIRTS = 6, 2
"""Bins on each side of a bin that a tone stands out from; the nearest are skirts of the tone."""

MANY_FRAMES = 200

PRECEDING = 2
"""Frames before a knock, one frame away from it, that it stands out from."""

MODULATION_FRAMES = 60
"""Frames in which the level rises and falls several times: about 1 s."""

MIN_CROSSINGS = 3
"""Passes through the middle level in that time. A single step or drop-out has one or two."""

MODULATION_HALVES = 2
"""From one measure of the modulation to the next."""

LEVEL_HALVES, TIMBRE_HALVES, TIMBRE_STEP = 3, 5, 2
"""Half blocks whose median level counts, so that a knock or a short drop-out does not."""

IMPACT, TONE, LEVEL, DROPOUT = "impact", "tone", "level", "dropout"
MODULATION, TIMBRE = "modulation", "timbre"
KINDS = (IMPACT, DROPOUT, TONE, LEVEL, MODULATION, TIMBRE)

type Measures = dict[str, Array]
"""Kind -> measure [shape=(times, columns)]; larger is more unusual, see FrameAnalyser."""


@dataclass(frozen=True)
class Grid:
    """The times of a measure, in ticks.

    step : from one time to the next
    width : of the sound that one time covers
    trim : how much of the first and last time of an event is not part of it, because a measure
        reacts when about half of its width is unusual
    """

    step: int
    width: int
    trim: int = 0


BLOCK = HALF * TICKS
GRIDS = {
    IMPACT: Grid(TICKS, 2 * TICKS),
    DROPOUT: Grid(1, TICKS),
    TONE: Grid(BLOCK, TONE_HALVES * BLOCK),
    LEVEL: Grid(BLOCK, LEVEL_HALVES * BLOCK, BLOCK),
    MODULATION: Grid(MODULATION_HALVES * BLOCK, (MODULATION_FRAMES + 2) * TICKS, 24 * TICKS),
    TIMBRE: Grid(TIMBRE_STEP * BLOCK, TIMBRE_HALVES * BLOCK, 2 * BLOCK),
}


@dataclass(frozen=True)
class Chunk:
    """The measures of a chunk of sound, and the levels that describe its events.

    measures : of each kind that the chunk is long enough for
    ticks : level of each tick in dB [shape=(ticks,)]
    levels : mean level of the bands in each frame in dB [shape=(frames,)]
    """

    measures: Measures
    ticks: Array
    levels: Array


class FrameAnalyser:
    """Computes the measures of a chunk from one STFT (Hann window, 32 ms frames, 16 ms hop).

    The measures are, in dB:

    - impact: rise of each band, and of their mean, over the typical level and over the level just
      before; the smaller of the two;
    - dropout: how far the level stays below the typical one for four ticks;
    - tone: how far each frequency stands out from its neighbours throughout 0.4 s;
    - level: rise over and fall below the typical level, from the median over 0.4 s;
    - modulation: interquartile range of the smoothed level in 1 s in which it rises and falls;
    - timbre: level of each band relative to their mean, from the median over 0.6 s. The reference
      turns it into a distance.

    sample_rate : of the waveforms, in Hz
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.hop = int(2 ** round(np.log2(HOP_S * sample_rate)))
        self.n_fft = 2 * self.hop
        self.tick = self.hop // TICKS
        self.tick_s = self.tick / sample_rate
        turn = np.arange(self.n_fft) * (2 * np.pi / self.n_fft)
        self.window = (0.5 - 0.5 * np.cos(turn)).astype(np.float32)
        hz = np.arange(self.n_fft // 2 + 1, dtype=np.float64) * (sample_rate / self.n_fft)
        top_hz = TOP_SHARE * sample_rate
        first, last = np.searchsorted(hz, (LOW_HZ, top_hz)).tolist()
        self.hz: NDArray[np.float64] = hz[first:last]
        self.parts = slice(2 * first, 2 * last)
        self.edges_hz = _mel_edges(LOW_HZ, top_hz)
        self.basis = np.repeat(_basis(self.hz, self.edges_hz), 2, axis=0)
        self.columns = {
            IMPACT: BANDS + 2,
            DROPOUT: 1,
            TONE: len(self.hz),
            LEVEL: 2,
            MODULATION: 1,
            TIMBRE: 1,
        }
        """Number of columns of each kind, after EventReference.distances."""

    def __call__(self, waveform: Array) -> Chunk:
        """Measure a chunk.

        waveform : float32 [shape=(samples,)], finite; samples >= n_fft
        """
        ticks = self._ticks(waveform)
        bands, halves = self._power(waveform)
        total = bands.sum(axis=1)
        active = total > SILENCE
        typical = float(_typical(total, active)) / BANDS
        floor = np.float32(max(typical * 10 ** (-FLOOR_DB / 10), SILENCE))
        levels = _decibels(bands + floor)
        mean = levels.mean(axis=1)
        half_levels = _halves(levels)
        measures = {
            IMPACT: _impact(np.column_stack([levels, mean]), active),
            DROPOUT: _dropout(ticks),
            TONE: _tone(halves, floor),
            LEVEL: _level(mean, active),
            MODULATION: _modulation(mean),
            TIMBRE: _timbre(half_levels),
        }
        # Without the trailing frames that are too few for a time of its own.
        return Chunk({kind: each for kind, each in measures.items() if len(each)}, ticks, mean)

    def chunk_samples(self, chunk_s: float) -> int:
        """Samples in a chunk: whole hops, so that every chunk begins at a tick."""
        return self.hop * max(1, round(chunk_s * self.sample_rate / self.hop))

    def _ticks(self, waveform: Array) -> Array:
        """Level of each tick in dB, of the differences of samples: without a DC offset."""
        change = np.diff(waveform)
        count = len(change) // self.tick
        ticks = change[: count * self.tick].reshape(count, self.tick)
        square = np.einsum("ij,ij->i", ticks, ticks) / np.float32(self.tick)
        return _decibels(np.maximum(square, np.float32(QUIETEST_TICK)))

    def _power(self, waveform: Array) -> tuple[Array, Array]:
        """Power of the bands in each frame, and of the bins in each half block.

        A DC offset has no effect: its spectrum in a Hann window ends below the first bin.
        Returns [shape=(frames, BANDS)] and [shape=(half blocks, bins)].
        """
        frames = sliding_window_view(waveform, self.n_fft)[:: self.hop]
        count = len(frames)
        bands = np.empty((count, BANDS), np.float32)
        halves = np.empty((count // HALF, len(self.hz)), np.float32)
        # In small parts: larger temporary arrays cost more than the Fourier transform, because
        # the operating system has to provide their memory again each time.
        for first in range(0, count, PART_FRAMES):
            part = slice(first, min(first + PART_FRAMES, count))
            spectrum = rfft(frames[part] * self.window)
            # Real and imaginary parts side by side; they are added after the sums over bins and
            # frames, which makes their number smaller.
            squares = np.square(spectrum.view(np.float32)[:, self.parts])
            np.matmul(squares, self.basis, out=bands[part])
            whole = len(squares) // HALF
            sums = squares[: whole * HALF].reshape(whole, HALF, squares.shape[1]).sum(axis=1)
            np.add(sums[:, ::2], sums[:, 1::2], out=halves[first // HALF :][:whole])
        halves *= np.float32(1 / HALF)
        return bands, halves


def _decibels(power: Array) -> Array:
    # NumPy computes np.log of float32 several times as fast as np.log10.
    return np.log(power) * np.float32(10 / np.log(10))


def _impact(levels: Array, active: NDArray[np.bool_]) -> Array:
    over = levels - _typical(levels, active)
    if len(levels) > PRECEDING + 1:
        # Frame t - 1 is not one of them, because it overlaps frame t.
        before = sum(levels[i : len(levels) - PRECEDING - 1 + i] for i in range(PRECEDING))
        rise = levels[PRECEDING + 1 :] - before / np.float32(PRECEDING)
        np.minimum(over[PRECEDING + 1 :], rise, out=over[PRECEDING + 1 :])
    return over


def _dropout(ticks: Array) -> Array:
    if len(ticks) < TICKS:
        return np.empty((0, 1), np.float32)
    silent = ticks <= QUIETEST_DB
    typical = np.median(ticks[~silent]) if not silent.all() else 0.0
    below = np.where(silent, DIGITAL_SILENCE_DB, typical - ticks)
    found = below[: len(below) - TICKS + 1].astype(np.float32)
    for later in range(1, TICKS):
        np.minimum(found, below[later:][: len(found)], out=found)
    return found[:, None]


def _tone(halves: Array, floor: np.float32) -> Array:
    if len(halves) < TONE_HALVES:
        return np.empty((0, halves.shape[1]), np.float32)
    level = _decibels(halves + floor)
    stands_out = level - _neighbours(level) / np.float32(2 * (NEIGHBOURS - SKIRTS))
    found = stands_out[: len(stands_out) - TONE_HALVES + 1].copy()
    for later in range(1, TONE_HALVES):
        np.minimum(found, stands_out[later:][: len(found)], out=found)
    return found


def _neighbours(level: Array) -> Array:
    """Sum over the bins on each side of a bin, without its skirts; the first and last repeat."""
    size = level.shape[1]
    padded = np.empty((len(level), size + 2 * NEIGHBOURS), np.float32)
    padded[:, :NEIGHBOURS] = level[:, :1]
    padded[:, NEIGHBOURS : NEIGHBOURS + size] = level
    padded[:, NEIGHBOURS + size :] = level[:, -1:]
    below = range(NEIGHBOURS - SKIRTS)
    total = np.zeros_like(level)
    for first in (*below, *(2 * NEIGHBOURS - number for number in below)):
        total += padded[:, first : first + size]
    return total


def _level(mean: Array, active: NDArray[np.bool_]) -> Array:
    """Columns: rise, fall."""
    count = len(mean) // HALF
    if count < LEVEL_HALVES:
        return np.empty((0, 2), np.float32)
    halves = np.sort(mean[: count * HALF].reshape(count, HALF), axis=1)[:, HALF // 2, None]
    change = _moving_median(halves, LEVEL_HALVES, 1) - _typical(mean, active)
    return np.column_stack([change, -change])


def _modulation(mean: Array) -> Array:
    smooth = (mean[:-2] + mean[1:-1] + mean[2:]) / np.float32(3)
    if len(smooth) < MODULATION_FRAMES:
        return np.empty((0, 1), np.float32)
    windows = sliding_window_view(smooth, MODULATION_FRAMES)[:: MODULATION_HALVES * HALF]
    quarter = MODULATION_FRAMES // 4
    ordered = np.partition(windows, (quarter, MODULATION_FRAMES - 1 - quarter), axis=1)
    low, high = ordered[:, quarter], ordered[:, -1 - quarter]
    above = windows > ((low + high) / 2)[:, None]
    crossings = np.count_nonzero(above[:, 1:] != above[:, :-1], axis=1)
    return np.where(crossings >= MIN_CROSSINGS, high - low, np.float32(0))[:, None]


def _timbre(halves: Array) -> Array:
    """Level of each band relative to their mean."""
    if len(halves) < TIMBRE_HALVES:
        return np.empty((0, BANDS), np.float32)
    relative = halves - halves.mean(axis=1, keepdims=True)
    return _moving_median(relative, TIMBRE_HALVES, TIMBRE_STEP)


def _halves(levels: Array) -> Array:
    """Mean level in each half block [shape=(half blocks, columns)]."""
    count = len(levels) // HALF
    found: Array = levels[: count * HALF].reshape(count, HALF, BANDS).mean(axis=1)
    return found


def _moving_median(values: Array, size: int, step: int) -> Array:
    """Median of `size` consecutive rows, which is odd, at every `step` rows."""
    windows = sliding_window_view(values, size, axis=0)[::step]
    found: Array = np.sort(windows, axis=2)[:, :, size // 2]
    return found


def _typical(levels: Array, active: NDArray[np.bool_]) -> Array:
    """Median of each column over the frames with sound; every second frame of many."""
    chosen = levels if active.all() or not active.any() else levels[active]
    chosen = chosen[:: 2 if len(chosen) > MANY_FRAMES else 1]
    middle = len(chosen) // 2
    return np.asarray(np.partition(chosen, middle, axis=0)[middle])


def _mel_edges(low_hz: float, top_hz: float) -> NDArray[np.float64]:
    """Edges of BANDS bands that are equally wide on the mel scale [shape=(BANDS + 1,)]."""
    low, top = (2595 * np.log10(1 + hz / 700) for hz in (low_hz, top_hz))
    return np.asarray(700 * (10 ** (np.linspace(low, top, BANDS + 1) / 2595) - 1))


def _basis(hz: NDArray[np.float64], edges_hz: NDArray[np.float64]) -> Array:
    """Weights of the bins in each band [shape=(bins, BANDS)]; each band is a mean.

    A band that contains no bin gets the nearest one.
    """
    band = np.clip(np.searchsorted(edges_hz, hz, side="right") - 1, 0, BANDS - 1)
    basis = (band[:, None] == np.arange(BANDS)).astype(np.float32)
    centres = (edges_hz[:-1] + edges_hz[1:]) / 2
    for empty in np.flatnonzero(basis.sum(axis=0) == 0):
        basis[np.abs(hz - centres[empty]).argmin(), empty] = 1
    weights: Array = basis / basis.sum(axis=0)
    return weights
