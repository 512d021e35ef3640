"""What is fitted, and how it is calibrated: one recipe for classifiers, one for detectors.

Everything that ends in an artifact is a plain scikit-learn object.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from audio_anomaly.descriptors import Array
from audio_anomaly.features import FeatureExtractor
from audio_anomaly.model import PREDICTORS, Floats, Predictor, raw_score
from audio_anomaly.schemas import Gamma, ModelEntry
from numpy.typing import NDArray
from scipy import stats
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import (
    GroupKFold,
    LeaveOneGroupOut,
    StratifiedGroupKFold,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, OneClassSVM

from workbench.dataset import Rows
from workbench.recordings import FolderError, Labelled

COPIES = 8
COMPONENTS = 80
ROWS_PER_COMPONENT = 4
FAMILY_EXPONENT = 0.25
SVC_C = 10.0
KNOCKED_COPIES = 1
OUTLIER_SHARE = 0.1
MOST_KERNELS = 4000
DEVIATION_FLOOR = 0.3
CLIP = 8.0
"""Deviations beyond which a feature counts no further: none may outvote all others."""

TOP_CUT_FROM, TOP_CUT_WIDENING = 8, 2.0
LEAVE_ONE_OUT_UP_TO = 40
FEWEST_GROUPS = 3
FEWEST_NORMALS = 4
"""Recordings of normal sound; with fewer there is nothing to calibrate on."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model, before it is written down.

    fields : of its models.json entry that the fit decides
    """

    predictor_name: str
    scaler: Any
    estimator: Any
    label_encoder: LabelEncoder | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def predictor(self) -> Predictor:
        """The strategy that will serve this model, as the registry would build it."""
        entry = ModelEntry(model_path="the fitted model", **self.fields)
        return PREDICTORS[self.predictor_name](self.estimator, self.label_encoder, entry)


@dataclass(frozen=True)
class FeatureChoice:
    """Which features a model uses: all but the level, unless the gain is fixed.

    kept : indices into the extractor's vector; sizes : of the families among them
    """

    kept: NDArray[np.intp]
    sizes: tuple[int, ...]
    dropped: tuple[str, ...]

    @classmethod
    def of(cls, extract: FeatureExtractor, *, fixed_gain: bool) -> "FeatureChoice":
        dropped = () if fixed_gain else extract.families["level"]
        sizes = [len(set(names) - set(dropped)) for names in extract.families.values()]
        kept = [i for i, name in enumerate(extract.names) if name not in dropped]
        return cls(np.array(kept), tuple(size for size in sizes if size), tuple(dropped))


def fit_classifier(rows: Rows, choice: FeatureChoice, seed: int) -> Fitted:
    """The mean vote of an RBF SVC and a shrinkage LDA, under one temperature.

    rows : with their augmented copies. Copies of one group never calibrate what it trained.
    """
    check_classes(rows.recordings)
    values, groups = rows.values[:, choice.kept], rows.groups
    encoder = LabelEncoder()
    classes = encoder.fit_transform(rows.labels)
    scaler = _fit_projection(values, choice.sizes)
    splits, fewest = _calibration_splits(classes, groups, seed)
    # The inner temperatures only bring the two voters to a like sharpness; the outer one is
    # fitted to recordings that the vote has not seen, and makes its probabilities honest.
    inner = min(3, fewest)
    svc = _calibrated(SVC(C=SVC_C, gamma="scale"), inner)
    lda = _calibrated(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), inner)
    vote = VotingClassifier([("svc", svc), ("lda", lda)], voting="soft")
    estimator = _calibrated(vote, splits).fit(scaler.transform(values), classes)
    names = [str(label) for label in encoder.classes_]
    return Fitted("sklearn_proba", scaler, estimator, encoder, {"classes": names})


def check_classes(recordings: Sequence[Labelled]) -> None:
    """Raises FolderError naming the class that has too few recordings to leave some out."""
    groups: dict[str, set[str]] = {}
    for recording in recordings:
        groups.setdefault(recording.label, set()).add(recording.group)
    label = min(groups, key=lambda name: len(groups[name]))
    if len(groups[label]) < FEWEST_GROUPS:
        raise FolderError(
            f"the class {label!r} has {_different(len(groups[label]))}; {FEWEST_GROUPS} or more"
            " are needed, so that calibration and test can leave some out"
        )


def check_normals(recordings: Sequence[Labelled]) -> None:
    """Raises FolderError where too few normal recordings are there to calibrate on."""
    count = len({recording.group for recording in recordings})
    if count < FEWEST_NORMALS:
        raise FolderError(
            f"a detector needs {FEWEST_NORMALS} or more normal recordings, found"
            f" {_different(count)}"
        )


def _different(count: int) -> str:
    noun = "recording" if count == 1 else "recordings"
    return f"{count} {noun} (identical files, and those of one group, count once)"


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


def _fit_projection(values: Array, sizes: tuple[int, ...]) -> Pipeline:
    """z-scores, each family divided by its size to an exponent lest it drown the others, PCA."""
    standard = StandardScaler().fit(values.astype(np.float64))
    standard.scale_ *= np.repeat(np.array(sizes) ** FAMILY_EXPONENT, sizes)
    # As many directions as recordings would let the LDA learn each recording by heart.
    components = max(1, min(COMPONENTS, len(values) // ROWS_PER_COMPONENT, values.shape[1]))
    pca = PCA(components, svd_solver="full").fit(standard.transform(values))
    return Pipeline([("standard", standard), ("pca", pca)])


def _calibrated(estimator: Any, cv: Any) -> CalibratedClassifierCV:
    return CalibratedClassifierCV(estimator, method="temperature", ensemble=False, cv=cv)


def _calibration_splits(
    classes: NDArray[np.intp], groups: NDArray[np.str_], seed: int
) -> tuple[list[tuple[NDArray[np.intp], NDArray[np.intp]]], int]:
    """Splits that keep groups together, and the groups of the class that has the fewest."""
    fewest = min(len(set(groups[classes == c])) for c in set(classes))
    folds = StratifiedGroupKFold(min(5, fewest), shuffle=True, random_state=seed)
    return list(folds.split(classes, classes, groups)), fewest


def _fit_kernels(rows: Rows, choice: FeatureChoice) -> tuple[Pipeline, OneClassSVM, float]:
    """Scaler, detector, and the raw score of the most normal row that it was fitted to."""
    values = rows.values[:, choice.kept].astype(np.float64)
    # Time and size grow with every kernel; thousands of recordings say no more than some.
    values = values[:: -(-len(values) // MOST_KERNELS)]
    scaler = _fit_balance(values, choice.sizes)
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
