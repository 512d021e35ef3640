"""Accuracy, AUC, pAUC, confusion: of a finished model, or of the recipe by cross-validation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from oddsound.predictors import Floats, Predictor
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import detector
from oddsound_workbench.learn.classifier import fit_classifier
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.detector import fit_detector
from oddsound_workbench.learn.recipe import FeatureChoice, Fitted

PAUC_MAX_FALSE_POSITIVE_RATE = 0.1
"""The p of DCASE's pAUC: the area up to this share of false alarms, standardised to 0.5..1."""

FOLDS = 5
FEWEST_OUTSIDE = 2
"""Groups of a class that a fold must leave to the others, so that they can be calibrated."""

REPEATS = 4
BINS = 10
"""Ranges of probability, for reliability and calibration error."""

PARALLEL_FROM_ROWS = 1000

type Advance = Callable[[], Any]


@dataclass(frozen=True)
class Fold:
    """A model, and the recordings that it has not seen.

    held_out : a mask over the recordings [shape=(recordings,)]
    """

    name: str
    held_out: NDArray[np.bool_]
    fitted: Fitted


@dataclass(frozen=True)
class Bin:
    """The verdicts whose probability lies from `low` to `high`, of ten equal ranges.

    probability : their mean; right : the share of them that is right
    """

    low: float
    high: float
    recordings: int
    probability: float
    right: float


@dataclass(frozen=True)
class ClassifierResult:
    """Predictions for recordings that the model had not seen.

    truth : class of each recording; probabilities : float64 [shape=(recordings, classes)]
    folds : the fold in which each was tested; paths : of the recordings
    """

    classes: tuple[str, ...]
    truth: NDArray[np.str_]
    probabilities: Floats
    folds: NDArray[np.str_]
    paths: list[Path]

    @property
    def predicted(self) -> NDArray[np.str_]:
        return np.array(self.classes)[self.probabilities.argmax(axis=1)]

    @property
    def confusion(self) -> NDArray[np.intp]:
        """Recordings by class (rows) and by verdict (columns)."""
        return np.asarray(confusion_matrix(self.truth, self.predicted, labels=list(self.classes)))

    @property
    def reliability(self) -> list[Bin]:
        """How often verdicts are right, by the probability that they were given."""
        return reliability(self.probabilities.max(axis=1), self.predicted == self.truth)

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
            "accuracy_standard_error": standard_error(right, list(by_fold.values())),
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
            "reliability": [asdict(each) for each in self.reliability],
            "recordings": len(right),
        }


@dataclass(frozen=True)
class DetectorResult:
    """Scores of normal recordings that the model had not seen, and of anomalies.

    normal, anomaly : anomaly scores, 0..1; the normals once per split that left them out
    normal_paths, anomaly_paths : the recording of each score
    splits : AUC and pAUC of each split; empty where there are no anomalies
    """

    threshold: float
    normal: Floats
    anomaly: Floats
    normal_paths: list[Path]
    anomaly_paths: list[Path]
    splits: list[tuple[float, float]]

    @property
    def normal_recordings(self) -> int:
        return len(set(self.normal_paths))

    @property
    def anomaly_recordings(self) -> int:
        return len(set(self.anomaly_paths))

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


