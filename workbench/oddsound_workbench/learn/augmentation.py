"""Altered copies of recordings, for training: other speed, position, microphone, background."""

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft

from oddsound.descriptors import Array

AUGMENTATION_VERSION = "1"
"""Raise this when the same seed gives other copies: cached features depend on it."""

TRIM_SHARE = 0.5
TRIM_BELOW = 1e-4
TRIM_MIN_SAMPLES = 4096
SPEED_OCTAVES = 0.2
CROP_SHARE, CROP_TO = 0.7, (0.6, 1.0)
COLOUR_SHARE, TILT_DB_PER_OCTAVE, PEAK_DB, PEAK_HZ = 0.7, 1.5, 6.0, (100.0, 6400.0)
LOW_PASS_SHARE, LOW_PASS_HZ = 0.3, (2500.0, 7500.0)
MICROPHONE_ORDER, RESAMPLER_ORDER, RESAMPLER_SHARE = 8, 64, 0.2
"""Orders of low-passes: the resampler of a recorder with a low sample rate is very steep."""

NOISE_SHARE, NOISE_SNR_DB = 0.7, (15.0, 50.0)


def augment(waveform: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """One altered copy of a waveform, usually with another length.

    waveform : float32 [shape=(samples,)] at sample_rate Hz
    Returns float32 [shape=(other samples,)], at least half as long; a very short waveform is
    not shortened.
    """
    copy = trim(waveform) if rng.random() < TRIM_SHARE else waveform
    octaves = rng.uniform(-SPEED_OCTAVES, SPEED_OCTAVES)
    copy = soxr.resample(copy, 2.0**octaves, 1.0).astype(np.float32)
    if rng.random() < CROP_SHARE:
        copy = crop(copy, round(rng.uniform(*CROP_TO) * len(copy)), rng)
    if rng.random() < COLOUR_SHARE:
        tilt = rng.uniform(-TILT_DB_PER_OCTAVE, TILT_DB_PER_OCTAVE)
        peak_hz = PEAK_HZ[0] * (PEAK_HZ[1] / PEAK_HZ[0]) ** rng.random()
        copy = equalise(copy, sample_rate, tilt, rng.uniform(-PEAK_DB, PEAK_DB), peak_hz)
    if rng.random() < LOW_PASS_SHARE:
        order = RESAMPLER_ORDER if rng.random() < RESAMPLER_SHARE else MICROPHONE_ORDER
        copy = low_pass(copy, sample_rate, rng.uniform(*LOW_PASS_HZ), order)
    if rng.random() < NOISE_SHARE:
        copy = add_noise(copy, rng.uniform(*NOISE_SNR_DB), rng, exponent=int(rng.integers(2)))
    return copy


def trim(waveform: Array) -> Array:
    """Remove near-silence at both ends: samples more than 80 dB below the peak."""
    loud = np.flatnonzero(np.abs(waveform) > TRIM_BELOW * np.abs(waveform).max(initial=0))
    if len(loud) == 0 or loud[-1] + 1 - loud[0] < TRIM_MIN_SAMPLES:
        return waveform
    return waveform[loud[0] : loud[-1] + 1]


def crop(waveform: Array, samples: int, rng: np.random.Generator) -> Array:
    """A random part of `samples` with at least a tenth of the waveform's mean power.

    Returns the whole waveform if eight tries find only quieter parts.
    """
    min_power = 0.1 * np.mean(np.square(waveform, dtype=np.float64))
    for _ in range(8):
        start = int(rng.integers(len(waveform) - samples + 1))
        part = waveform[start : start + samples]
        if np.mean(np.square(part, dtype=np.float64)) >= min_power:
            return part
    return waveform


def equalise(
    waveform: Array, sample_rate: int, tilt_db_per_octave: float, peak_db: float, peak_hz: float
) -> Array:
    """Simulate another microphone: zero-phase tilt around 1 kHz and a peak one octave wide."""
    hz = _positive_hz(waveform, sample_rate)
    tilt = tilt_db_per_octave * np.log2(hz / 1000)
    return _filtered(waveform, tilt + peak_db * np.exp(-2 * np.log2(hz / peak_hz) ** 2))


def low_pass(
    waveform: Array, sample_rate: int, cutoff_hz: float, order: int = MICROPHONE_ORDER
) -> Array:
    """A zero-phase filter with the magnitude response of a Butterworth low-pass."""
    hz = _positive_hz(waveform, sample_rate)
    return _filtered(waveform, -10 * np.log10(1 + (hz / cutoff_hz) ** (2 * order)))


def add_noise(
    waveform: Array, snr_db: float, rng: np.random.Generator, exponent: float = 1
) -> Array:
    """Add noise that is snr_db below the mean power of the whole waveform.

    exponent : the power density of the noise is proportional to frequency**-exponent: 0 is
        white noise, 1 is pink noise
    """
    size = _fast_size(waveform)
    spectrum = fft.rfft(rng.standard_normal(size))
    bins = np.arange(len(spectrum), dtype=float)
    bins[0] = np.inf if exponent else 1
    noise = fft.irfft(spectrum * bins ** (-exponent / 2), size)[: len(waveform)]
    level = rms(waveform) * 10 ** (-snr_db / 20) / rms(noise)
    noisy: Array = (waveform + noise * level).astype(np.float32)
    return noisy


def rms(waveform: Array | NDArray[np.float64]) -> float:
    """Root mean square of a waveform [shape=(samples,)]."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def _positive_hz(waveform: Array, sample_rate: int) -> NDArray[np.float64]:
    return np.maximum(fft.rfftfreq(_fast_size(waveform), 1 / sample_rate), 20.0)


def _filtered(waveform: Array, gain_db: NDArray[np.float64]) -> Array:
    size = _fast_size(waveform)
    spectrum = fft.rfft(waveform, size) * 10 ** (gain_db / 20)
    return fft.irfft(spectrum, size)[: len(waveform)].astype(np.float32)


def _fast_size(waveform: Array) -> int:
    """The length after zero padding: a transform of a prime length takes 15 times as long."""
    return int(fft.next_fast_len(len(waveform), real=True))
