"""The features of classifiers: levels, shape of the spectrum, rhythm and modulation.

Values that librosa computes too are the same.
"""

import math
import re
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oddsound import descriptors, scratch
from oddsound.descriptors import SILENCE, Array
from oddsound.filterbanks import fft_frequencies, mel_filters, mel_frequencies
from oddsound.fourier import dct_matrix, fast_length, rfft
from oddsound.framewise import FramewiseExtractor, side_by_side

FRAME_S = 0.064
MEL_BANDS = 40
MEL_FMIN_HZ = 50.0
MFCCS = 20
DYNAMIC_RANGE_DB = 60.0
ROLLOFFS = (0.25, 0.50, 0.85, 0.95)
CONTRAST_FMIN_HZ = 200.0
ENVELOPES = 10
SHAPES = 10
"""Numbers of the shape of a frame."""

MODULATION_EDGES_HZ = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
MODULATION_MIN_S = 4.0
ONSET_PERIODS_S = (0.1, 2.0)
ONSET_RADIUS_S = 0.1
ONSET_MIN_ABOVE_MEAN_DB = 1.0
ACTIVE_WITHIN_DB = (15, 30, 45)
ACTIVE_WITHIN = np.array(ACTIVE_WITHIN_DB, np.float32)[:, None]
ENERGY_PERCENTILES = (10, 25, 50, 75, 90)
ENERGY_LAGS_S = (0.05, 0.1, 0.2, 0.4, 0.8)


