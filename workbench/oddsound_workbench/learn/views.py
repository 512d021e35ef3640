"""Fits the views of a detector to normal recordings, and calibrates its score."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.preprocessing import StandardScaler

from oddsound.predictors import Floats
from oddsound.views import (
    Calibration,
    View,
    ViewDetector,
    log_distance,
    mean_of_largest,
)
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.covariance import Covariance

LEVELS, SHAPE = "log_mel", "shape"
VIEWS: tuple[tuple[str, ...], ...] = (
    (LEVELS,),
    (SHAPE, "level"),
    (LEVELS, SHAPE, "level"),
    (SHAPE, "level", "bands", "mfcc", "rhythm", "modulation"),
)
"""Families of features of each view. Every family is in two of them or has much in common with
those of another one."""

AVERAGED = 2
"""A fault shows in more than one view; what shows in only one is more often chance."""

PRIOR_RECORDINGS = {LEVELS: 10.0, SHAPE: 4.0}
"""The variance of a feature is averaged with the median variance, which counts as so many
recordings: with few recordings, some features hardly vary by chance."""

MIN_DEVIATION = 0.3
"""Smallest standard deviation of a feature, relative to the median in its view."""

MIN_VARIANCE = 1e-9
"""Keeps deviations positive if most features do not vary."""

MAX_DF = 6
"""Most degrees of freedom of the t distribution of the score. Its tails stay heavy even with many
recordings, because the distances of real recordings have heavier tails than a normal distribution.
"""

CODING_WEIGHT = 0.5
"""Weight of a codec's changes. With 1 and 2, detection falls."""

