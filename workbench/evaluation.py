"""Accuracy, AUC, pAUC, confusion: of a finished model, or of the recipe by cross-validation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from audio_anomaly.model import Floats, Predictor
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from workbench import detector
from workbench.classifier import fit_classifier
from workbench.dataset import Rows
from workbench.detector import fit_detector
from workbench.recipes import FeatureChoice, Fitted
from workbench.recordings import FolderError

PAUC_MAX_FALSE_POSITIVE_RATE = 0.1
"""The p of DCASE's pAUC: the area up to this share of false alarms, standardised to 0.5..1."""

FOLDS = 5
REPEATS = 4

type Advance = Callable[[], Any]


@dataclass(frozen=True)
class ClassifierResult:
    """Predictions for recordings that the model had not seen.

    truth : class of each recording; probabilities : float64 [shape=(recordings, classes)]
    folds : the fold in which each was tested
    """

    classes: tuple[str, ...]
    truth: NDArray[np.str_]
    probabilities: Floats
    folds: NDArray[np.str_]
    names: list[str]

    @property
    def predicted(self) -> NDArray[np.str_]:
        return np.array(self.classes)[self.probabilities.argmax(axis=1)]

    @property
    def confusion(self) -> NDArray[np.intp]:
        """Recordings by class (rows) and by verdict (columns)."""
        return np.asarray(confusion_matrix(self.truth, self.predicted, labels=list(self.classes)))

    def metrics(self) -> dict[str, Any]:
        right = self.predicted == self.truth
        by_fold = {
            fold: float(right[self.folds == fold].mean())
            for fold in sorted(set(self.folds.tolist()))
        }
        by_class = {name: float(right[self.truth == name].mean()) for name in self.classes}
        truth = np.array([self.classes.index(name) for name in self.truth])
        one_hot = np.eye(len(self.classes))[truth]
        probabilities = np.clip(self.probabilities, 1e-15, 1)
        return {
            "accuracy": float(right.mean()),
            "accuracy_by_fold": by_fold,
            "recall_by_class": by_class,
            "worst_class": min(by_class, key=by_class.__getitem__),
            "auc": float(
                np.mean(
                    [
                        roc_auc_score(one_hot[:, i], probabilities[:, i])
                        for i in range(len(self.classes))
                    ]
                )
            ),
            "log_loss": float(log_loss(truth, probabilities, labels=range(len(self.classes)))),
            "brier": float(np.square(self.probabilities - one_hot).sum(axis=1).mean()),
            "calibration_error": calibration_error(self.probabilities.max(axis=1), right),
            "recordings": len(right),
        }


@dataclass(frozen=True)
class DetectorResult:
    """Scores of normal recordings that the model had not seen, and of anomalies.

    normal, anomaly : anomaly scores, 0..1; the normals once per split that left them out
    splits : AUC and pAUC of each split; empty where there are no anomalies
    """

    threshold: float
    normal: Floats
    anomaly: Floats
    splits: list[tuple[float, float]]
    normal_recordings: int
    anomaly_recordings: int

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "false_alarm_rate": float((self.normal >= self.threshold).mean()),
            "normal_recordings": self.normal_recordings,
        }
        if self.splits:
            auc, pauc = np.mean(self.splits, axis=0)
            found |= {
                "auc": float(auc),
                "pauc": float(pauc),
                "detection_rate": float((self.anomaly >= self.threshold).mean()),
                "anomaly_recordings": self.anomaly_recordings,
            }
        return found


def aucs(normal: Floats, anomaly: Floats) -> tuple[float, float]:
    """AUC and DCASE's pAUC (p = 0.1) of scores that should be low and high."""
    truth = np.repeat([0, 1], [len(normal), len(anomaly)])
    scores = np.concatenate([normal, anomaly])
    auc = roc_auc_score(truth, scores)
    return float(auc), float(roc_auc_score(truth, scores, max_fpr=PAUC_MAX_FALSE_POSITIVE_RATE))


def calibration_error(confidence: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: how far confidence is from accuracy, by bins of confidence.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (place == b).mean() * abs(confidence[place == b].mean() - right[place == b].mean())
        for b in set(place.tolist())
    ]
    return float(sum(gaps))


def predicted(fitted: Fitted, rows: Rows, choice: FeatureChoice) -> tuple[NDArray[np.intp], Floats]:
    """Indices of the recordings among `rows`, and their probabilities, windows combined."""
    return combined(fitted.predictor(), fitted.scaler.transform(rows.values[:, choice.kept]), rows)


def combined(predictor: Predictor, scaled: Floats, rows: Rows) -> tuple[NDArray[np.intp], Floats]:
    """Probabilities of whole recordings from those of their windows, as a prediction does it."""
    windows = predictor.probabilities(np.asarray(scaled, dtype=np.float64))
    recordings = np.unique(rows.owner)
    parts = [windows[rows.owner == recording] for recording in recordings]
    whole = [part[0] if len(part) == 1 else predictor.combine(part) for part in parts]
    return recordings, np.stack(whole)


