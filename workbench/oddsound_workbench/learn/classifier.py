"""The classifier: how it is fitted, calibrated and evaluated."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from oddsound.descriptors import Array
from oddsound.predictors import CLASSIFIER_THRESHOLD, Floats
from oddsound.schemas import NORMAL
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import plan as plans
from oddsound_workbench.learn.classifier_result import ClassifierResult
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.fitted import FeatureChoice, Fitted
from oddsound_workbench.learn.folds import Fold, class_folds, score
from oddsound_workbench.learn.plan import Facts, Plan, Progress, TrainingData
from oddsound_workbench.learn.recordings import Labelled, labelled, machine_folders

type Classes = NDArray[np.intp]
type Splits = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]

MIN_GROUPS = 3
"""Groups of each class: one trains, one calibrates, one tests."""

ROWS_PER_COMPONENT = 4
LOG_TEMPERATURES = (-4.0, 3.0)
MIN_PROBABILITY = 1e-12
PARALLEL_FROM_ROWS = 1000
"""Rows from which folds are fitted in several processes: starting them takes time too."""


@dataclass(frozen=True)
class ClassifierRecipe:
    """Trains a classifier from a folder with one subfolder per class."""

    plan: Plan

    method: ClassVar[str] = (
        "Cross-validation: each recording was scored by a model that was not trained on its fold."
    )
    text: ClassVar[str] = "mean of an RBF SVC and a shrinkage LDA, with calibrated probabilities"

    def read(self, progress: Progress) -> TrainingData:
        """The recordings of the plan's folder. Raises FolderError if they are not enough."""
        plan = self.plan
        recordings = labelled(plan.folder, plan.group_pattern, plan.fold_pattern)
        self.check(recordings)
        return plans.read(plan, recordings, progress, copies=plan.copies, check=self.check)

    def check(self, recordings: Sequence[Labelled]) -> None:
        """Raises FolderError naming a class with too few recordings to leave some out."""
        check_classes(recordings)

    def describe(self, data: TrainingData) -> Facts:
        counts = Counter(recording.label for recording in data.rows.recordings)
        return [
            *plans.describe(self.plan, data),
            ("Classes", ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))),
            ("Model", self.text),
            ("Augmented copies", f"{self.plan.copies} of each window, only for training"),
        ]

    def notes(self, data: TrainingData) -> list[str]:
        folder, names = self.plan.folder_name, sorted({r.label for r in data.rows.recordings})
        head = f"A classifier of {len(names)} classes ({', '.join(names)}): it names the class and"
        if NORMAL in names:
            head += (
                f" raises an alarm if all classes except {NORMAL!r} together have a probability of"
                f" at least {CLASSIFIER_THRESHOLD:.0%}. It knows only the faults in these folders;"
                " any other fault may be classified as normal."
            )
            normal, other = NORMAL, next(name for name in names if name != NORMAL)
        else:
            head += " never raises an alarm, because no class is called 'normal'."
            normal, other = "NORMAL_CLASS", "OTHER_CLASS"
        command = ["oddsound", "train", f"{folder}/{normal}", "--anomalies", f"{folder}/{other}"]
        notes = [
            f"{head} To train a detector, which raises an alarm for any unusual sound, pass only"
            f" the normal recordings: {shlex.join([*command, '--name', self.plan.name])}"
        ]
        if machines := machine_folders(self.plan.folder):
            name = machines[0].name
            command = ["oddsound", "train", f"{folder}/{name}/{NORMAL}", "--name", name]
            notes.append(
                f"{len(machines)} of the classes contain a folder {NORMAL!r}, as if each were a"
                f" machine. To train a detector of one machine: {shlex.join(command)}"
            )
        return notes

    def fit(self, data: TrainingData) -> Fitted:
        with threadpool_limits(1):
            fitted = fit_classifier(data.rows, data.choice, self.plan.seed)
        if NORMAL in fitted.fields["classes"]:
            fitted.fields["normal_label"] = NORMAL
        return fitted

    def folds(self, data: TrainingData, progress: Progress) -> list[Fold]:
        """One model for each fold, fitted to the recordings and copies of all other folds."""
        rows = data.rows
        folds = class_folds(rows, self.plan.seed)
        masks = {name: folds == name for name in sorted(set(folds.tolist()))}
        advance = progress("Fitting models for cross-validation", len(masks))
        parallel = Parallel(
            -1 if len(rows.values) >= PARALLEL_FROM_ROWS else 1, return_as="generator"
        )
        jobs = [
            delayed(_fit_fold)(rows.of(~held_out, copies=True), data.choice, self.plan.seed)
            for held_out in masks.values()
        ]
        found = []
        for (name, held_out), fitted in zip(masks.items(), parallel(jobs), strict=True):
            found.append(Fold(name, held_out, fitted))
            advance()
        return found

    def evaluate(self, folds: Sequence[Fold], data: TrainingData) -> ClassifierResult:
        """Each recording scored by the model that was fitted without its fold."""
        labels = data.rows.recording_labels
        classes = tuple(sorted(set(labels.tolist())))
        tested_in = np.empty(len(labels), dtype=object)
        probabilities = np.zeros((len(labels), len(classes)))
        with threadpool_limits(1):
            for fold in folds:
                rows = data.rows.of(fold.held_out, copies=False)
                tested, found = score(fold.fitted, rows, data.choice)
                columns = [classes.index(name) for name in fold.fitted.predictor().classes]
                probabilities[np.ix_(tested, columns)] = found
                tested_in[fold.held_out] = fold.name
        return ClassifierResult(
            classes, labels, probabilities, tested_in.astype(str), data.rows.paths
        )


