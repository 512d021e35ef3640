"""Mel scales and filters, with the values of librosa.

`import librosa.filters` also imports joblib, pooch and scipy.sparse, for two formulas.
"""

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array

type Hz = NDArray[np.float64]

HTK_FACTOR, HTK_CORNER_HZ = 2595.0, 700.0
SLANEY_HZ_PER_MEL = 200.0 / 3
SLANEY_CORNER_HZ = 1000.0
"""Slaney's scale is linear up to here, and logarithmic above."""

SLANEY_STEP = np.log(6.4) / 27.0


def fft_frequencies(sample_rate: int, n_fft: int) -> Hz:
    """Centre of each bin of an FFT in Hz [shape=(n_fft // 2 + 1,)]."""
    return np.fft.rfftfreq(n=n_fft, d=1.0 / sample_rate)


def mel_frequencies(count: int, low_hz: float, high_hz: float, *, htk: bool = False) -> Hz:
    """Frequencies at equal distances on the mel scale, both ends included [shape=(count,)].

    htk : whether to use the formula of HTK instead of Slaney's
    """
    low, high = (_mel(np.array(hz, np.float64), htk) for hz in (low_hz, high_hz))
    return _hz(np.linspace(low, high, count), htk)


def mel_filters(sample_rate: int, n_fft: int, count: int, low_hz: float) -> Array:
    """Triangular weights on HTK's mel scale that sum to 1 [shape=(count, n_fft // 2 + 1)].

    A filter between two bins is empty. Same values as librosa.filters.mel(htk=True, norm=1).
    """
    edges = mel_frequencies(count + 2, low_hz, sample_rate / 2, htk=True)
    ramps = edges[:, None] - fft_frequencies(sample_rate, n_fft)
    widths = np.diff(edges)[:, None]
    up, down = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    weights = np.maximum(0, np.minimum(up, down)).astype(np.float32)
    total = weights.sum(axis=1, keepdims=True, dtype=np.float64)
    filters: Array = (weights / np.where(total > 0, total, 1)).astype(np.float32)
    return filters


def _mel(hz: Hz, htk: bool) -> Hz:
    if htk:
        return np.asarray(HTK_FACTOR * np.log10(1.0 + hz / HTK_CORNER_HZ))
    linear = hz / SLANEY_HZ_PER_MEL
    corner = SLANEY_CORNER_HZ / SLANEY_HZ_PER_MEL
    above = corner + np.log(np.maximum(hz, SLANEY_CORNER_HZ) / SLANEY_CORNER_HZ) / SLANEY_STEP
    return np.where(hz >= SLANEY_CORNER_HZ, above, linear)


def _hz(mel: Hz, htk: bool) -> Hz:
    if htk:
        return np.asarray(HTK_CORNER_HZ * (10.0 ** (mel / HTK_FACTOR) - 1.0))
    corner = SLANEY_CORNER_HZ / SLANEY_HZ_PER_MEL
    above = SLANEY_CORNER_HZ * np.exp(SLANEY_STEP * (mel - corner))
    return np.where(mel >= corner, above, SLANEY_HZ_PER_MEL * mel)
