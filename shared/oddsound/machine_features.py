"""The features of detectors: levels of narrow bands, shape of the spectrum, and changes over time.

They do not depend on the gain, the polarity or a DC offset of the recorder, and not on what is
above 0.45 times the sample rate, where the filters of resamplers differ.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oddsound import descriptors, scratch
from oddsound.descriptors import SILENCE, Array
from oddsound.filterbanks import mel_frequencies
from oddsound.fourier import dct_matrix, fast_length, rfft
from oddsound.framewise import FramewiseExtractor, side_by_side

FRAME_S = 0.064
LOW_HZ = 50.0
TOP_SHARE = 0.45
"""Of the sample rate: the highest frequency that is used. A resampler leaves lower ones alone."""

BANDS = 128
GROUPS = 16
"""Groups of bands whose level over time is used; as many neighbours form one group."""

ENVELOPES = 8
SHAPES = 12
"""Numbers of the shape of a frame."""

CEPSTRA = 20
FLOOR_DB = 40.0
"""The floor of the levels, below the mean band power: it hides the noise of 16-bit samples."""

DYNAMIC_RANGE_DB = 60.0
ROLLOFFS = (0.25, 0.5, 0.85, 0.95)
MODULATION_EDGES_HZ = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
MODULATION_MIN_S = 4.0
PERIOD_MIN_FRAMES, PERIOD_MAX_S = 3, 2.0
ONSET_RADIUS_FRAMES = 3
ONSET_MIN_ABOVE_MEAN_DB = 1.0
ACTIVE_WITHIN_DB = (15, 30, 45)
ACTIVE_WITHIN = np.array(ACTIVE_WITHIN_DB, np.float32)[:, None]
ENERGY_PERCENTILES = (10, 25, 50, 75, 90)
ENERGY_PLACES = np.array(ENERGY_PERCENTILES) / 100
LOUDNESS = "level_rms_dbfs"
ENERGY_LAGS_S = (0.064, 0.1, 0.2, 0.4, 0.8)


class MachineExtractor(FramewiseExtractor):
    """Statistics over the frames of one STFT (Hann window, 64 ms frames, 50 % overlap).

    The families are:

    - `log_mel`: level of each of 128 mel bands relative to their mean, in dB; from the power that
      is averaged over the recording, so that noise between the bands does not change it much;
    - `shape`: mean and standard deviation over time of where the energy of a frame is, how it is
      spread, and how it rises and falls;
    - `bands`, `mfcc`, `rhythm`, `modulation`: how levels change over time;
    - `level`: loudness of the recording, the only family that depends on the gain.

    sample_rate : of the waveforms, in Hz
    """

    version = "2"

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate, FRAME_S)
        self.window = self.window.astype(np.float32)
        hz = np.arange(self.n_fft // 2 + 1) * (sample_rate / self.n_fft)
        top_hz = TOP_SHARE * sample_rate
        low, top = np.searchsorted(hz, (LOW_HZ, top_hz)).tolist()
        self.used = slice(low, top)
        self.hz = hz[low:top].astype(np.float32)
        self.log_hz = np.log2(self.hz)
        self.moments = np.column_stack([np.ones_like(self.hz), self.hz, np.square(self.hz)])
        self.shape_of_silence = np.array([*2 * [np.log2(LOW_HZ)], *4 * [self.log_hz[0]]])
        edges = mel_frequencies(BANDS + 2, LOW_HZ, top_hz)
        self.mel_basis = descriptors.BandMatrix(_mel_basis(self.hz, edges))
        self.group_means = descriptors.means_of_neighbours(BANDS, GROUPS)
        self.envelope_means = descriptors.means_of_neighbours(BANDS, ENVELOPES)
        self.mean_of_bands = np.full(BANDS, 1 / BANDS, np.float32)
        self.dct_basis = dct_matrix(BANDS)[:, 1 : CEPSTRA + 1].astype(np.float32)
        self.ones = np.ones_like(self.hz)
        self.columns = side_by_side(mel=BANDS, energy=1, peak=1, moments=3, rolloffs=len(ROLLOFFS))
        self.families = _families()
        self.names = tuple(name for names in self.families.values() for name in names)
        self.bands = _bands(self.names, edges)
        self.levels = np.arange(BANDS)
        self.level_effect = np.zeros((BANDS, len(self.names)), np.float32)
        self.level_effect[:, self.levels] = np.eye(BANDS)

    def _measure(self, samples: Array, found: dict[str, Array]) -> None:
        power, magnitude = self._spectra(samples)
        self.mel_basis.product(power, out=found["mel"])
        np.matmul(power, self.ones, out=found["energy"][:, 0])  # three times as fast as `sum`
        power.max(axis=1, out=found["peak"][:, 0])
        bins = len(self.hz)
        np.matmul(magnitude[:, :bins], self.moments, out=found["moments"])
        rolloffs = descriptors.rolloff_bins(magnitude, ROLLOFFS, bins)
        found["rolloffs"][:] = self.log_hz[rolloffs]

    def _spectra(self, samples: Array) -> tuple[Array, Array]:
        """Power and magnitude of the frames between LOW_HZ and the top, in memory of `scratch`.

        Returns [shape=(frames, bins)], and [shape=(frames, whole groups of bins)] with zeros at the
        end.
        """
        frames, bins = self.split_into_frames(samples), len(self.hz)
        windowed, spectrum = scratch.floats(frames.shape, (len(frames), self.n_fft + 2))
        # A constant does not reach LOW_HZ, but a large one costs digits of float32, and digital
        # silence would have a spectrum of rounding errors.
        np.subtract(frames, frames[:, :1], out=windowed)
        windowed *= self.window
        # Real and imaginary parts, side by side.
        parts = rfft(windowed, out=spectrum.view(np.complex64)).view(np.float32)
        squares = np.square(parts, out=parts)
        # The memory of the frames, and then that of the spectrum, is free for its successor. The
        # bins that are not used are added too: operations on whole arrays take half the time.
        whole = _reused(windowed, len(frames), squares.shape[1] // 2)
        power = np.add(squares[:, ::2], squares[:, 1::2], out=whole)[:, self.used]
        magnitude = _reused(spectrum, len(frames), descriptors.whole_groups(bins))
        # Digital silence has a flat spectrum, like the quantisation noise that it stands for.
        np.add(power, np.float32(SILENCE), out=magnitude[:, :bins])
        magnitude[:, bins:] = 0
        return power, np.sqrt(magnitude, out=magnitude)

    def summarise(self, frames: Array, _first: Array, _rest: Array) -> Array:
        of = self.named(frames)
        mel, relative, *spare = scratch.floats(*4 * [(len(frames), BANDS)])
        np.copyto(mel, of["mel"])
        of["mel"] = mel  # operations on whole arrays take half the time
        energy = of["energy"][:, 0]
        mean_of_band = mel.mean(axis=0)
        mean = max(float(mean_of_band.mean()), SILENCE)
        floor = np.float32(mean * 10 ** (-FLOOR_DB / 10))
        levels = _decibels((mean_of_band + floor) / np.float32(mean))
        descriptors.decibels(mel, DYNAMIC_RANGE_DB, out=relative)
        series = np.empty((len(mel), SHAPES + GROUPS + CEPSTRA), np.float32)
        self._all_shape(of, floor, series[:, :SHAPES], spare)
        groups = descriptors.decibels(mel @ self.group_means, DYNAMIC_RANGE_DB)
        series[:, SHAPES : SHAPES + GROUPS] = groups
        series[:, SHAPES + GROUPS :] = relative @ self.dct_basis
        onset = descriptors.rises(relative, self.mean_of_bands, spare[0])
        return np.concatenate(
            [
                levels - levels.mean(),
                _statistics(series),
                self._rhythm(descriptors.decibels(energy, DYNAMIC_RANGE_DB), onset),
                self._modulation(mel),
                self._loudness(energy),
            ],
            dtype=np.float32,
        )

    def _all_shape(
        self, of: dict[str, Array], floor: np.float32, out: Array, spare: list[Array]
    ) -> None:
        """The shape of each frame [shape=(frames, SHAPES)].

        floor : of the power of a band; spare : memory for two arrays as large as the bands
        """
        mel = of["mel"]
        level = np.add(mel, floor / 10, out=spare[0])
        _decibels(level, out=level)
        # Products with a vector would be faster, and round differently than in trained models.
        mean_db = level.mean(axis=1)
        # A waveform that is silent throughout resembles no machine, whatever its spectrum is.
        out[:, :6] = self._shape(of) if mel.any() else self.shape_of_silence
        np.subtract(mean_db, _decibels(mel.mean(axis=1) + floor / 10), out=out[:, 6])
        np.subtract(level.max(axis=1), mean_db, out=out[:, 8])
        peak, energy = of["peak"][:, 0], of["energy"][:, 0]
        out[:, 9] = _decibels((energy + np.float32(SILENCE)) / (peak + np.float32(SILENCE)))
        out[:, 10] = rise = descriptors.rises(level, self.mean_of_bands, spare[1])
        out[:, 11] = descriptors.falls(rise, level @ self.mean_of_bands)
        share = np.add(mel, np.float32(SILENCE), out=spare[0])
        share /= (mel @ np.ones(BANDS, np.float32) + np.float32(BANDS * SILENCE))[:, None]
        entropy = np.einsum("ij,ij->i", share, np.log(share, out=spare[1]))
        np.negative(entropy, out=out[:, 7])

    def _shape(self, of: dict[str, Array]) -> Array:
        """Position and spread of the energy of each frame, in octaves above 1 Hz."""
        total, first, second = of["moments"].T
        centroid = first / total
        bandwidth = np.sqrt(np.maximum(second / total - np.square(centroid), 1))
        position = np.log2(np.maximum(np.column_stack([centroid, bandwidth]), LOW_HZ))
        return np.concatenate([position, of["rolloffs"]], axis=1)

    def _rhythm(self, energy_db: Array, onset: Array) -> list[float]:
        """Number, regularity and duration of the sounds in the recording."""
        count, rate = len(onset), self.frame_rate
        seconds = count / rate
        correlations = descriptors.autocorrelations(np.stack([onset, energy_db]))
        correlation = correlations[0, PERIOD_MIN_FRAMES : round(PERIOD_MAX_S * rate)]
        period = int(correlation.argmax()) if len(correlation) else 0
        strength = max(float(correlation[period]), 0.0) if len(correlation) else 0.0
        frames = descriptors.onsets(onset, ONSET_RADIUS_FRAMES, ONSET_MIN_ABOVE_MEAN_DB)
        gaps = np.diff(frames) / rate if len(frames) > 1 else np.array([seconds])
        active = energy_db > -ACTIVE_WITHIN
        starts = np.count_nonzero(active[0, 1:] > active[0, :-1])
        lags = [min(round(lag * rate), count - 1) for lag in ENERGY_LAGS_S]
        ordered = np.sort(energy_db)
        places = ENERGY_PLACES * (count - 1)
        return [
            strength,
            (period + PERIOD_MIN_FRAMES) / rate,
            len(frames) / seconds,
            *descriptors.mean_and_std(gaps),
            math.log10((float(onset.max()) + 0.1) / (float(onset.mean()) + 0.1)),
            *(np.count_nonzero(active, axis=1) / count).tolist(),
            starts / seconds,
            *np.interp(places, np.arange(count), ordered).tolist(),
            float(energy_db.std()),
            10 * math.log10(float((10 ** (energy_db / 10)).mean())),
            *correlations[1, lags].tolist(),
        ]

    def _modulation(self, mel: Array) -> Array:
        """Logarithm of the energy of slow level changes, for each octave and group of bands."""
        power = mel @ self.envelope_means
        floor = np.float32(10 ** (-FLOOR_DB / 10) * max(float(power.mean()), SILENCE))
        envelopes = _decibels(power + floor)
        envelopes -= envelopes.mean(axis=0)
        size = fast_length(
            max(len(envelopes), round(MODULATION_MIN_S * self.frame_rate)), real=True
        )
        window, octaves = descriptors.modulation_octaves(
            len(envelopes), size, self.frame_rate, MODULATION_EDGES_HZ
        )
        envelopes *= window
        power = np.square(np.abs(rfft(envelopes, size, axis=0)))
        # 1e-3 keeps the logarithm finite if the level does not change.
        strength: Array = np.log10(octaves @ power + np.float32(1e-3)).ravel()
        return strength

    def _loudness(self, energy: Array) -> Array:
        """Level of the recording and of its loudest frame between LOW_HZ and the top.

        In dB relative to full scale, by Parseval's theorem: a sine wave of full scale has -3 dB.
        """
        scale = 2 / (self.n_fft * float(np.square(self.window).sum()))
        return _decibels(np.array([energy.mean(), energy.max()], np.float32) * np.float32(scale))


def _reused(memory: Array, rows: int, columns: int) -> Array:
    """An array of this shape in the memory of another one."""
    return memory.reshape(-1)[: rows * columns].reshape(rows, columns)


def _decibels(power: Array, out: Array | None = None) -> Array:
    found: Array = np.maximum(power, np.float32(SILENCE), out=out)
    np.log10(found, out=found)
    found *= np.float32(10)
    return found


def _statistics(series: Array) -> Array:
    """Mean and standard deviation over time of each column, side by side; changes the series."""
    mean = series.mean(axis=0)
    series -= mean
    deviation = np.sqrt(np.einsum("ij,ij->j", series, series) / np.float32(len(series)))
    return np.column_stack([mean, deviation]).ravel()


def _mel_basis(hz: Array, edges: NDArray[np.float64]) -> Array:
    """Triangular weights [shape=(bins, bands)] that sum to 1 for each band.

    librosa's filters leave narrow bands empty that lie between two bins; here, such a band gets
    the nearest bin.
    """
    up = (hz[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - hz[:, None]) / np.diff(edges)[1:]
    weights = np.maximum(np.minimum(up, down), 0)
    empty = weights.sum(axis=0) <= 0
    weights[np.abs(hz[:, None] - edges[1:-1])[:, empty].argmin(axis=0), empty] = 1
    basis: Array = (weights / weights.sum(axis=0)).astype(np.float32)
    return basis


def _families() -> dict[str, tuple[str, ...]]:
    """Names of all features by family, in the order of the vector."""

    def each(*names: str) -> tuple[str, ...]:
        return tuple(f"{name}_{statistic}" for name in names for statistic in ("mean", "std"))

    octaves = [f"{low:g}_{high:g}_hz" for low, high in pairwise(MODULATION_EDGES_HZ)]
    return {
        "log_mel": tuple(f"log_mel_{i}_mean" for i in range(BANDS)),
        "shape": each(
            *("centroid", "bandwidth"),
            *(f"rolloff_{round(100 * share)}" for share in ROLLOFFS),
            *("mel_flatness", "mel_entropy", "mel_crest", "energy_over_peak"),
            *("onset_strength", "offset_strength"),
        ),
        "bands": each(*(f"band_{i}" for i in range(GROUPS))),
        "mfcc": each(*(f"mfcc_{i}" for i in range(1, CEPSTRA + 1))),
        "rhythm": (
            *("onset_period_strength", "onset_period_s", "onsets_per_s"),
            *("onset_gap_mean_s", "onset_gap_std_s", "onset_crest"),
            *(f"active_share_{within}_db" for within in ACTIVE_WITHIN_DB),
            "active_segments_per_s",
            *(f"energy_p{p}_db" for p in ENERGY_PERCENTILES),
            *("energy_db_std", "energy_mean_over_max_db"),
            *(f"energy_correlation_{round(1000 * lag)}_ms" for lag in ENERGY_LAGS_S),
        ),
        "modulation": tuple(
            f"modulation_{group}_{octave}" for octave in octaves for group in range(ENVELOPES)
        ),
        "level": (LOUDNESS, "level_max_dbfs"),
    }


def _bands(names: tuple[str, ...], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lowest and highest frequency in Hz of the features of one band; NaN for the others.

    edges : of the mel bands in Hz [shape=(BANDS + 2,)]; each band overlaps its neighbours
    """
    widths = {"log_mel": 1, "band": BANDS // GROUPS, "modulation": BANDS // ENVELOPES}
    bands = np.full((len(names), 2), np.nan)
    for row, name in zip(bands, names, strict=True):
        for family, width in widths.items():
            number = name.removeprefix(f"{family}_").split("_")[0]
            if name.startswith(f"{family}_") and number.isdecimal():
                row[:] = edges[width * int(number)], edges[width * (int(number) + 1) + 1]
    return bands
