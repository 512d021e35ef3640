"""Predictors: compute the probabilities of the classes from rows of scaled features."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oddsound.errors import ModelArtifactError, ModelsConfigError
from oddsound.schemas import ANOMALY, NORMAL, ModelEntry
from oddsound.views import ViewDetector

type Floats = NDArray[np.float64]

CLASSIFIER_THRESHOLD = 0.5
DETECTOR_THRESHOLD = 0.9
"""Anomaly score from which a recording is an anomaly, if models.json contains no threshold."""

SINGLE_WINDOWS_SHARE = 0.8
"""Share of the permitted false alarms that single windows of a long recording may cause; the rest
is for the mean of all windows."""

MIN_KERNEL_SUM = 1e-300
"""Keeps the logarithm of a sum of kernels finite: the sum underflows to 0 far from the data."""


class Predictor(Protocol):
    """Computes class probabilities from rows of scaled features.

    classes : names of the classes, in the order of the probabilities
    normal_label : the class of normal recordings, or None
    threshold : anomaly score from which a recording is an anomaly, or None
    is_detector : whether it was trained on normal recordings only
    min_length_s : shortest window that it can judge
    estimator : the artifact that computes the probabilities
    """

    classes: tuple[str, ...]
    normal_label: str | None
    threshold: float | None
    is_detector: bool
    min_length_s: float
    estimator: Any

    def probabilities(self, rows: Floats, length_s: float | None = None) -> Floats:
        """Probabilities for each row, float64 [shape=(rows, classes)]; each row sums to 1.

        length_s : of the windows that the rows describe; None for that of the model
        """
        ...

    def combine(self, windows: Floats) -> Floats:
        """Probabilities for a recording [shape=(classes,)], from those of its windows.

        windows : [shape=(windows, classes)]
        """
        ...

    def level(self, probabilities: Floats) -> float | None:
        """How anomalous a recording is, in multiples of the threshold; does not saturate.

        probabilities : of the classes [shape=(classes,)]
        Returns None if the predictor only knows probabilities.
        """
        ...


class SklearnProba:
    """A classifier with `predict_proba`; a long recording gets the mean over its windows."""

    is_detector = False
    min_length_s = 0.0

    def __init__(self, estimator: Any, label_encoder: Any, entry: ModelEntry) -> None:
        if not hasattr(estimator, "predict_proba"):
            raise ModelArtifactError(
                f"{entry.model_path} contains {type(estimator).__name__}, which has no"
                " predict_proba; the predictor sklearn_proba requires it"
            )
        labels = estimator.classes_
        if label_encoder is not None:
            labels = _decoded(label_encoder, labels, entry)
        self.classes = tuple(str(label) for label in labels)
        self.normal_label = entry.normal_label
        if entry.classes is not None and sorted(entry.classes) != sorted(self.classes):
            raise ModelsConfigError(
                f"classes are {', '.join(entry.classes) or 'none'} in models.json, and"
                f" {', '.join(self.classes)} in the model"
            )
        if self.normal_label is not None and self.normal_label not in self.classes:
            raise ModelsConfigError(
                f"normal_label {self.normal_label!r} is not a class of the model; its classes are"
                f" {', '.join(self.classes)}"
            )
        self.threshold = entry.threshold
        if self.threshold is None and self.normal_label is not None:
            self.threshold = CLASSIFIER_THRESHOLD
        self.estimator = estimator

    def probabilities(self, rows: Floats, _length_s: float | None = None) -> Floats:
        return np.asarray(self.estimator.predict_proba(rows), dtype=np.float64)

    def combine(self, windows: Floats) -> Floats:
        return np.asarray(windows.mean(axis=0))

    def level(self, _probabilities: Floats) -> float | None:
        return None


class SklearnOutlier:
    """A detector that was fitted to normal recordings only.

    The anomaly score is the share of unseen normal recordings that would have a lower raw score
    (see `raw_score`). It is the value of the cumulative gamma distribution whose parameters are
    in models.json under `calibration`.
    """

    classes: tuple[str, ...] = (NORMAL, ANOMALY)
    normal_label: str | None = NORMAL
    is_detector = True
    min_length_s = 0.0

    def __init__(self, estimator: Any, _label_encoder: Any, entry: ModelEntry) -> None:
        if entry.calibration is None:
            raise ModelsConfigError(
                "the predictor sklearn_outlier requires `calibration` (shape and scale of a gamma"
                " distribution) in models.json; `oddsound train` writes it"
            )
        threshold = DETECTOR_THRESHOLD if entry.threshold is None else entry.threshold
        self.threshold: float | None = threshold
        self._calibration = entry.calibration
        self.estimator = estimator
        self._score = raw_score(estimator, log=entry.calibration.log)

    def probabilities(self, rows: Floats, _length_s: float | None = None) -> Floats:
        # Imported here, because only this kind of detector needs it and the import takes 0.2 s.
        from scipy.special import gammainc

        gamma = self._calibration
        score = gammainc(gamma.shape, np.maximum(self._score(rows) - gamma.loc, 0) / gamma.scale)
        return np.column_stack([1 - score, score])

    def combine(self, windows: Floats) -> Floats:
        """The score of a recording: the largest window score to the power of the number of windows.

        This is the probability that n independent normal windows all score lower. A single
        anomalous window is enough for an alarm, and the rate of false alarms does not grow with
        the length of the recording.
        """
        score = windows[:, 1].max() ** len(windows)
        return np.array([1 - score, score])

    def level(self, _probabilities: Floats) -> float | None:
        return None


class MahalanobisViews:
    """Predicts with a ViewDetector; the anomaly score is 1 minus the p-value."""

    classes: tuple[str, ...] = (NORMAL, ANOMALY)
    normal_label: str | None = NORMAL
    is_detector = True

    def __init__(self, estimator: Any, _label_encoder: Any, entry: ModelEntry) -> None:
        threshold = DETECTOR_THRESHOLD if entry.threshold is None else entry.threshold
        self.threshold: float | None = threshold
        self.estimator = ViewDetector.of_artifact(estimator, entry.model_path)
        self.min_length_s = self.estimator.min_length_s
        self._threshold_score = float(self.estimator.scores_of(np.array(1 - threshold)))

    def probabilities(self, rows: Floats, length_s: float | None = None) -> Floats:
        p_values = self.estimator.p_values(self.estimator.scores(rows, length_s))
        return np.column_stack([p_values, 1 - p_values])

    def combine(self, windows: Floats) -> Floats:
        """The p-value of a recording, from those of its windows, by two tests.

        Simes' test finds single anomalous windows and any share of them; the test of the mean
        score finds a recording that is slightly anomalous throughout. Each has its share of the
        permitted false alarms (Bonferroni), so that a long recording raises no more of them than
        a short one; recordings of more than some minutes raise fewer. Simes' test does not assume
        that windows are independent, but that large scores do not exclude each other; the mean of
        identically distributed scores, however they depend on each other, does not vary more than
        one of them.

        R. J. Simes, "An improved Bonferroni procedure for multiple tests of significance",
        Biometrika 73 (1986); S. K. Sarkar, "Some probability inequalities for ordered MTP2
        random variables", Annals of Statistics 26 (1998).
        """
        ordered = np.sort(windows[:, 0])
        simes = float((ordered * len(ordered) / np.arange(1, len(ordered) + 1)).min())
        scores = self.estimator.scores_of(windows[:, 0])
        mean = float(self.estimator.p_values(np.array(scores.mean())))
        p_value = min(simes / SINGLE_WINDOWS_SHARE, mean / (1 - SINGLE_WINDOWS_SHARE), 1.0)
        return np.array([p_value, 1 - p_value])

    def level(self, probabilities: Floats) -> float | None:
        """The score in multiples of the score at the threshold; it does not saturate at 1."""
        if self._threshold_score <= 0:
            return None
        return float(self.estimator.scores_of(probabilities[0])) / self._threshold_score


def raw_score(estimator: Any, *, log: bool = False) -> Callable[[Floats], Floats]:
    """A function that computes the raw score of each row; larger is more anomalous.

    The score is the estimator's `mahalanobis` if it has this method, otherwise `-score_samples`,
    or its logarithm `-log(score_samples)`. The scores of a one-class SVM are sums of kernels,
    which are nearly 0 far from the data; the logarithm keeps distances distinguishable.

    log : whether to use the logarithm of `score_samples`
    Raises ModelArtifactError if the estimator has neither method.
    """
    if hasattr(estimator, "mahalanobis"):
        return lambda rows: np.asarray(estimator.mahalanobis(rows))
    if hasattr(estimator, "score_samples"):
        if log:
            return lambda rows: -np.log(np.maximum(estimator.score_samples(rows), MIN_KERNEL_SUM))
        return lambda rows: -np.asarray(estimator.score_samples(rows))
    raise ModelArtifactError(
        f"{type(estimator).__name__} is not a detector: it has neither mahalanobis nor"
        " score_samples"
    )


def _decoded(label_encoder: Any, labels: Any, entry: ModelEntry) -> Any:
    """The names of an estimator's classes."""
    try:
        return label_encoder.inverse_transform(labels)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelArtifactError(
            f"{entry.label_encoder_path} ({type(label_encoder).__name__}) cannot decode the"
            f" classes of {entry.model_path}, {list(labels)}: {error}"
        ) from None


PREDICTORS: dict[str, Callable[[Any, Any, ModelEntry], Predictor]] = {
    "sklearn_proba": SklearnProba,
    "sklearn_outlier": SklearnOutlier,
    "mahalanobis_views": MahalanobisViews,
}
"""Values of `predictor` in a models.json entry -> the class."""
