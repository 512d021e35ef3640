"""Frame descriptors in plain NumPy, with the same values as librosa's functions.

Spectra have the shape (frames, bins) with contiguous frames: the transpose of librosa's.
librosa's functions are not called if they would compute again what the extractor already
has, or if they need numba's compiler, which does not fit in a Lambda layer.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from oddsound.fourier import fast_length, irfft, rfft

type Array = NDArray[np.float32]

SILENCE = 1e-20
"""Power below which a sound counts as silence: 200 dB below full scale."""

ZERO_CROSSING_THRESHOLD = 1e-10
"""A sample closer to zero than this counts as zero, as in librosa.zero_crossings."""


ADDED_TOGETHER = 16
"""Neighbouring bins that are added by one product of matrices."""

_ONES = np.ones(ADDED_TOGETHER, np.float32)
_RUNNING_SUMS = np.triu(np.ones((ADDED_TOGETHER, ADDED_TOGETHER), np.float32))

COLUMNS_PER_BLOCK = 16


class BandMatrix:
    """A matrix in which every column is zero except for a range of rows, as in a mel filter bank.

    Its columns are divided into blocks of neighbours, and only the rows that a block needs are
    multiplied: an eighth of the work.

    matrix : float32 [shape=(rows, columns)]
    """

    def __init__(self, matrix: Array) -> None:
        self._columns = matrix.shape[1]
        self._blocks = []
        blocks = -(-self._columns // COLUMNS_PER_BLOCK)
        for columns in np.array_split(np.arange(self._columns), blocks):
            used = np.flatnonzero(matrix[:, columns].any(axis=1))
            rows = slice(int(used[0]), int(used[-1]) + 1)
            block = slice(int(columns[0]), int(columns[-1]) + 1)
            self._blocks.append((rows, block, np.ascontiguousarray(matrix[rows, block])))

    def product(self, values: Array, out: Array | None = None) -> Array:
        """`values @ matrix`, float32 [shape=(frames, columns)]; out : array for the result."""
        found = np.empty((len(values), self._columns), np.float32) if out is None else out
        for rows, columns, block in self._blocks:
            np.matmul(values[:, rows], block, out=found[:, columns])
        return found


def decibels(power: Array, dynamic_range_db: float, out: Array | None = None) -> Array:
    """Power in dB relative to its own maximum.

    power : float32 [any shape], >= 0; out : array for the result
    Returns float32 of that shape, from -dynamic_range_db to 0; 0 everywhere if all is silence.
    Same value as librosa.power_to_db(power, ref=np.max, amin=1e-20, top_db=dynamic_range_db).
    """
    top = max(float(power.max()), SILENCE)
    floor = max(top * 10 ** (-dynamic_range_db / 10), SILENCE)
    found: Array = np.maximum(power, np.float32(floor), out=out)
    found /= np.float32(top)
    np.log10(found, out=found)
    found *= np.float32(10)
    return found


def frame_power(power: Array) -> Array:
    """Mean square of each windowed frame, by Parseval's theorem.

    power : float32 [shape=(frames, 1 + n_fft // 2)], squared magnitudes of an STFT
    Returns float32 [shape=(frames,)].
    Same value as the square of librosa.feature.rms(S=magnitude).
    """
    n_fft = 2 * (power.shape[1] - 1)
    total: Array = power @ np.ones(power.shape[1], np.float32)  # three times as fast as `sum`
    return (2 * total - power[:, 0] - power[:, -1]) / np.float32(n_fft**2)


def spectral_centroid(magnitude: Array, hz: Array) -> Array:
    """Magnitude-weighted mean frequency of each frame.

    magnitude : float32 [shape=(frames, bins)], >= 0
    hz : float32 [shape=(bins,)], centre of each bin
    Returns float32 [shape=(frames,)] in Hz; 0 if a frame is silent.
    Same value as librosa.feature.spectral_centroid.
    """
    total = magnitude @ np.ones_like(hz)  # three times as fast as `sum`
    centroid: Array = np.zeros_like(total)
    np.divide(magnitude @ hz, total, out=centroid, where=total > SILENCE)
    return centroid


def spectral_bandwidth(magnitude: Array, hz: Array, centroid: Array) -> Array:
    """Magnitude-weighted standard deviation of frequency around the centroid.

    magnitude : float32 [shape=(frames, bins)], >= 0
    hz : float32 [shape=(bins,)]
    centroid : float32 [shape=(frames,)] in Hz
    Returns float32 [shape=(frames,)] in Hz; 0 if a frame is silent.
    Same value as librosa.feature.spectral_bandwidth.
    """
    distance = hz - centroid[:, None]
    distance *= distance
    total = magnitude @ np.ones_like(hz)
    variance: Array = np.zeros_like(total)
    spread = np.einsum("ij,ij->i", distance, magnitude)
    np.divide(spread, total, out=variance, where=total > SILENCE)
    return np.sqrt(variance)


def whole_groups(bins: int) -> int:
    """The number of bins in groups of ADDED_TOGETHER that contain so many bins."""
    return -(-bins // ADDED_TOGETHER) * ADDED_TOGETHER


def rolloff_bins(
    magnitude: Array, shares: tuple[float, ...], bins: int | None = None
) -> NDArray[np.intp]:
    """The first bin of each frame up to which its magnitudes sum to a share of their total.

    magnitude : float32 [shape=(frames, bins)], >= 0
    shares : each between 0 and 1
    bins : in a frame, if `magnitude` is contiguous and has zeros behind them, up to whole groups
    Returns indices [shape=(frames, shares)]; 0 if a frame is silent. These are the bins of
    librosa.feature.spectral_rolloff.
    """
    if bins is None:
        frames, bins = magnitude.shape
        padded = np.zeros((frames, whole_groups(bins)), np.float32)
        padded[:, :bins] = magnitude
        return rolloff_bins(padded, shares, bins)
    # np.cumsum over all bins adds one number after the other, which takes twice as long. Its sums
    # differ in the last digit, so that a frame in some thousands has a neighbouring bin.
    groups = magnitude.reshape(-1, ADDED_TOGETHER)
    sums = (groups @ _ONES).reshape(len(magnitude), -1)
    count = sums.shape[1]
    ends = np.zeros((len(sums), count + 1), np.float32)
    np.cumsum(sums, axis=1, out=ends[:, 1:])
    wanted = ends[:, -1:] * np.array(shares, np.float32)
    # The first that is not below the share, of the groups and then inside one; argmin ends there.
    group = (ends[:, None] < wanted[:, :, None]).argmin(axis=2) - 1
    np.maximum(group, 0, out=group)
    chosen = (np.arange(len(group))[:, None] * count + group).ravel()
    running = groups.take(chosen, axis=0) @ _RUNNING_SUMS
    running += ends[:, :-1].ravel()[chosen, None]
    running[:, -1] = np.inf  # the end of the group, whatever the rounding of its sum is
    inside = (running < wanted.reshape(-1, 1)).argmin(axis=1).reshape(group.shape)
    inside += group * ADDED_TOGETHER
    return np.minimum(inside, bins - 1, out=inside)


def contrast_bands(hz: Array, fmin_hz: float) -> list[tuple[slice, Array]]:
    """Bins of each octave band, and a matrix for `octave_extremes`.

    hz : float32 [shape=(bins,)]; fmin_hz : upper edge of the lowest band.
    Returns as many octaves as fit below the highest bin. Neighbouring bands share a bin, as in
    librosa.feature.spectral_contrast. The product of sorted bins with the matrix [shape=(bins, 2)]
    has the mean of the largest fifth, and that of the smallest.
    """
    octaves = int(np.log2(hz[-1] / fmin_hz)) + 1
    edges = [0.0, *(fmin_hz * 2.0 ** np.arange(octaves + 1))]
    bands = []
    for k in range(octaves + 1):
        inside = np.flatnonzero((hz >= edges[k]) & (hz <= edges[k + 1]))
        first = inside[0] - (k > 0)
        last = inside[-1] if k < octaves else len(hz) - 1
        fifth = max(1, int(np.rint(0.2 * (last - first + 1))))
        band = slice(int(first), int(last) + (k == octaves))
        ends = np.zeros((band.stop - band.start, 2), np.float32)
        ends[-fifth:, 0] = ends[:fifth, 1] = 1 / fifth
        bands.append((band, ends))
    return bands


def octave_extremes(magnitude: Array, bands: list[tuple[slice, Array]]) -> tuple[Array, Array]:
    """Mean of the largest fifth, and of the smallest fifth, of the bins in each octave band.

    magnitude : float32 [shape=(frames, bins)], >= 0
    bands : from contrast_bands
    Returns two float32 [shape=(frames, len(bands))], for `spectral_contrast`.
    """
    found = np.empty((len(bands), len(magnitude), 2), magnitude.dtype)
    for (band, ends), extremes in zip(bands, found, strict=True):
        np.matmul(np.sort(magnitude[:, band], axis=1), ends, out=extremes)
    return found[:, :, 0].T, found[:, :, 1].T


def spectral_contrast(peak: Array, valley: Array) -> Array:
    """Ratio of the mean of the largest fifth to that of the smallest fifth of a band's bins.

    peak, valley : from octave_extremes
    Returns float32 [shape of peak] in dB, >= 0.
    Jiang et al., "Music type classification by spectral contrast feature", ICME 2002.
    Same value as librosa.feature.spectral_contrast, which limits peaks and valleys each to
    80 dB below their maximum.
    """
    offset = 10 * np.log10(max(float(peak.max()), SILENCE) / max(float(valley.max()), SILENCE))
    return decibels(peak, 80) - decibels(valley, 80) + np.float32(offset)


def flux(log_mel: Array) -> tuple[Array, Array]:
    """Mean rise and mean fall of the bands since the previous frame.

    log_mel : float32 [shape=(frames, bands)] in dB
    Returns two float32 [shape=(frames,)] in dB, >= 0; both are 0 for the first frame.
    The rise has the same value as librosa.onset.onset_strength(S=log_mel, center=False).
    """
    # Products with a vector: sums of short rows take several times as long.
    mean = np.full(log_mel.shape[1], 1 / log_mel.shape[1], log_mel.dtype)
    rise = rises(log_mel, mean)
    return rise, falls(rise, log_mel @ mean)


def rises(log_mel: Array, mean: Array, spare: Array | None = None) -> Array:
    """The first value of `flux`.

    mean : 1 / bands, for each band; spare : memory of the shape of log_mel, whose content is lost
    """
    spare = np.empty_like(log_mel) if spare is None else spare
    change = np.subtract(log_mel[1:], log_mel[:-1], out=spare[1:])
    np.maximum(change, 0, out=change)
    found = np.zeros(len(log_mel), log_mel.dtype)
    np.matmul(change, mean, out=found[1:])
    return found


def falls(rise: Array, level: Array) -> Array:
    """The second value of `flux`. level : mean of the bands of each frame [shape=(frames,)]"""
    found = rise.copy()
    found[1:] -= level[1:] - level[:-1]
    return np.maximum(found, 0, out=found)


def zero_crossing_rate(samples: Array, hop_length: int) -> Array:
    """Share of sign changes between neighbouring samples in each frame of two hops.

    samples : float32 [shape=(samples,)], whole frames
    Returns float32 [shape=(len(samples) // hop_length - 1,)] from 0 to 1.
    Same value as librosa.feature.zero_crossing_rate, which needs numba, with center=False.

    Crossings are counted once per block of hop_length samples; a frame consists of two blocks.
    """
    blocks = len(samples) // hop_length
    negative = samples < -ZERO_CROSSING_THRESHOLD
    crossed = np.zeros((blocks, hop_length), dtype=bool)
    flat = crossed.ravel()[: len(negative) - 1]
    np.not_equal(negative[1 : len(flat) + 1], negative[: len(flat)], out=flat)
    # Eight times as fast as the sum of truth values.
    count = np.bitwise_count(np.packbits(crossed, axis=1)).sum(axis=1, dtype=np.intp)
    # The last position is subtracted: it compares with the first sample after the frame.
    inside = count[:-1] + count[1:] - crossed[1:, -1]
    rate: Array = (inside / (2 * hop_length)).astype(np.float32)
    return rate


def autocorrelation(series: Array) -> Array:
    """Correlation of a series with itself at every lag.

    series : float32 [shape=(frames,)]
    Returns float32 [shape=(frames,)], 1 at lag 0 and from -1 to 1; all 0 if the series is constant.
    """
    found: Array = autocorrelations(series[None])[0]
    return found


def autocorrelations(rows: Array) -> Array:
    """`autocorrelation` of each row [shape=(rows, frames)]."""
    count = rows.shape[1]
    centred = rows - rows.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", centred, centred)[:, None]
    # Zero padding: without it, the FFT would correlate the end of the series with its start.
    size = fast_length(2 * count, real=True)
    spectrum = rfft(centred, size)
    spectrum *= spectrum.conj()
    lags: Array = irfft(spectrum, size)[:, :count]
    varies = variance > 1e-6 * count
    found: Array = np.zeros_like(centred)
    return np.divide(lags, lags[:, :1], out=found, where=varies)


def onsets(strength: Array, radius: int, min_above_mean_db: float) -> NDArray[np.intp]:
    """Frames where the onset strength peaks.

    strength : float32 [shape=(frames,)] in dB, >= 0
    radius : a peak is the maximum of this many frames on either side
    min_above_mean_db : a peak exceeds the mean by more than this
    Returns the indices in ascending order.
    """
    padded = np.zeros(len(strength) + 2 * radius, strength.dtype)
    padded[radius : len(padded) - radius] = strength
    around = strength.copy()
    for start in range(2 * radius + 1):
        np.maximum(around, padded[start : start + len(strength)], out=around)
    return np.flatnonzero((strength == around) & (strength > strength.mean() + min_above_mean_db))


def mean_and_std(values: NDArray[np.floating]) -> tuple[float, float]:
    """As NumPy's `mean` and `std` of a vector, in a third of the time."""
    mean = values.mean()
    centred = values - mean
    return float(mean), math.sqrt(float(centred @ centred) / len(values))


def means_of_neighbours(bands: int, groups: int) -> Array:
    """A matrix [shape=(bands, groups)]: the product with levels has the mean of each group."""
    means: Array = np.repeat(np.eye(groups, dtype=np.float32), bands // groups, axis=0)
    return means * np.float32(groups / bands)


@lru_cache(16)
def modulation_octaves(
    frames: int, size: int, frame_rate: float, edges_hz: tuple[float, ...]
) -> tuple[Array, Array]:
    """What the modulation of levels is computed with.

    frames : of the levels; size : length of the FFT; edges_hz : of the octaves, ascending
    Returns the window [shape=(frames, 1)], and a matrix [shape=(octaves, bins)]: its product with
    the power spectrum of the windowed levels has their mean power in each octave.
    """
    window = np.hanning(frames + 2)[1:-1].astype(np.float32)
    hz = np.arange(size // 2 + 1) * frame_rate / size
    edges = np.array(edges_hz)[:, None]
    inside = (hz >= edges[:-1]) & (hz < edges[1:])
    octaves: Array = (inside / (np.square(window).sum() * size)).astype(np.float32)
    return window[:, None], octaves
