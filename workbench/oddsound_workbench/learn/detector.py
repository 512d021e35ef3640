"""How a detector is fitted to normal sound alone, and its score calibrated."""

import numpy as np
from scipy import stats
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

from oddsound.predictors import Floats, raw_score
from oddsound.schemas import Gamma
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.recipe import FeatureChoice, Fitted

KNOCKED_COPIES = 1
FAMILY_EXPONENT = 0.2
OUTLIER_SHARE = 0.1
MOST_KERNELS = 4000
DEVIATION_FLOOR = 0.3
CLIP = 8.0
"""Deviations beyond which a feature counts no further: none may outvote all others."""

TOP_CUT_FROM, TOP_CUT_WIDENING = 8, 2.0
LEAVE_ONE_OUT_UP_TO = 40


def fit_detector(rows: Rows, choice: FeatureChoice, threshold: float) -> Fitted:
    """A one-class SVM on balanced families: a weighted sum of kernels around normal sound.

    Its score is calibrated by a gamma fitted to scores of recordings left out of the fit.

    rows : with their knocked copies, which teach what a knock nearby may change
    """
    scaler, estimator, nearest = _fit_kernels(rows, choice)
    gamma = _gamma(_unseen_scores(rows, choice), nearest, threshold)
    return Fitted(
        "sklearn_outlier", scaler, estimator, None, {"calibration": gamma, "threshold": threshold}
    )


def _fit_kernels(rows: Rows, choice: FeatureChoice) -> tuple[Pipeline, OneClassSVM, float]:
    """Scaler, detector, and the raw score of the most normal row that it was fitted to."""
    values, copy = rows.values[:, choice.kept].astype(np.float64), rows.copy
    # Time and size grow with every kernel; thousands of rows say no more than some of them.
    if len(values) > MOST_KERNELS:
        some = np.random.default_rng(0).choice(len(values), MOST_KERNELS, replace=False)
        values, copy = values[some], copy[some]
    # What is usual is told by the recordings as they are, also to whoever asks for reasons.
    scaler = _fit_balance(values[~copy], choice.sizes)
    balanced = scaler.transform(values)
    # Where nothing varies, gamma="scale" would divide by zero.
    gamma = "scale" if balanced.var() > 0 else 1.0
    estimator = OneClassSVM(nu=OUTLIER_SHARE, gamma=gamma).fit(balanced)
    return scaler, estimator, float(raw_score(estimator, log=True)(balanced).min())


def _fit_balance(values: Floats, sizes: tuple[int, ...]) -> Pipeline:
    """z-scores, clipped, each family divided by its size to an exponent.

    Plain scikit-learn scalers with their fitted numbers replaced, so that any scikit-learn
    can load them.
    """
    deviation = values.std(axis=0)
    start = 0
    for size in sizes:
        # With few recordings some features hardly vary by chance; they must not decide alone.
        family = deviation[start : start + size]
        floor = max(DEVIATION_FLOOR * float(np.median(family)), 1e-6)
        deviation[start : start + size] = np.maximum(family, floor)
        start += size
    clip = MinMaxScaler(feature_range=(-CLIP, CLIP), clip=True).fit(values)
    clip.scale_ = 1 / deviation
    clip.min_ = -values.mean(axis=0) / deviation
    balance = StandardScaler(with_mean=False).fit(values)
    balance.scale_ = np.repeat(np.array(sizes) ** FAMILY_EXPONENT, sizes)
    return Pipeline([("clip", clip), ("balance", balance)])


def _unseen_scores(rows: Rows, choice: FeatureChoice) -> Floats:
    """How far beyond its most normal row every row is from a detector that knew no such group.

    Of the recordings as they are; their copies only train.
    """
    present = np.unique(rows.owner)
    groups = np.array([recording.group for recording in rows.recordings])[present]
    few = len(set(groups.tolist())) <= LEAVE_ONE_OUT_UP_TO
    folds = LeaveOneGroupOut() if few else GroupKFold(5, shuffle=True, random_state=0)
    scores = []
    for _, test in folds.split(groups, groups=groups):
        unseen = np.isin(np.arange(len(rows.recordings)), present[test])
        scaler, estimator, nearest = _fit_kernels(rows.of(~unseen, copies=True), choice)
        held_out = rows.of(unseen, copies=False).values[:, choice.kept]
        scores.append(raw_score(estimator, log=True)(scaler.transform(held_out)) - nearest)
    return np.maximum(np.concatenate(scores), 0)


def _gamma(scores: Floats, loc: float, threshold: float) -> Gamma:
    """A gamma distribution by the moments of scores of unseen normal recordings, above loc.

    The highest of eight or more counts no more than the second: one odd recording among a
    few would otherwise lift the threshold over most anomalies. The variance is widened by
    what that takes away, and, having been estimated
    from few scores, as much as Student's t is wider than the normal distribution.
    """
    share = min(max(threshold, 0.6), 0.99)
    wider = stats.t.ppf(share, len(scores) - 1) / stats.norm.ppf(share)
    widening = float(wider**2 * (1 + 1 / len(scores)))
    if len(scores) >= TOP_CUT_FROM:
        scores = np.minimum(scores, np.sort(scores)[-2])
        widening *= TOP_CUT_WIDENING
    mean = float(scores.mean())
    if not (np.isfinite(mean) and mean > 0):
        raise FolderError("the normal recordings do not differ at all; was the microphone on?")
    variance = max(float(scores.var(ddof=1)) * widening, (0.05 * mean) ** 2)
    return Gamma(shape=mean**2 / variance, scale=variance / mean, loc=loc, log=True)
