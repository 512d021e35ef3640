"""How a classifier is fitted: settings and temperatures from recordings left out of the fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

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

from oddsound.descriptors import Array
from oddsound.predictors import Floats
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.recipe import FeatureChoice, Fitted, check_classes

type Classes = NDArray[np.intp]
type Splits = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]

COPIES = 8
ROWS_PER_COMPONENT = 4
LOG_TEMPERATURES = (-4.0, 3.0)
LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class Projection:
    """z-scores, each family divided by its size to an exponent lest it drown the others, PCA."""

    exponent: float
    components: int

    def fit(self, values: Array, sizes: tuple[int, ...]) -> Pipeline:
        standard = StandardScaler().fit(values.astype(np.float64))
        standard.scale_ *= np.repeat(np.array(sizes) ** self.exponent, sizes)
        # As many directions as recordings would let the LDA learn each recording by heart.
        most = max(1, min(self.components, len(values) // ROWS_PER_COMPONENT, values.shape[1]))
        pca = PCA(most, svd_solver="full").fit(standard.transform(values))
        return Pipeline([("standard", standard), ("pca", pca)])


PROJECTIONS = tuple(Projection(*each) for each in product((0.15, 0.25), (80, 150)))
SVC_CS = (3.0, 10.0)
"""The settings that are tried; that of the least log-loss on left-out recordings is taken."""


@dataclass(frozen=True)
class Vote:
    """The mean vote of SVC and LDA, each under a temperature of its own, under a third.

    The first two bring the voters to a like sharpness, the third makes the probabilities of
    the vote honest. All are inverse temperatures: factors of the logits.
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
        """The best vote of some held-out logits [shape=(rows, classes)]."""
        of_svc, of_lda = _temperature(svc, classes), _temperature(lda, classes)
        mean = (softmax(of_svc * svc, axis=1) + softmax(of_lda * lda, axis=1)) / 2
        logits = np.log(mean + LEAST_PROBABILITY)
        whole = _temperature(logits, classes)
        loss = _log_loss(whole * logits, classes)
        return cls(projection, svc_c, of_svc, of_lda, whole, loss)


def fit_classifier(rows: Rows, choice: FeatureChoice, seed: int) -> Fitted:
    """The mean vote of an RBF SVC and a shrinkage LDA, under one temperature.

    rows : with their altered copies. Settings and temperatures are those that suit
    recordings best of which neither voter had heard, in any copy.
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
    fewest = min(len(set(groups[classes == c])) for c in set(classes.tolist()))
    folds = StratifiedGroupKFold(min(5, fewest), shuffle=True, random_state=seed)
    return list(folds.split(classes, classes, groups))


def _best_vote(
    values: Array,
    sizes: tuple[int, ...],
    classes: Classes,
    splits: Splits,
    judged: NDArray[np.bool_],
) -> Vote:
    """judged : rows that count, the recordings as they are; their copies only train."""
    # Threads suffice: the time goes to LAPACK and libsvm, which let each other run.
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
        lda, *svcs = logits[:, judged]
        votes += [
            Vote.of(projection, svc_c, svc, lda, classes[judged])
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
    """Of the LDA and of an SVC for each C [shape=(1 + len(SVC_CS), held-out rows, classes)]."""
    train, test = split
    scaler = projection.fit(values[train], sizes)
    inside, outside = scaler.transform(values[train]), scaler.transform(values[test])
    found = [_lda().fit(inside, classes[train]).predict_log_proba(outside)]
    for svc_c in SVC_CS:
        decision = _svc(svc_c).fit(inside, classes[train]).decision_function(outside)
        # Of two classes there is one decision; so does scikit-learn's calibration read it.
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
    # Frozen, they would not be fitted anew; thawed, they predict in half the time.
    voting.estimators, voting.estimators_ = voters, [svc, lda]
    return _tempered(voting, vote.temperature, rows, classes)


def _svc(c: float) -> SVC:
    return SVC(C=c, gamma="scale")


def _lda() -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def _tempered(
    estimator: Any, temperature: float, rows: Floats, classes: Classes
) -> CalibratedClassifierCV:
    """`estimator` under a given inverse temperature, in place of the one fitted to `rows`."""
    calibrated = CalibratedClassifierCV(FrozenEstimator(estimator), method="temperature", cv=2)
    calibrated.fit(rows, classes)
    (fitted,) = calibrated.calibrated_classifiers_
    fitted.calibrators[0].beta_ = temperature
    calibrated.estimator = fitted.estimator = estimator
    return calibrated


def _temperature(logits: Floats, classes: Classes) -> float:
    """The inverse temperature of least log-loss (Guo et al., ICML 2017)."""
    found = minimize_scalar(
        lambda log: _log_loss(np.exp(log) * logits, classes),
        bounds=LOG_TEMPERATURES,
        method="bounded",
    )
    return float(np.exp(found.x))


def _log_loss(logits: Floats, classes: Classes) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(classes)), classes].mean())
