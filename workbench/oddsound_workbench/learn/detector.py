"""The detector: how it is fitted to normal recordings, calibrated and evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import stats
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM
from threadpoolctl import threadpool_limits

from oddsound.predictors import Floats, raw_score
from oddsound.schemas import ANOMALY, NORMAL, Gamma
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import plan as plans
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.detector_result import DetectorResult, Scores
from oddsound_workbench.learn.fitted import FeatureChoice, Fitted
from oddsound_workbench.learn.folds import Fold, normal_splits, score
from oddsound_workbench.learn.plan import Facts, Plan, Progress, TrainingData
from oddsound_workbench.learn.recordings import Labelled, unlabelled

KNOCKED_COPIES = 1
MIN_NORMAL_RECORDINGS = 4
"""Fewer normal recordings are not enough to calibrate the score."""

FAMILY_EXPONENT = 0.2
OUTLIER_SHARE = 0.1
MAX_KERNELS = 4000
DEVIATION_FLOOR = 0.3
CLIP = 8.0
"""Maximum deviation of a feature, which limits the influence of a single feature."""

TOP_CUT_FROM, TOP_CUT_WIDENING = 8, 2.0
LEAVE_ONE_OUT_UP_TO = 40


@dataclass(frozen=True)
class DetectorRecipe:
    """Trains a detector from a folder with only normal recordings."""

    plan: Plan

    method: ClassVar[str] = (
        "Normal recordings were scored in repeated splits, by models that were not trained on them."
    )
    text: ClassVar[str] = (
        "one-class SVM on balanced families of features, with a score calibrated on held-out"
        " normal recordings"
    )

    def read(self, progress: Progress) -> TrainingData:
        """The recordings of the plan's folders. Raises FolderError if they are not enough."""
        plan = self.plan
        recordings = unlabelled(plan.folder, NORMAL, plan.group_pattern)
        anomalies = unlabelled(plan.anomalies, ANOMALY) if plan.anomalies else []
        self.check(recordings)
        return plans.read(
            plan,
            recordings,
            progress,
            copies=KNOCKED_COPIES,
            alteration="knocked",
            anomalies=anomalies,
        )

    def check(self, recordings: Sequence[Labelled]) -> None:
        """Raises FolderError if there are too few normal recordings to calibrate the score."""
        count = len({recording.group for recording in recordings})
        if count < MIN_NORMAL_RECORDINGS:
            raise FolderError(
                f"a detector needs at least {MIN_NORMAL_RECORDINGS} normal recordings, found"
                f" {count} (identical files, and those of one group, count once)"
            )

    def describe(self, data: TrainingData) -> Facts:
        facts = [*plans.describe(self.plan, data), ("Model", self.text)]
        if data.anomaly is not None:
            count = len(data.anomaly.recordings)
            facts.insert(2, ("Tested with", f"{count} anomalous recordings, not used in training"))
        return facts

    def notes(self, data: TrainingData) -> list[str]:
        note = (
            f"A detector trained on {len(data.rows.recordings)} normal recordings: it raises an"
            f" alarm if the anomaly score is at least {self.plan.threshold:g}."
        )
        if data.anomaly is None:
            note += " To measure how many anomalies it detects, add --anomalies FOLDER."
        return [note]

    def fit(self, data: TrainingData) -> Fitted:
        with threadpool_limits(1):
            return fit_detector(data.rows, data.choice, self.plan.threshold)

    def folds(self, data: TrainingData, progress: Progress) -> list[Fold]:
        """Models of repeated splits, each of which holds some normal recordings out."""
        masks = list(normal_splits(data.rows, self.plan.seed))
        advance = progress("Fitting models for cross-validation", len(masks))
        found = []
        # Hundreds of small decompositions: on a busy machine, BLAS threads that wait for each
        # other made them 4 to 20 times slower.
        with threadpool_limits(1):
            for number, held_out in enumerate(masks, 1):
                train = data.rows.of(~held_out, copies=True)
                fitted = fit_detector(train, data.choice, self.plan.threshold)
                found.append(Fold(str(number), held_out, fitted))
                advance()
        return found

    def evaluate(self, folds: Sequence[Fold], data: TrainingData) -> DetectorResult:
        """Each model scores its held-out normal recordings and every anomaly."""
        splits: list[tuple[Scores, Scores | None]] = []
        with threadpool_limits(1):
            for fold in folds:
                normal = data.rows.of(fold.held_out, copies=False)
                anomaly = None
                if data.anomaly is not None:
                    anomaly = anomaly_scores(fold.fitted, data.anomaly, data.choice)
                splits.append((anomaly_scores(fold.fitted, normal, data.choice), anomaly))
        return DetectorResult.of_splits(splits, self.plan.threshold)