LEAVE_ONE_OUT_UP_TO, FOLDS = 20, 10
LIMITED_FROM, MAX_DEVIATIONS = 8, 3.0
NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution divided by its median absolute deviation."""

TOLERANCE_SHARE, TOLERANCE_CONFIDENCE = 0.75, 0.9
"""With this confidence, at least this share of normal recordings is below the threshold."""

type Families = dict[str, NDArray[np.intp]]
"""Indices of the features of each family."""


def fit_scaler(values: Floats, families: Families) -> StandardScaler:
    """z-scores, with variances that few recordings cannot make too small.

    values : [shape=(rows, features)]
    """
    scaler = StandardScaler().fit(values)
    # An explanation reads mean_ and var_; transform uses mean_ and scale_.
    scaler.var_ = _variances(values, families)
    scaler.scale_ = np.sqrt(scaler.var_)
    return scaler


def _variances(values: Floats, families: Families) -> Floats:
    variance = values.var(axis=0, ddof=1)
    rest = [indices for name, indices in families.items() if name not in PRIOR_RECORDINGS]
    parts = [(families[name], prior) for name, prior in PRIOR_RECORDINGS.items()]
    for features, prior in [*parts, (np.concatenate(rest), 0.0)]:
        variance[features] = _shrunk(variance[features], prior, len(values))
    return variance


def _shrunk(variance: Floats, prior: float, count: int) -> Floats:
    """Variances of `count` rows, averaged with their median, which counts as `prior` rows."""
    typical = np.median(variance) + MIN_VARIANCE
    average = (count * variance + prior * typical) / (count + prior)
    return np.asarray(np.maximum(average, MIN_DEVIATION**2 * typical))


@dataclass(frozen=True)
class Sample:
    """Features of windows of one length.

    values : [shape=(rows, features)]
    groups : of each row; rows of one group are left out together
    length_s : of the windows
    """

    values: Floats
    groups: Sequence[str]
    length_s: float


def fit_views(
    sample: Sample,
    families: Families,
    threshold: float,
    shorter: Sequence[Sample] = (),
    coding: Floats | None = None,
) -> tuple[StandardScaler, ViewDetector]:
    """Fit the scaler and the detector to windows of normal recordings.

    threshold : anomaly score from which an alarm is raised; 1 - threshold of new normal
        recordings should reach it
    shorter : windows of the same recordings that only calibrate the score of short recordings
    coding : how a lossy codec changes the features of the sample [shape=(rows, features)]
    Raises FolderError if the recordings do not differ at all.
    """
    if not sample.values.std(axis=0).any():
        raise FolderError("the normal recordings are all the same; was the microphone on?")
    columns = [
        np.concatenate([families[name] for name in names if name in families]) for names in VIEWS
    ]
    samples = sorted([sample, *shorter], key=lambda each: each.length_s)
    coded = [] if coding is None else [replace(sample, values=sample.values + coding)]
    distances = [
        [_limited(row) for row in rows]
        for rows in _unseen(sample, [*samples, *coded], families, columns, coding)
    ]
    coded_distances = distances[len(samples) :]
    distances = distances[: len(samples)]
    recordings = len(set(sample.groups))
    df = float(min(recordings - 1, MAX_DF))
    means = np.array([[row.mean() for row in rows] for rows in distances])
    deviations = np.array(
        [
            [_deviation(row, view) for row, view in zip(rows, columns, strict=True)]
            for rows in distances
        ]
    )

    def scores(rows: list[Floats], length: int) -> Floats:
        standardised = (np.stack(rows, axis=1) - means[length]) / deviations[length]
        return mean_of_largest(standardised, AVERAGED)

    limits = []
    for length, rows in enumerate(distances):
        limits.append(_calibrate(scores(rows, length), recordings, threshold, df))
    for rows in coded_distances:
        added = float((scores(rows, -1) - scores(distances[-1], -1)).mean())
        location, scale = limits[-1]
        limits[-1] = location + max(added, 0.0), scale
    locations, scales = np.array(limits).T
    lengths_s = np.array([each.length_s for each in samples])
    calibration = Calibration(lengths_s, means, deviations, locations, scales)
    scaler = fit_scaler(sample.values, families)
    scaled = scaler.transform(sample.values)
    views = tuple(
        View(view, _covariance(scaled, view, coding, scaler.scale_).whitening(), handicap=0.0)
        for view in columns
    )
    features = sample.values.shape[1]
    return scaler, ViewDetector(views, calibration, df, recordings, features, AVERAGED)


def _unseen(
    sample: Sample,
    samples: Sequence[Sample],
    families: Families,
    columns: Sequence[NDArray[np.intp]],
    coding: Floats | None,
) -> list[Floats]:
    """Distances of all windows in each view, from normal recordings without those of their group.

    samples : `sample`, which is fitted, and others of the same groups
    Returns an array for each of `samples` [shape=(views, rows)].
    """
    groups = [np.array(each.groups) for each in samples]
    distances = [np.empty((len(columns), len(each.values))) for each in samples]
    for train, test in _folds(sample.groups):
        values = sample.values[train]
        mean, scale = values.mean(axis=0), np.sqrt(_variances(values, families))
        scaled = (values - mean) / scale
        changes = None if coding is None else coding[train]
        covariances = [_covariance(scaled, view, changes, scale) for view in columns]
        left_out = np.unique(np.array(sample.groups)[test])
        for each, names, found in zip(samples, groups, distances, strict=True):
            rows = np.isin(names, left_out)
            new = (each.values[rows] - mean) / scale
            for row, view, covariance in zip(found, columns, covariances, strict=True):
                row[rows] = log_distance(covariance.squared_distance(new[:, view]) / len(view))
    return distances


def _covariance(
    scaled: Floats, columns: NDArray[np.intp], coding: Floats | None, scale: Floats
) -> Covariance:
    """The covariance of normal recordings in a view, wider in the directions of a codec.

    A codec moves the features of all recordings in similar directions, in which normal recordings
    may hardly differ. Its changes are added as if they were recordings (the idea of within-class
    covariance normalisation: A. O. Hatch et al., Interspeech 2006).

    scaled : features of normal recordings [shape=(rows, features)]
    coding : changes of the unscaled features, or None; scale : divides them
    """
    rows = scaled[:, columns]
    if coding is not None:
        rows = np.vstack([rows, CODING_WEIGHT * (coding / scale)[:, columns]])
    return Covariance.of(rows)


def _deviation(distances: Floats, columns: NDArray[np.intp]) -> float:
    """The standard deviation of distances, at least that of independent normal variables.

    By the delta method, the logarithm of a root of chi-squared / p has the deviation
    1 / sqrt(2 p). Few recordings can have a smaller one by chance, and their view would outweigh
    the others.
    """
    return float(max(distances.std(ddof=1), 1 / np.sqrt(2 * len(columns))))


def _limited(values: Floats) -> Floats:
    """Lower values that are far above the others, unless there are only few.

    One odd recording among the normal ones would raise the threshold above most anomalies. The
    limit is robust itself: it comes from the median absolute deviation.
    """
    if len(values) < LIMITED_FROM:
        return values
    middle = np.median(values)
    deviation = NORMAL_MAD * np.median(np.abs(values - middle))
    return np.asarray(np.minimum(values, middle + MAX_DEVIATIONS * deviation))


def _folds(groups: Sequence[str]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows that train, and rows of the groups that are left out."""
    names = np.array(groups)
    if len(set(groups)) <= LEAVE_ONE_OUT_UP_TO:
        return list(LeaveOneGroupOut().split(names, groups=names))
    return list(GroupKFold(FOLDS, shuffle=True, random_state=0).split(names, groups=names))


def _calibrate(scores: Floats, recordings: int, threshold: float, df: float) -> tuple[float, float]:
    """Location and scale of the t distribution of the score.

    At the threshold, it agrees with the strictest of three limits: the quantile of a new
    observation of a normal distribution, whose mean and deviation are estimated; the tolerance
    limit of the normal distribution; and the rank of conformal prediction, if there are enough
    recordings for the rank to exist.

    scores : means of the largest standardised distances of rows that were left out
    """
    share = min(max(threshold, 0.6), 0.99)
    n = recordings
    location, spread = float(scores.mean()), float(max(scores.std(ddof=1), 1e-3))
    new = stats.t.ppf(share, n - 1) * np.sqrt(1 + 1 / n)
    shift = stats.norm.ppf(TOLERANCE_SHARE) * np.sqrt(n)
    tolerance = stats.nct.ppf(TOLERANCE_CONFIDENCE, n - 1, shift) / np.sqrt(n)
    limit = location + max(new, tolerance) * spread
    rank = share * (1 + 1 / n)
    if rank <= 1:
        limit = max(limit, float(np.quantile(scores, rank)))
    return location, float((limit - location) / stats.t.ppf(share, df))