def check_classes(recordings: Sequence[Labelled]) -> None:
    """Raises FolderError naming a class with too few recordings to leave some out."""
    groups: dict[str, set[str]] = {}
    for recording in recordings:
        groups.setdefault(recording.label, set()).add(recording.group)
    label = min(groups, key=lambda name: len(groups[name]))
    if len(groups[label]) < MIN_GROUPS:
        count = len(groups[label])
        noun = "recording" if count == 1 else "recordings"
        raise FolderError(
            f"the class {label!r} has {count} {noun} (identical files, and those of one group,"
            f" count once); at least {MIN_GROUPS} are needed, because calibration and test leave"
            " some out"
        )


def _fit_fold(rows: Rows, choice: FeatureChoice, seed: int) -> Fitted:
    # The limit does not reach into other processes.
    with threadpool_limits(1):
        return fit_classifier(rows, choice, seed)


@dataclass(frozen=True)
class Projection:
    """z-scores, then PCA. Each family of features is divided by its size to an exponent, so that
    a large family does not dominate.
    """

    exponent: float
    components: int

    def fit(self, values: Array, sizes: tuple[int, ...]) -> Pipeline:
        standard = StandardScaler().fit(values.astype(np.float64))
        standard.scale_ *= np.repeat(np.array(sizes) ** self.exponent, sizes)
        # With as many components as recordings the LDA would memorise each recording.
        components = max(
            1, min(self.components, len(values) // ROWS_PER_COMPONENT, values.shape[1])
        )
        pca = PCA(components, svd_solver="full").fit(standard.transform(values))
        return Pipeline([("standard", standard), ("pca", pca)])


PROJECTIONS = tuple(Projection(*each) for each in product((0.15, 0.25), (80, 150)))
SVC_CS = (3.0, 10.0)
"""The settings that are tried; the lowest log-loss on held-out recordings wins."""


@dataclass(frozen=True)
class Vote:
    """The mean of the probabilities of an SVC and an LDA, with three inverse temperatures.

    Each is a factor of logits. The first two make SVC and LDA similarly confident, the third
    calibrates the mean.
    """

    projection: Projection
    svc_c: float
    svc_temperature: float
    lda_temperature: float
    temperature: float
    log_loss: float

    @classmethod
    def of(
        cls, projection: Projection, svc_c: float, svc: Floats, lda: Floats, classes: Classes
    ) -> "Vote":
        """The temperatures with the lowest log-loss on held-out logits [shape=(rows, classes)]."""
        of_svc, of_lda = _temperature(svc, classes), _temperature(lda, classes)
        mean = (softmax(of_svc * svc, axis=1) + softmax(of_lda * lda, axis=1)) / 2
        logits = np.log(mean + MIN_PROBABILITY)
        whole = _temperature(logits, classes)
        loss = _log_loss(whole * logits, classes)
        return cls(projection, svc_c, of_svc, of_lda, whole, loss)


def fit_classifier(rows: Rows, choice: FeatureChoice, seed: int) -> Fitted:
    """Fit the mean of an RBF SVC and a shrinkage LDA.

    rows : with their altered copies. Settings and temperatures are chosen by log-loss on
        recordings that were held out together with their copies.
    Raises FolderError naming a class with too few recordings.
    """
    check_classes(rows.recordings)
    values = rows.values[:, choice.kept]
    encoder = LabelEncoder()
    classes = encoder.fit_transform(rows.labels)
    splits = _splits(classes, rows.groups, seed)
    vote = _best_vote(values, choice.sizes, classes, splits, ~rows.copy)
    scaler = vote.projection.fit(values, choice.sizes)
    estimator = _fit_vote(vote, scaler.transform(values), classes)
    names = [str(label) for label in encoder.classes_]
    return Fitted("sklearn_proba", scaler, estimator, encoder, {"classes": names})


def _splits(classes: Classes, groups: NDArray[np.str_], seed: int) -> Splits:
    """Splits that keep groups together."""
    smallest = min(len(set(groups[classes == c])) for c in set(classes.tolist()))
    folds = StratifiedGroupKFold(min(5, smallest), shuffle=True, random_state=seed)
    return list(folds.split(classes, classes, groups))


def _best_vote(
    values: Array,
    sizes: tuple[int, ...],
    classes: Classes,
    splits: Splits,
    original: NDArray[np.bool_],
) -> Vote:
    """original : rows that are not copies; only these are scored, copies only train."""
    # Threads are enough: the time is spent in LAPACK and libsvm, which release the GIL.
    held_out = Parallel(n_jobs=-1, prefer="threads")(
        delayed(_held_out_logits)(projection, values, sizes, classes, split)
        for projection in PROJECTIONS
        for split in splits
    )
    votes = []
    for number, projection in enumerate(PROJECTIONS):
        parts = held_out[number * len(splits) : (number + 1) * len(splits)]
        logits = np.empty((1 + len(SVC_CS), len(values), classes.max() + 1))
        for (_, test), part in zip(splits, parts, strict=True):
            logits[:, test] = part
        lda, *svcs = logits[:, original]
        votes += [
            Vote.of(projection, svc_c, svc, lda, classes[original])
            for svc_c, svc in zip(SVC_CS, svcs, strict=True)
        ]
    return min(votes, key=lambda vote: vote.log_loss)


def _held_out_logits(
    projection: Projection,
    values: Array,
    sizes: tuple[int, ...],
    classes: Classes,
    split: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> Floats:
    """Logits of the LDA and of an SVC for each C [shape=(1 + len(SVC_CS), held-out, classes)]."""
    train, test = split
    scaler = projection.fit(values[train], sizes)
    inside, outside = scaler.transform(values[train]), scaler.transform(values[test])
    found = [_lda().fit(inside, classes[train]).predict_log_proba(outside)]
    for svc_c in SVC_CS:
        decision = _svc(svc_c).fit(inside, classes[train]).decision_function(outside)
        # For two classes there is one decision value; scikit-learn's calibration does the same.
        found.append(np.column_stack([-decision, decision]) if decision.ndim == 1 else decision)
    return np.stack(found)


def _fit_vote(vote: Vote, rows: Floats, classes: Classes) -> CalibratedClassifierCV:
    svc = _tempered(_svc(vote.svc_c).fit(rows, classes), vote.svc_temperature, rows, classes)
    lda = _lda().fit(rows, classes)
    lda.coef_ *= vote.lda_temperature
    lda.intercept_ *= vote.lda_temperature
    voters = [("svc", svc), ("lda", lda)]
    frozen = [(name, FrozenEstimator(voter)) for name, voter in voters]
    voting = VotingClassifier(frozen, voting="soft").fit(rows, classes)
    # The fit must not refit the estimators, hence FrozenEstimator; without that wrapper they
    # predict in half the time.
    voting.estimators, voting.estimators_ = voters, [svc, lda]
    return _tempered(voting, vote.temperature, rows, classes)


def _svc(c: float) -> SVC:
    return SVC(C=c, gamma="scale")


def _lda() -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def _tempered(
    estimator: Any, temperature: float, rows: Floats, classes: Classes
) -> CalibratedClassifierCV:
    """A calibrated `estimator` with a given inverse temperature instead of one fitted to `rows`.

    scikit-learn offers no way to set it, so its private numbers are replaced after a fit.
    """
    calibrated = CalibratedClassifierCV(FrozenEstimator(estimator), method="temperature", cv=2)
    calibrated.fit(rows, classes)
    (fitted,) = calibrated.calibrated_classifiers_
    fitted.calibrators[0].beta_ = temperature
    calibrated.estimator = fitted.estimator = estimator
    return calibrated


def _temperature(logits: Floats, classes: Classes) -> float:
    """The inverse temperature with the lowest log-loss (Guo et al., ICML 2017)."""
    found = minimize_scalar(
        lambda log: _log_loss(np.exp(log) * logits, classes),
        bounds=LOG_TEMPERATURES,
        method="bounded",
    )
    return float(np.exp(found.x))


def _log_loss(logits: Floats, classes: Classes) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(classes)), classes].mean())