def anomaly_scores(fitted: Fitted, rows: Rows, choice: FeatureChoice) -> Scores:
    """The anomaly score of every recording in `rows`."""
    tested, found = score(fitted, rows, choice)
    return found[:, 1], [rows.recordings[index].path for index in tested]


def fit_detector(rows: Rows, choice: FeatureChoice, threshold: float) -> Fitted:
    """Fit a one-class SVM to normal recordings: a weighted sum of kernels around them.

    Its score is calibrated with a gamma distribution, fitted to scores of recordings that were
    held out of the fit.

    rows : with their knocked copies, so that a knock nearby is not an anomaly
    threshold : anomaly score from which an alarm will be raised, 0..1
    Raises FolderError if the recordings do not differ at all.
    """
    scaler, estimator, nearest = _fit_kernels(rows, choice)
    gamma = _gamma(_unseen_scores(rows, choice), nearest, threshold)
    return Fitted(
        "sklearn_outlier", scaler, estimator, None, {"calibration": gamma, "threshold": threshold}
    )


def _fit_kernels(rows: Rows, choice: FeatureChoice) -> tuple[Pipeline, OneClassSVM, float]:
    """Scaler, detector, and the lowest raw score of the rows that it was fitted to."""
    values, copy = rows.values[:, choice.kept].astype(np.float64), rows.copy
    # Time and size grow with every kernel; more than some thousand rows add no information.
    if len(values) > MAX_KERNELS:
        some = np.random.default_rng(0).choice(len(values), MAX_KERNELS, replace=False)
        values, copy = values[some], copy[some]
    # Mean and deviation come from the original recordings; explanations show them to users.
    scaler = _fit_balance(values[~copy], choice.sizes)
    balanced = scaler.transform(values)
    # If nothing varies, gamma="scale" would divide by zero.
    gamma = "scale" if balanced.var() > 0 else 1.0
    estimator = OneClassSVM(nu=OUTLIER_SHARE, gamma=gamma).fit(balanced)
    return scaler, estimator, float(raw_score(estimator, log=True)(balanced).min())


def _fit_balance(values: Floats, sizes: tuple[int, ...]) -> Pipeline:
    """z-scores, clipped, each family divided by its size to an exponent.

    Scalers of scikit-learn with replaced fitted numbers: they can be loaded without this
    package, and oddsound.fast_sklearn computes both without scikit-learn.
    """
    deviation = values.std(axis=0)
    start = 0
    for size in sizes:
        # With few recordings some features hardly vary by chance; the floor limits their weight.
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
    """Raw score of every original row, above the lowest training score, of a detector that was
    fitted without the row's group. Copies only train.
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
    """Fit a gamma distribution, by its moments, to scores of unseen normal recordings above loc.

    Of eight or more scores, the highest is lowered to the second highest: otherwise one odd
    recording could raise the threshold above most anomalies. The variance is increased to
    compensate for that, and again because few scores estimate it badly, by the ratio of
    Student's t to the normal distribution.
    """
    share = min(max(threshold, 0.6), 0.99)
    wider = stats.t.ppf(share, len(scores) - 1) / stats.norm.ppf(share)
    widening = float(wider**2 * (1 + 1 / len(scores)))
    if len(scores) >= TOP_CUT_FROM:
        scores = np.minimum(scores, np.sort(scores)[-2])
        widening *= TOP_CUT_WIDENING
    mean = float(scores.mean())
    if not (np.isfinite(mean) and mean > 0):
        raise FolderError("the normal recordings are all the same; was the microphone on?")
    variance = max(float(scores.var(ddof=1)) * widening, (0.05 * mean) ** 2)
    return Gamma(shape=mean**2 / variance, scale=variance / mean, loc=loc, log=True)