def standard_error(right: NDArray[np.bool_], by_fold: list[float]) -> float:
    """Of the accuracy: from the spread of its folds, or where there is one, the binomial's."""
    if len(by_fold) > 1:
        return float(np.std(by_fold, ddof=1) / np.sqrt(len(by_fold)))
    return float(np.std(right) / np.sqrt(len(right)))


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> list[Bin]:
    """How often verdicts are right, by the probability they were given; no empty bins.

    confidence : 0..1 [shape=(recordings,)]; right : whether each verdict was [same shape]
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        Bin(
            low=b / BINS,
            high=(b + 1) / BINS,
            recordings=int((place == b).sum()),
            probability=float(confidence[place == b].mean()),
            right=float(right[place == b].mean()),
        )
        for b in sorted(set(place.tolist()))
    ]


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error: how far confidence is from accuracy, by bins of confidence.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    bins = reliability(confidence, right)
    return sum(b.recordings * abs(b.probability - b.right) for b in bins) / len(right)


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


def fit_classifier_folds(
    rows: Rows, choice: FeatureChoice, seed: int, advance: Advance = lambda: None
) -> list[Fold]:
    """A model for each fold, fitted to the recordings and copies of all others."""
    folds = _folds(rows, _labels(rows), seed)
    masks = {name: folds == name for name in sorted(set(folds.tolist()))}
    # To start processes takes longer than small fits do.
    parallel = joblib.Parallel(
        -1 if len(rows.values) >= PARALLEL_FROM_ROWS else 1, return_as="generator"
    )
    jobs = [
        joblib.delayed(_fit_classifier)(rows.of(~held_out, copies=True), choice, seed)
        for held_out in masks.values()
    ]
    found = []
    for (name, held_out), fitted in zip(masks.items(), parallel(jobs), strict=True):
        found.append(Fold(name, held_out, fitted))
        advance()
    return found


def _fit_classifier(rows: Rows, choice: FeatureChoice, seed: int) -> Fitted:
    with threadpool_limits(1):
        return fit_classifier(rows, choice, seed)


def evaluate_classifier(
    models: Sequence[Fold], rows: Rows, choice: FeatureChoice
) -> ClassifierResult:
    """Every recording judged by the model that was fitted without its fold.

    rows : of the recordings that the folds were made of, in their order, altered or not
    """
    labels = _labels(rows)
    classes = tuple(sorted(set(labels.tolist())))
    folds = np.empty(len(labels), dtype=object)
    probabilities = np.zeros((len(labels), len(classes)))
    for fold in models:
        tested, found = predicted(fold.fitted, rows.of(fold.held_out, copies=False), choice)
        columns = [classes.index(name) for name in fold.fitted.predictor().classes]
        probabilities[np.ix_(tested, columns)] = found
        folds[fold.held_out] = fold.name
    return ClassifierResult(classes, labels, probabilities, folds.astype(str), rows.paths)


def fit_detector_folds(
    normal: Rows,
    choice: FeatureChoice,
    threshold: float,
    seed: int,
    advance: Advance = lambda: None,
) -> list[Fold]:
    """Models of repeated splits, each of which leaves some normal recordings out."""
    found = []
    for number, (train, test) in enumerate(_normal_splits(normal, seed), 1):
        fitted = fit_detector(normal.of(train, copies=True), choice, threshold)
        found.append(Fold(str(number), test, fitted))
        advance()
    return found


def evaluate_detector(
    models: Sequence[Fold],
    normal: Rows,
    anomaly: Rows | None,
    choice: FeatureChoice,
    threshold: float,
) -> DetectorResult:
    """Each model on the normal recordings it has not seen, and on every anomaly."""
    found = []
    for fold in models:
        unseen = _scores(fold, normal.of(fold.held_out, copies=False), choice)
        found.append((unseen, None if anomaly is None else _scores(fold, anomaly, choice)))
    return _detector_result(found, threshold)


def detector_splits(recordings: int) -> int:
    """How many splits fit_detector_folds makes of so many groups; for a progress bar."""
    if recordings < FOLDS:
        return recordings * REPEATS
    return FOLDS if recordings > detector.LEAVE_ONE_OUT_UP_TO else FOLDS * REPEATS


def fit_one_versus_rest(
    rows: Rows,
    choice: FeatureChoice,
    threshold: float,
    progress: Callable[[str, int], Advance],
) -> dict[str, list[Fold]]:
    """For each class a detector per fold, which takes it as normal and has not heard the fold."""
    labels = _labels(rows)
    folds = _folds(rows, labels, 0)
    classes, names = sorted(set(labels.tolist())), sorted(set(folds.tolist()))
    advance = progress("Fitting each class as normal", len(classes) * len(names))
    models: dict[str, list[Fold]] = {label: [] for label in classes}
    for label in classes:
        for name in names:
            # A fold without the class, or of it alone, can tell nothing of its detector.
            if len(set(labels[folds == name] == label)) == 2:
                inside = rows.of((labels == label) & (folds != name), copies=True)
                fitted = fit_detector(inside, choice, threshold)
                models[label].append(Fold(name, folds == name, fitted))
            advance()
    return models


def evaluate_one_versus_rest(
    models: dict[str, list[Fold]], rows: Rows, choice: FeatureChoice, threshold: float
) -> dict[str, DetectorResult]:
    """Each class as the normal one in turn, on the fold that its detector has not heard."""
    labels = _labels(rows)
    results = {}
    for label, folds in models.items():
        found = []
        for fold in folds:
            normal = rows.of(fold.held_out & (labels == label), copies=False)
            strange = rows.of(fold.held_out & (labels != label), copies=False)
            found.append((_scores(fold, normal, choice), _scores(fold, strange, choice)))
        results[label] = _detector_result(found, threshold)
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


def _labels(rows: Rows) -> NDArray[np.str_]:
    """Of every recording."""
    return np.array([recording.label for recording in rows.recordings])


type Scores = tuple[Floats, list[Path]]
"""Anomaly scores, and the recording of each."""


def _scores(fold: Fold, rows: Rows, choice: FeatureChoice) -> Scores:
    tested, found = predicted(fold.fitted, rows, choice)
    return found[:, 1], [rows.recordings[index].path for index in tested]


def _detector_result(
    splits: Sequence[tuple[Scores, Scores | None]], threshold: float
) -> DetectorResult:
    """All splits together.

    splits : for each, what the normal recordings got and, where there are any, the anomalies
    """
    normals = [normal for normal, _ in splits]
    anomalies = [anomaly for _, anomaly in splits if anomaly is not None]
    return DetectorResult(
        threshold=threshold,
        normal=np.concatenate([scores for scores, _ in normals]),
        anomaly=np.concatenate([scores for scores, _ in anomalies] or [np.zeros(0)]),
        normal_paths=[path for _, paths in normals for path in paths],
        anomaly_paths=[path for _, paths in anomalies for path in paths],
        splits=[aucs(n, a[0]) for (n, _), a in splits if a is not None],
    )


def _folds(rows: Rows, labels: NDArray[np.str_], seed: int) -> NDArray[np.str_]:
    """The data set's own folds, or five stratified ones that keep groups together."""
    if all(recording.fold is not None for recording in rows.recordings):
        folds = np.array([str(recording.fold) for recording in rows.recordings])
        if len(set(folds.tolist())) < 2:
            raise FolderError(f"the fold pattern finds one fold only: {folds[0]!r}")
        _check_folds(rows, labels, folds)
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


def _check_folds(rows: Rows, labels: NDArray[np.str_], folds: NDArray[np.str_]) -> None:
    """Raises FolderError where a class cannot be trained without some fold."""
    groups = np.array([recording.group for recording in rows.recordings])
    for label in sorted(set(labels.tolist())):
        for fold in sorted(set(folds.tolist())):
            outside = len(set(groups[(labels == label) & (folds != fold)]))
            if outside < FEWEST_OUTSIDE:
                raise FolderError(
                    f"outside fold {fold} the class {label!r} has {outside} recordings (those of"
                    f" one group count once); {FEWEST_OUTSIDE} are needed to train on: leave"
                    " --fold-pattern out, and folds are made that fit"
                )


def _normal_splits(
    normal: Rows, seed: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    groups = np.array([recording.group for recording in normal.recordings])
    count = min(FOLDS, len(set(groups.tolist())))
    for repeat in range(detector_splits(len(groups)) // count):
        folds = GroupKFold(count, shuffle=True, random_state=seed + repeat)
        for _, test in folds.split(groups, groups=groups):
            held_out = np.zeros(len(groups), dtype=bool)
            held_out[test] = True
            yield ~held_out, held_out
