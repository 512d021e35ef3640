"""Fits the views of a detector to normal recordings, and calibrates its score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.preprocessing import StandardScaler

from oddsound.predictors import Floats
from oddsound.views import View, ViewDetector, log_distance
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.covariance import Covariance

LEVELS, SHAPE = "log_mel", "shape"
VIEWS: tuple[tuple[tuple[str, ...], float], ...] = (
    ((LEVELS,), 0.0),
    ((SHAPE, "level"), 0.25),
    ((SHAPE, "level", "bands", "mfcc", "rhythm", "modulation"), 0.25),
)
"""Families of features of each view, and its handicap. Faults of machines mostly change levels;
without a handicap, the other two views would cause two thirds of the false alarms."""

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


def fit_views(
    values: Floats, groups: Sequence[str], families: Families, threshold: float
) -> tuple[StandardScaler, ViewDetector]:
    """Fit the scaler and the detector.

    values : features of normal recordings [shape=(rows, features)]
    groups : of each row; rows of one group are left out together
    threshold : anomaly score from which an alarm is raised; 1 - threshold of new normal
        recordings should reach it
    Raises FolderError if the recordings do not differ at all.
    """
    if not values.std(axis=0).any():
        raise FolderError("the normal recordings are all the same; was the microphone on?")
    columns = [
        (np.concatenate([families[name] for name in names if name in families]), handicap)
        for names, handicap in VIEWS
    ]
    distances = np.empty((len(columns), len(values)))
    for train, test in _folds(groups):
        centre, width = values[train].mean(axis=0), np.sqrt(_variances(values[train], families))
        scaled, left_out = (values[train] - centre) / width, (values[test] - centre) / width
        for row, (view, _) in zip(distances, columns, strict=True):
            covariance = Covariance.of(scaled[:, view])
            row[test] = log_distance(covariance.squared_distance(left_out[:, view]) / len(view))
    distances = np.array([_limited(row) for row in distances])
    scaler = fit_scaler(values, families)
    scaled = scaler.transform(values)
    views = tuple(
        _view(view, scaled, unseen, handicap)
        for unseen, (view, handicap) in zip(distances, columns, strict=True)
    )
    each = [view.standardised(unseen) for unseen, view in zip(distances, views, strict=True)]
    scores = np.asarray(np.max(np.stack(each), axis=0), np.float64)
    location, scale, df = _calibrate(scores, len(set(groups)), threshold)
    detector = ViewDetector(views, location, scale, df, len(set(groups)), values.shape[1])
    return scaler, detector


def _view(columns: NDArray[np.intp], scaled: Floats, unseen: Floats, handicap: float) -> View:
    """The view of scaled normal recordings.

    The deviation of the distances is at least that of independent normal variables: by the delta
    method, the logarithm of a root of chi-squared / p has the deviation 1 / sqrt(2 p). Few
    recordings can have a smaller one by chance, and their view would outweigh the others.

    unseen : distances of recordings that were left out
    """
    deviation = max(float(unseen.std(ddof=1)), 1 / np.sqrt(2 * len(columns)))
    whiten = Covariance.of(scaled[:, columns]).whitening()
    return View(columns, whiten, float(unseen.mean()), deviation, handicap)


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


def _calibrate(scores: Floats, recordings: int, threshold: float) -> tuple[float, float, float]:
    """Location, scale and degrees of freedom of the t distribution of the score.

    At the threshold, it agrees with the strictest of three limits: the quantile of a new
    observation of a normal distribution, whose mean and deviation are estimated; the tolerance
    limit of the normal distribution; and the rank of conformal prediction, if there are enough
    recordings for the rank to exist.

    scores : largest standardised distances of rows that were left out
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
    df = float(min(n - 1, MAX_DF))
    return location, float((limit - location) / stats.t.ppf(share, df)), df