def cross_validate_classifier(
    rows: Rows, choice: FeatureChoice, seed: int, advance: Advance = lambda: None
) -> ClassifierResult:
    """Every recording judged by a model that was fitted without its fold."""
    labels = np.array([recording.label for recording in rows.recordings])
    classes = tuple(sorted(set(labels.tolist())))
    folds = _folds(rows, labels, seed)
    probabilities = np.zeros((len(labels), len(classes)))
    for fold in sorted(set(folds.tolist())):
        fitted = fit_classifier(rows.of(folds != fold, copies=True), choice, seed)
        held_out, found = predicted(fitted, rows.of(folds == fold, copies=False), choice)
        columns = [classes.index(name) for name in fitted.predictor().classes]
        probabilities[np.ix_(held_out, columns)] = found
        advance()
    return ClassifierResult(classes, labels, probabilities, folds, rows.names)


def cross_validate_detector(
    normal: Rows,
    anomaly: Rows | None,
    choice: FeatureChoice,
    threshold: float,
    seed: int,
    advance: Advance = lambda: None,
) -> DetectorResult:
    """Repeated splits that leave normal recordings out; every anomaly is tested in each."""
    normals, anomalies, splits = [], [], []
    for train, test in _normal_splits(normal, seed):
        fitted = fit_detector(normal.of(train, copies=True), choice, threshold)
        unseen = predicted(fitted, normal.of(test, copies=False), choice)[1][:, 1]
        normals.append(unseen)
        if anomaly is not None:
            strange = predicted(fitted, anomaly, choice)[1][:, 1]
            anomalies.append(strange)
            splits.append(aucs(unseen, strange))
        advance()
    return DetectorResult(
        threshold,
        np.concatenate(normals),
        np.concatenate(anomalies) if anomalies else np.zeros(0),
        splits,
        len(normal.recordings),
        len(anomaly.recordings) if anomaly else 0,
    )


def detector_splits(recordings: int) -> int:
    """How many splits cross_validate_detector makes; for a progress bar."""
    return FOLDS if recordings > detector.LEAVE_ONE_OUT_UP_TO else FOLDS * REPEATS


def one_versus_rest(
    rows: Rows,
    choice: FeatureChoice,
    threshold: float,
    progress: Callable[[str, int], Advance],
) -> dict[str, DetectorResult]:
    """Each class as the normal one in turn: trained without a fold, tested on that fold."""
    labels = np.array([recording.label for recording in rows.recordings])
    folds = _folds(rows, labels, 0)
    results = {}
    classes = sorted(set(labels.tolist()))
    advance = progress("Testing each class as normal", len(classes) * len(set(folds.tolist())))
    for label in classes:
        normals, anomalies, splits = [], [], []
        for fold in sorted(set(folds.tolist())):
            inside = rows.of((labels == label) & (folds != fold), copies=True)
            fitted = fit_detector(inside, choice, threshold)
            tested, found = predicted(fitted, rows.of(folds == fold, copies=False), choice)
            scores, is_normal = found[:, 1], labels[tested] == label
            normals.append(scores[is_normal])
            anomalies.append(scores[~is_normal])
            splits.append(aucs(normals[-1], anomalies[-1]))
            advance()
        ours = int((labels == label).sum())
        results[label] = DetectorResult(
            threshold,
            np.concatenate(normals),
            np.concatenate(anomalies),
            splits,
            ours,
            len(labels) - ours,
        )
    return results


def summary(results: dict[str, DetectorResult]) -> dict[str, Any]:
    """Mean, harmonic mean and worst of several detectors, in the manner of DCASE's task 2."""
    each = {name: result.metrics() for name, result in results.items()}
    areas = np.array([[m["auc"], m["pauc"]] for m in each.values()])
    worst = min(each, key=lambda name: each[name]["auc"])
    return {
        "auc": float(areas[:, 0].mean()),
        "pauc": float(areas[:, 1].mean()),
        "harmonic_mean": float(areas.size / (1 / areas).sum()),
        "worst": worst,
        "worst_auc": each[worst]["auc"],
        "worst_pauc": each[worst]["pauc"],
        "false_alarm_rate": float(np.mean([m["false_alarm_rate"] for m in each.values()])),
        "detection_rate": float(np.mean([m["detection_rate"] for m in each.values()])),
        "each": each,
    }


def _folds(rows: Rows, labels: NDArray[np.str_], seed: int) -> NDArray[np.str_]:
    """The data set's own folds, or five stratified ones that keep groups together."""
    if all(recording.fold is not None for recording in rows.recordings):
        folds = np.array([str(recording.fold) for recording in rows.recordings])
        if len(set(folds.tolist())) < 2:
            raise FolderError(f"the fold pattern finds one fold only: {folds[0]!r}")
        return folds
    groups = np.array([recording.group for recording in rows.recordings])
    fewest = min(len(set(groups[labels == label])) for label in set(labels.tolist()))
    if fewest < 2:
        raise FolderError("a class has recordings of one group only; two groups are needed to test")
    splitter = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    folds = np.empty(len(labels), dtype="<U8")
    for number, (_, test) in enumerate(splitter.split(labels, labels, groups), 1):
        folds[test] = str(number)
    return folds


def _normal_splits(
    normal: Rows, seed: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    groups = np.array([recording.group for recording in normal.recordings])
    count = min(FOLDS, len(set(groups.tolist())))
    for repeat in range(detector_splits(len(groups)) // FOLDS):
        folds = GroupKFold(count, shuffle=True, random_state=seed + repeat)
        for _, test in folds.split(groups, groups=groups):
            held_out = np.zeros(len(groups), dtype=bool)
            held_out[test] = True
            yield ~held_out, held_out
