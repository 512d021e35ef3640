"""Measures of short times of a recording, from which events are found.

Most are relative to the typical level of the same sound, so that they do not depend on the gain.
Frequencies above 0.45 times the sample rate are not used, because resamplers differ there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddsound import scratch
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

PART_TICKS = 1280
"""Ticks that are measured together."""

HALF = 8
"""Frames in half a block: 128 ms. A power of two."""

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

ONES = np.ones(BANDS, np.float32)
MEAN: Array = ONES / np.float32(BANDS)
"""The product with levels of bands is their sum, or their mean: faster than NumPy's `sum`."""

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
        return self.chunk(*self.power(waveform), self.ticks(waveform))

    def chunk(self, bands: Array, halves: Array, ticks: Array) -> Chunk:
        """Measure a chunk of which `power` and `ticks` are known."""
        total = bands @ ONES
        active = total > SILENCE
        typical = float(_typical(total, active)) / BANDS
        floor = np.float32(max(typical * 10 ** (-FLOOR_DB / 10), SILENCE))
        levels = _decibels(bands + floor)
        mean: Array = levels @ MEAN
        measures = {
            IMPACT: _impact(np.concatenate([levels, mean[:, None]], axis=1), active),
            DROPOUT: _dropout(ticks),
            TONE: _tone(halves, floor),
            LEVEL: _level(mean, active),
            MODULATION: _modulation(mean),
            TIMBRE: _timbre(_halves(levels)),
        }
        # Without the trailing frames that are too few for a time of its own.
        return Chunk({kind: each for kind, each in measures.items() if len(each)}, ticks, mean)

    def chunk_samples(self, chunk_s: float) -> int:
        """Samples in a chunk: whole hops, so that every chunk begins at a tick."""
        return self.hop * max(1, round(chunk_s * self.sample_rate / self.hop))

    def ticks(self, waveform: Array) -> Array:
        """Level of each tick in dB, of the differences of samples: without a DC offset."""
        found = np.empty(max(0, len(waveform) - 1) // self.tick, np.float32)
        ones = np.ones(self.tick, np.float32)
        for first in range(0, len(found), PART_TICKS):
            part = found[first : first + PART_TICKS]
            start, stop = first * self.tick, (first + len(part)) * self.tick
            (change,) = scratch.floats((len(part), self.tick))
            later, earlier = waveform[start + 1 : stop + 1], waveform[start:stop]
            np.subtract(later, earlier, out=change.ravel())
            np.matmul(np.square(change, out=change), ones, out=part)
        found /= np.float32(self.tick)
        return _decibels(np.maximum(found, np.float32(QUIETEST_TICK), out=found))

    def power(self, waveform: Array) -> tuple[Array, Array]:
        """Power of the bands in each frame, and of the bins in each half block.

        A DC offset has no effect: its spectrum in a Hann window ends below the first bin.
        Returns [shape=(frames, BANDS)] and [shape=(half blocks, bins)].
        """
        count = max(0, len(waveform) // self.hop - 1)
        frames = _strided(waveform, count, self.n_fft, self.hop)
        bands = np.empty((count, BANDS), np.float32)
        halves = np.empty((count // HALF, len(self.hz)), np.float32)
        # In parts that fit in the processor's cache.
        for first in range(0, count, PART_FRAMES):
            part = slice(first, min(first + PART_FRAMES, count))
            size = part.stop - part.start
            windowed, spectrum = scratch.floats((size, self.n_fft), (size, self.n_fft + 2))
            np.multiply(frames[part], self.window, out=windowed)
            parts = rfft(windowed, out=spectrum.view(np.complex64)).view(np.float32)
            # Real and imaginary parts side by side; they are added after the sums over bins and
            # frames, which makes their number smaller.
            squares = np.square(parts, out=parts)[:, self.parts]
            np.matmul(squares, self.basis, out=bands[part])
            whole = size // HALF
            sums = squares[: whole * HALF].reshape(whole, HALF, squares.shape[1]).sum(axis=1)
            np.add(sums[:, ::2], sums[:, 1::2], out=halves[first // HALF :][:whole])
        halves *= np.float32(1 / HALF)
        return bands, halves


def _strided(values: Array, count: int, size: int, step: int) -> Array:
    """A view of `count` windows of consecutive values [shape=(count, size)].

    NumPy's sliding_window_view takes as long as the measure of a whole chunk.
    """
    width = values.itemsize
    values = np.ascontiguousarray(values)
    return np.ndarray((count, size), values.dtype, values, strides=(step * width, width))


def _decibels(power: Array) -> Array:
    """In place. NumPy computes np.log of float32 several times as fast as np.log10."""
    np.log(power, out=power)
    power *= np.float32(10 / np.log(10))
    return power


def _impact(levels: Array, active: NDArray[np.bool_]) -> Array:
    over = levels - _typical(levels, active)
    if len(levels) > PRECEDING + 1:
        # Frame t - 1 is not one of them, because it overlaps frame t.
        before = levels[: len(levels) - PRECEDING - 1] + levels[1 : len(levels) - PRECEDING]
        rise = levels[PRECEDING + 1 :] - before / np.float32(PRECEDING)
        np.minimum(over[PRECEDING + 1 :], rise, out=over[PRECEDING + 1 :])
    return over


def _dropout(ticks: Array) -> Array:
    if len(ticks) < TICKS:
        return np.empty((0, 1), np.float32)
    silent = ticks <= QUIETEST_DB
    if silent.any():
        typical = _median(ticks[~silent]) if not silent.all() else np.float32(0)
        below = np.where(silent, np.float32(DIGITAL_SILENCE_DB), typical - ticks)
    else:
        below = _median(ticks) - ticks
    return _throughout(below[:, None], TICKS)


def _median(values: Array) -> np.float32:
    """As np.median computes it, in a third of the time."""
    middle = len(values) // 2
    if len(values) % 2:
        return np.float32(np.partition(values, middle)[middle])
    ordered = np.partition(values, (middle - 1, middle))
    return np.float32((ordered[middle - 1] + ordered[middle]) / 2)


def _throughout(values: Array, size: int) -> Array:
    """The smallest of `size` consecutive rows, for each place of the first of them."""
    count = len(values) - size + 1
    found = values[:count].copy()
    for later in range(1, size):
        np.minimum(found, values[later : later + count], out=found)
    return found


def _tone(halves: Array, floor: np.float32) -> Array:
    if len(halves) < TONE_HALVES:
        return np.empty((0, halves.shape[1]), np.float32)
    level = _decibels(halves + floor)
    around = _neighbours(level)
    around *= np.float32(-1 / (2 * (NEIGHBOURS - SKIRTS)))
    around += level
    return _throughout(around, TONE_HALVES)


def _neighbours(level: Array) -> Array:
    """Sum over the bins on each side of a bin, without its skirts; the first and last repeat."""
    size = level.shape[1]
    padded = np.empty((len(level), size + 2 * NEIGHBOURS), np.float32)
    padded[:, :NEIGHBOURS] = level[:, :1]
    padded[:, NEIGHBOURS : NEIGHBOURS + size] = level
    padded[:, NEIGHBOURS + size :] = level[:, -1:]
    # Four bins on each side, which are two pairs.
    pairs = padded[:, :-1] + padded[:, 1:]
    fours = pairs[:, :-2] + pairs[:, 2:]
    total: Array = fours[:, :size] + fours[:, -size:]
    return total


def _level(mean: Array, active: NDArray[np.bool_]) -> Array:
    """Columns: rise, fall."""
    count = len(mean) // HALF
    if count < LEVEL_HALVES:
        return np.empty((0, 2), np.float32)
    halves = np.sort(mean[: count * HALF].reshape(count, HALF), axis=1)[:, HALF // 2, None]
    change = _moving_median(halves, LEVEL_HALVES, 1) - _typical(mean, active)
    return np.concatenate([change, -change], axis=1)


def _modulation(mean: Array) -> Array:
    smooth = (mean[:-2] + mean[1:-1] + mean[2:]) / np.float32(3)
    step = MODULATION_HALVES * HALF
    count = (len(smooth) - MODULATION_FRAMES) // step + 1
    if count < 1:
        return np.empty((0, 1), np.float32)
    windows = _strided(smooth, count, MODULATION_FRAMES, step)
    quarter = MODULATION_FRAMES // 4
    ordered = np.sort(windows, axis=1)
    low, high = ordered[:, quarter], ordered[:, -1 - quarter]
    above = windows > ((low + high) / 2)[:, None]
    crossings = np.count_nonzero(above[:, 1:] != above[:, :-1], axis=1)
    return np.where(crossings >= MIN_CROSSINGS, high - low, np.float32(0))[:, None]


def _timbre(halves: Array) -> Array:
    """Level of each band relative to their mean."""
    if len(halves) < TIMBRE_HALVES:
        return np.empty((0, BANDS), np.float32)
    relative: Array = halves - (halves @ MEAN)[:, None]
    return _moving_median(relative, TIMBRE_HALVES, TIMBRE_STEP)


def _halves(levels: Array) -> Array:
    """Mean level in each half block [shape=(half blocks, columns)]."""
    count = len(levels) // HALF
    # Pairs of frames, then pairs of pairs: NumPy's sums over short axes are slow.
    found = levels[: count * HALF]
    while len(found) > count:
        found = found[::2] + found[1::2]
    return found / np.float32(HALF)


def _moving_median(values: Array, size: int, step: int) -> Array:
    """Median of `size` consecutive rows, which is odd, at every `step` rows."""
    count = (len(values) - size) // step + 1
    places = np.arange(size)[:, None] + step * np.arange(count)
    found: Array = np.sort(values[places], axis=0)[size // 2]
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