class DefaultExtractor(FramewiseExtractor):
    """Statistics over the frames of one STFT (Hann window, 64 ms frames, 50 % overlap).

    The frame length is the power of two nearest to 64 ms: 1024 samples at 16 kHz. Only the two
    features of the family `level` depend on the loudness of the whole recording.

    sample_rate : of the waveforms, in Hz
    """

    version = "1"

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate, FRAME_S)
        self.hz = fft_frequencies(sample_rate, self.n_fft).astype(np.float32)
        mel = mel_filters(sample_rate, self.n_fft, MEL_BANDS, MEL_FMIN_HZ)
        self.ones = np.ones_like(self.hz)
        self.mel_basis = descriptors.BandMatrix(mel.T)
        self.envelope_means = descriptors.means_of_neighbours(MEL_BANDS, ENVELOPES)
        self.dct_basis = dct_matrix(MEL_BANDS)[:, :MFCCS].astype(np.float32)
        self.contrast_bands = descriptors.contrast_bands(self.hz, CONTRAST_FMIN_HZ)
        octaves = len(self.contrast_bands)
        self.columns = side_by_side(
            mel=MEL_BANDS, shape=8, crossings=1, loudness=1, energy=1, peak=octaves, valley=octaves
        )
        self.families = _families(octaves)
        self.names = tuple(name for names in self.families.values() for name in names)
        self.bands = _bands(self.names, sample_rate)
        self.levels = self._indices(f"log_mel_{i}_mean" for i in range(MEL_BANDS))
        self.level_effect = np.zeros((MEL_BANDS, len(self.names)), np.float32)
        self.level_effect[:, self.levels] = np.eye(MEL_BANDS)
        mfcc = self._indices(f"mfcc_{i}_mean" for i in range(MFCCS))
        self.level_effect[:, mfcc] = self.dct_basis

    def _indices(self, names: Iterable[str]) -> NDArray[np.intp]:
        return np.array([self.names.index(name) for name in names])

    def _measure(self, samples: Array, found: dict[str, Array]) -> None:
        frames = self.split_into_frames(samples)
        count, bins = len(frames), self.n_fft // 2 + 1
        memory = scratch.floats((count, 2 * self.n_fft), (count, 4 * bins), (count, 2 * bins))
        # In float64, as in librosa: rounding errors would show beside the spectrum of a tone.
        windowed, exact = memory[0].view(np.float64), memory[1].view(np.complex128)
        np.multiply(frames, self.window, out=windowed)
        spectrum = memory[2].view(np.complex64)
        np.copyto(spectrum, rfft(windowed, out=exact), casting="same_kind")
        magnitude = np.abs(spectrum)
        power = np.square(magnitude)
        mel = found["mel"]
        self.mel_basis.product(power, out=mel)
        found["shape"][:] = self._shape(magnitude, power, mel)
        crossings = descriptors.zero_crossing_rate(samples, self.hop_length)
        found["crossings"][:, 0] = crossings
        found["loudness"][:, 0] = descriptors.frame_power(power)
        hops = frames[:, : self.hop_length]
        np.einsum("ij,ij->i", hops, hops, out=found["energy"][:, 0])
        peak, valley = descriptors.octave_extremes(magnitude, self.contrast_bands)
        found["peak"][:], found["valley"][:] = peak, valley

    def _edges(self, first: Array, rest: Array) -> tuple[Array, Array]:
        """The numbers of the frame that begins before the waveform, and of the one that ends after.

        What is outside the waveform is zero in the spectrum, and no zero crossing, as in librosa.
        first, rest : see `summarise`
        """
        hop = self.hop_length
        # Side by side, so that one call computes both; the frame between them is not used.
        both = np.zeros(2 * self.n_fft, np.float32)
        before, after = both[: self.n_fft], both[self.n_fft :]
        before[hop:], after[: len(rest)] = first[:hop], rest
        rows = self.frames(both)[::2]
        before[:hop], after[len(rest) :] = before[hop], rest[-1]
        for row, samples in zip(rows, (before, after), strict=True):
            row[self.columns["crossings"]] = descriptors.zero_crossing_rate(samples, hop)
        # Each sample is counted once: those of `first` are in the first whole frame.
        rows[0, self.columns["energy"]], rows[1, self.columns["energy"]] = 0, rest @ rest
        return rows[:1], rows[1:]

    def summarise(self, frames: Array, first: Array, rest: Array) -> Array:
        before, after = self._edges(first, rest)
        of = self.named(np.concatenate([before, frames, after]))
        log_mel = descriptors.decibels(of["mel"], DYNAMIC_RANGE_DB)
        loudness = of["loudness"][:, 0]
        energy_db = descriptors.decibels(loudness, DYNAMIC_RANGE_DB)
        rise, fall = descriptors.flux(log_mel)
        series = np.concatenate(
            [
                log_mel,
                log_mel @ self.dct_basis,
                self._shape_of_window(of["shape"], log_mel),
                rise[:, None],
                fall[:, None],
                of["crossings"],
                energy_db[:, None],
                descriptors.spectral_contrast(of["peak"], of["valley"]),
            ],
            axis=1,
        )
        mean = series.mean(axis=0)
        deviation = np.sqrt(np.square(series - mean).mean(axis=0))
        samples = len(frames) * self.hop_length + len(rest)
        mean_square = float(of["energy"].sum(dtype=np.float64)) / samples
        return np.concatenate(
            [
                np.column_stack([mean, deviation]).ravel(),
                self._modulation(log_mel),
                self._rhythm(rise, energy_db),
                [10 * np.log10(max(p, SILENCE)) for p in (mean_square, float(loudness.max()))],
            ],
            dtype=np.float32,
        )

    def _shape(self, magnitude: Array, power: Array, mel: Array) -> Array:
        """Position and spread of the energy of each frame; frequencies in octaves above 1 Hz."""
        centroid = descriptors.spectral_centroid(magnitude, self.hz)
        in_hz = np.column_stack(
            [
                centroid,
                descriptors.spectral_bandwidth(magnitude, self.hz, centroid),
                self.hz[descriptors.rolloff_bins(magnitude, ROLLOFFS)],
            ]
        )
        total = mel @ np.ones(MEL_BANDS, np.float32)
        share = mel / np.maximum(total, SILENCE)[:, None]
        entropy = -(share * np.log(np.maximum(share, SILENCE))).sum(axis=1)
        bins_db = 10 * np.log10(
            np.maximum(power @ self.ones, SILENCE) / np.maximum(power.max(axis=1), SILENCE)
        )
        return np.column_stack([np.log2(np.maximum(in_hz, self.hz[1])), entropy, bins_db])

    def _shape_of_window(self, shape: Array, log_mel: Array) -> Array:
        """The shape of each frame, with what depends on the loudest frame of the window."""
        mean_db = log_mel.mean(axis=1)
        arithmetic_db = 10 * np.log10((10 ** (log_mel / 10)).mean(axis=1))
        found = np.empty((len(log_mel), SHAPES), np.float32)
        found[:, :6] = shape[:, :6]
        found[:, 6] = mean_db - arithmetic_db
        found[:, 7] = shape[:, 6]
        found[:, 8] = log_mel.max(axis=1) - mean_db
        found[:, 9] = shape[:, 7]
        return found

    def _modulation(self, log_mel: Array) -> Array:
        """Strength of slow level changes in each group of mel bands, and their mean shares."""
        envelopes = log_mel @ self.envelope_means
        envelopes -= envelopes.mean(axis=0)
        size = fast_length(max(len(envelopes), round(MODULATION_MIN_S * self.frame_rate)))
        window, octaves = descriptors.modulation_octaves(
            len(envelopes), size, self.frame_rate, MODULATION_EDGES_HZ
        )
        envelopes *= window
        power = np.square(np.abs(rfft(envelopes, size, axis=0)))
        bands = (octaves @ power).T
        total = bands.sum(axis=1, keepdims=True)
        shares = np.divide(bands, total, out=np.zeros_like(bands), where=total > 1e-6)
        # 1e-3 keeps the logarithm finite if the level does not change.
        return np.concatenate([np.log10(bands + np.float32(1e-3)).ravel(), shares.mean(axis=0)])

    def _rhythm(self, onset: Array, energy_db: Array) -> list[float]:
        """Number, regularity and duration of the sounds in the recording."""
        count, rate = len(onset), self.frame_rate
        seconds = count / rate
        correlation, of_energy = descriptors.autocorrelations(np.stack([onset, energy_db]))
        first, last = (round(period * rate) for period in ONSET_PERIODS_S)
        candidates = correlation[first : min(last, count // 2)]
        period = first + int(candidates.argmax()) if len(candidates) else 0
        found = period > 0 and correlation[period] > 0
        radius = round(ONSET_RADIUS_S * rate)
        times = descriptors.onsets(onset, radius, ONSET_MIN_ABOVE_MEAN_DB) / rate
        gaps = np.diff(times) if len(times) > 1 else np.array([seconds])
        active = energy_db > -ACTIVE_WITHIN
        starts = np.count_nonzero(active[0, 1:] > active[0, :-1]) + int(active[0, 0])
        lags = [min(round(lag * rate), count - 1) for lag in ENERGY_LAGS_S]
        return [
            float(correlation[period]) if found else 0.0,
            period / rate if found else 0.0,
            len(times) / seconds,
            *descriptors.mean_and_std(gaps),
            math.log10((float(onset.max()) + 0.1) / (float(onset.mean()) + 0.1)),
            *(np.count_nonzero(active, axis=1) / count).tolist(),
            starts / seconds,
            *_percentiles(energy_db, ENERGY_PERCENTILES).tolist(),
            10 * math.log10(float((10 ** (energy_db / 10)).mean())),
            *of_energy[lags].tolist(),
        ]


def _percentiles(series: Array, percents: tuple[int, ...]) -> NDArray[np.float64]:
    """The same values as np.percentile, ten times faster."""
    places = np.array(percents) / 100 * (len(series) - 1)
    return np.interp(places, np.arange(len(series)), np.sort(series))


def _families(contrast_bands: int) -> dict[str, tuple[str, ...]]:
    """Names of all features by family, in the order of the vector."""

    def each(*names: str) -> tuple[str, ...]:
        return tuple(f"{name}_{statistic}" for name in names for statistic in ("mean", "std"))

    shape = ("centroid", "bandwidth", *(f"rolloff_{round(100 * r)}" for r in ROLLOFFS))
    bands = [f"{low:g}_{high:g}_hz" for low, high in pairwise(MODULATION_EDGES_HZ)]
    return {
        "log_mel": each(*(f"log_mel_{i}" for i in range(MEL_BANDS))),
        "mfcc": each(*(f"mfcc_{i}" for i in range(MFCCS))),
        "shape": each(*shape, "mel_flatness", "mel_entropy", "mel_crest", "energy_over_peak"),
        "flux": each("onset_strength", "offset_strength"),
        "zero_crossing_rate": each("zero_crossing_rate"),
        "energy": each("energy_db"),
        "contrast": each(*(f"contrast_{i}" for i in range(contrast_bands))),
        "modulation": (
            *(f"modulation_{group}_{band}" for group in range(ENVELOPES) for band in bands),
            *(f"modulation_share_{band}" for band in bands),
        ),
        "rhythm": (
            "onset_period_strength",
            "onset_period_s",
            "onsets_per_s",
            "onset_gap_mean_s",
            "onset_gap_std_s",
            "onset_crest",
            *(f"active_share_{within}_db" for within in ACTIVE_WITHIN_DB),
            "active_segments_per_s",
            *(f"energy_p{p}_db" for p in ENERGY_PERCENTILES),
            "energy_mean_over_max_db",
            *(f"energy_correlation_{round(1000 * lag)}_ms" for lag in ENERGY_LAGS_S),
        ),
        "level": ("level_rms_dbfs", "level_max_dbfs"),
    }


def _bands(names: tuple[str, ...], sample_rate: int) -> NDArray[np.float64]:
    """Lowest and highest frequency in Hz of the features of one band; NaN for the others."""
    top = sample_rate / 2
    mel = mel_frequencies(MEL_BANDS + 2, MEL_FMIN_HZ, top, htk=True)
    per_group = MEL_BANDS // ENVELOPES
    bands = np.full((len(names), 2), np.nan)
    for row, name in zip(bands, names, strict=True):
        match re.split(r"_(\d+)_", name, maxsplit=1):
            case "log_mel", i, _:
                row[:] = mel[int(i)], mel[int(i) + 2]
            case "contrast", i, _:
                octave = CONTRAST_FMIN_HZ * 2.0 ** int(i)
                row[:] = octave / 2 if int(i) else 0, min(octave, top)
            case "modulation", i, _:
                row[:] = mel[per_group * int(i)], mel[per_group * (int(i) + 1) + 1]
    return bands
