"""Fits the reference of events to normal recordings, and calibrates its limits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.ndimage import maximum_filter1d
from sklearn.cluster import KMeans
from sklearn.model_selection import GroupKFold

from oddsound import audio
from oddsound.descriptors import Array
from oddsound.events.frames import (
    BANDS,
    DROPOUT,
    IMPACT,
    LEVEL,
    MAX_SINGLE_CHUNK,
    MODULATION,
    TIMBRE,
    TONE,
    FrameAnalyser,
    Measures,
)
from oddsound.events.reference import MIN_KNOCK_DB, MIN_LIMIT, EventReference, Usual, in_order
from oddsound_workbench.learn.dataset import LIMITS
from oddsound_workbench.learn.recordings import Labelled

CHUNK_S = (1.0, 30.0)
"""Shortest and longest chunk. In between, it is the median duration of the recordings."""

MAX_CHUNKS = 400
"""Most chunks that are used, evenly from all recordings: more would only take longer."""

FOLDS = 10
PERMITTED = 0.015
"""Share of normal recordings that may have an event of one kind. Six kinds leave 90 % without."""

SHARE = {IMPACT: 0.99, DROPOUT: 0.99, TONE: 0.95, LEVEL: 0.95, MODULATION: 0.9, TIMBRE: 0.95}
"""Of the values of normal recordings that are below the quantile. Consecutive values of the slow
measures overlap, therefore more of them are above it."""

MIN_EXCESS = {IMPACT: 0.3, DROPOUT: 0.4, TONE: 0.4, LEVEL: 0.25, MODULATION: 0.25, TIMBRE: 0.08}
"""Smallest mean excess, in dB or, of the timbre, in deviations. Recordings that are very regular
would otherwise have limits that the next day exceeds."""

PRIOR_VALUES = 20
"""The mean excess of a column is averaged with the median of all, which counts as so many values.
"""

TIMBRE_PRIOR, MIN_TIMBRE_DB = 10, 0.3
"""The variance of a band is averaged with the median of all, which counts as so many recordings;
the deviation is at least so many dB."""

KNOCK_SHARE, MAX_KNOCK_FRAMES, KNOCKS = 0.1, 3000, 32
"""Share of the times, and most times, that are clustered, and the number of clusters."""

TONE_DRIFT_BINS = 2
"""Bins on each side in which a tone of the machine may also be."""

GUMBEL_DEVIATION = float(np.pi / np.sqrt(6))
PRIOR_RECORDINGS = 3
"""The variance of the maxima is averaged with that of exponentially distributed values, which
counts as so many recordings."""

MAX_ABOVE = 0.1
"""Share of the left-out recordings that may be above the limit, and always one of them."""

MAX_DEVIATIONS, NORMAL_MAD = 5.0, 1.4826


@dataclass(frozen=True)
class Measured:
    """The measures of one chunk of a normal recording.

    group : of its recording
    """

    group: str
    measures: Measures


def fit_reference(
    recordings: Sequence[Labelled], durations_s: Sequence[float], sample_rate: int
) -> EventReference:
    """Fit the reference to normal recordings.

    durations_s : of each recording; sample_rate : of the model, in Hz
    """
    chunk_s = float(np.clip(np.median(durations_s), *CHUNK_S))
    analyser = FrameAnalyser(sample_rate)
    total = sum(max(duration / chunk_s, 1.0) for duration in durations_s)
    every = max(1, int(np.ceil(total / MAX_CHUNKS)))
    chunks = [
        Measured(recording.group, analyser(chunk).measures)
        for number, (recording, chunk) in enumerate(_chunks(recordings, analyser, chunk_s))
        if number % every == 0
    ]
    return reference_of(chunks, sample_rate, chunk_s)


def reference_of(chunks: Sequence[Measured], sample_rate: int, chunk_s: float) -> EventReference:
    """The reference of measured chunks, with limits from chunks that were left out of a fit.

    chunks : of at least two groups
    """
    groups = [chunk.group for chunk in chunks]
    maxima: dict[str, list[float]] = {}
    folds = GroupKFold(min(FOLDS, len(set(groups))), shuffle=True, random_state=0)
    for train, test in folds.split(groups, groups=groups):
        fitted = _fitted([chunks[i] for i in train], sample_rate, chunk_s)
        for index in test:
            measures = fitted.distances(chunks[index].measures)
            for kind, measure in measures.items():
                if kind in fitted.usual:
                    largest = float(fitted.usual[kind].units(measure).max())
                    maxima.setdefault(kind, []).append(largest)
    whole = _fitted(chunks, sample_rate, chunk_s)
    usual = {
        kind: Usual(
            whole.usual[kind].quantile,
            whole.usual[kind].excess,
            *_limit(np.array(maxima[kind]), len(set(groups))),
        )
        for kind in in_order(whole.usual)
        if kind in maxima
    }
    return replace(whole, usual=usual)


def _chunks(
    recordings: Sequence[Labelled], analyser: FrameAnalyser, chunk_s: float
) -> Iterator[tuple[Labelled, Array]]:
    """The chunks of every recording, as an EventFinder divides it."""
    size = analyser.chunk_samples(chunk_s)
    for recording in recordings:
        waveform = audio.load(recording.path, analyser.sample_rate, LIMITS).waveform
        while len(waveform) > MAX_SINGLE_CHUNK * size:
            yield recording, waveform[: size + analyser.hop]
            waveform = waveform[size:]
        if len(waveform) >= analyser.n_fft:
            yield recording, waveform


def _fitted(chunks: Sequence[Measured], sample_rate: int, chunk_s: float) -> EventReference:
    """A reference without limits."""
    mean, deviation = _timbre([c.measures[TIMBRE] for c in chunks if TIMBRE in c.measures])
    knocks = _knocks([c.measures[IMPACT] for c in chunks])
    reference = EventReference(sample_rate, chunk_s, mean, deviation, knocks, {})
    parts: dict[str, list[Array]] = {}
    for chunk in chunks:
        for kind, measure in reference.distances(chunk.measures).items():
            parts.setdefault(kind, []).append(measure)
    usual = {kind: _usual(kind, np.concatenate(parts[kind])) for kind in in_order(parts)}
    return replace(reference, usual=usual)


def _timbre(levels: Sequence[Array]) -> tuple[Array, Array]:
    """Mean and deviation of the relative level of each band."""
    if not levels:
        return np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32)
    values = np.concatenate(levels).astype(np.float64)
    variance = values.var(axis=0)
    count = len(levels)
    variance = (count * variance + TIMBRE_PRIOR * np.median(variance)) / (count + TIMBRE_PRIOR)
    deviation = np.maximum(np.sqrt(variance), MIN_TIMBRE_DB)
    return values.mean(axis=0).astype(np.float32), deviation.astype(np.float32)


def _knocks(rises: Sequence[Array]) -> Array:
    """Centres of clusters of the loudest times of a machine, and 0 for no knock."""
    values = np.maximum(np.concatenate(rises), 0)
    strength = np.square(values).mean(axis=1)
    count = min(max(round(KNOCK_SHARE * len(values)), 1), MAX_KNOCK_FRAMES)
    loudest = np.argpartition(strength, len(values) - count)[len(values) - count :]
    chosen = values[np.sort(loudest)]
    chosen = chosen[np.square(chosen).mean(axis=1) > MIN_KNOCK_DB**2]
    none = np.zeros((1, values.shape[1]), np.float32)
    if len(chosen) <= KNOCKS:
        return np.concatenate([none, chosen])
    clusters = KMeans(KNOCKS, n_init=1, max_iter=30, random_state=0).fit(chosen)
    return np.concatenate([none, clusters.cluster_centers_]).astype(np.float32)


def _usual(kind: str, values: Array) -> Usual:
    """Quantile and mean excess of each column; the limit is not known yet."""
    count = max(1, round(len(values) * (1 - SHARE[kind])))
    top = np.partition(values, len(values) - count, axis=0)[len(values) - count :]
    quantile = top.min(axis=0).astype(np.float64)
    excess = (np.median(top, axis=0).astype(np.float64) - quantile) / np.log(2)
    if kind == TONE:
        # The frequency of the machine's own tones varies.
        quantile, excess = _largest_of_neighbours(quantile), _largest_of_neighbours(excess)
    excess = (count * excess + PRIOR_VALUES * np.median(excess)) / (count + PRIOR_VALUES)
    excess = np.maximum(excess, MIN_EXCESS[kind])
    return Usual(quantile.astype(np.float32), excess.astype(np.float32), np.inf, 0.0)


def _largest_of_neighbours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(maximum_filter1d(values, 2 * TONE_DRIFT_BINS + 1, mode="nearest"))


def _limit(maxima: NDArray[np.float64], recordings: int) -> tuple[float, float]:
    """The limit of one chunk, and its growth with the logarithm of the duration.

    The prediction limit of a Gumbel distribution: its quantile, widened by the ratio of the
    quantiles of Student's t and the normal distribution because mean and deviation are estimated.

    maxima : in units, of chunks that were left out
    recordings : number of groups that they come from
    """
    limited = _limited(maxima)
    variance = float(limited.var(ddof=1))
    weight = recordings - 1
    # The prior is the deviation of maxima of exponentially distributed values.
    prior = GUMBEL_DEVIATION**2
    variance = (weight * variance + PRIOR_RECORDINGS * prior) / (weight + PRIOR_RECORDINGS)
    growth = max(np.sqrt(variance / prior), 1.0)
    quantile = (-np.log(-np.log(1 - PERMITTED)) - np.euler_gamma) * growth
    degrees = recordings - 1 + PRIOR_RECORDINGS
    widened = stats.t.ppf(1 - PERMITTED, degrees) / stats.norm.ppf(1 - PERMITTED)
    limit = float(limited.mean()) + quantile * widened * np.sqrt(1 + 1 / recordings)
    if np.count_nonzero(maxima >= limit) > max(1, MAX_ABOVE * len(maxima)):
        # They are not odd: this machine does it regularly.
        limit = float(np.quantile(maxima, 1 - MAX_ABOVE, method="higher")) + growth
    return max(float(limit), MIN_LIMIT), float(growth)


def _limited(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower values that are far above the others, so that one odd recording hides no events."""
    middle = np.median(values)
    spread = max(NORMAL_MAD * float(np.median(np.abs(values - middle))), 1.0)
    return np.minimum(values, middle + MAX_DEVIATIONS * spread)
