"""Fitted scikit-learn objects as plain NumPy: the same numbers without the checks around them.

For one row, scikit-learn spends nearly all its time on validation and tags. What is known here
is computed from the fitted numbers alone, by the formulas of scikit-learn 1.9 and libsvm; all
else stays scikit-learn's. `fast_method` compares both before it trusts the first.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

type Rows = NDArray[np.float64]
type Function = Callable[[Rows], Rows]

logger = logging.getLogger(__name__)

PROBES = 24
RTOL, ATOL = 1e-6, 1e-9
"""Sums in another order differ by 1e-12 or so, a wrong sign or convention by far more."""

LEAST_PROBABILITY = 1e-12
"""What scikit-learn adds to probabilities before their logarithm."""


class UnknownKindError(Exception):
    """There is no translation of such an object, or not with such parameters."""


def fast_method(fitted: Any, method: str, path: str) -> Function:
    """`getattr(fitted, method)` of rows [shape=(rows, features)], in NumPy where that is known.

    method : transform, predict_proba or score_samples
    path : of the artifact, for the warning where NumPy's answer is not scikit-learn's
    """

    def own(rows: Rows) -> Rows:
        return np.asarray(getattr(fitted, method)(rows), dtype=np.float64)

    try:
        translation = translate(fitted, method)
        difference = _difference(translation, own)
    except UnknownKindError:
        return own
    # Another scikit-learn may keep its numbers elsewhere, and fail in any way.
    except Exception as error:
        difference = f"{type(error).__name__}: {error}"
    if difference:
        kind = type(fitted).__name__
        logger.warning("%s: %s stays scikit-learn's, which is slower: %s", path, kind, difference)
        return own
    function = translation.function
    # What is not finite scikit-learn refuses, in words of its own.
    return lambda rows: function(rows) if np.isfinite(rows).all() else own(rows)


@dataclass(frozen=True)
class Translation:
    """What a fitted object does to rows.

    seen : rows whose mean and deviation are about those of the rows that it was fitted to
    """

    function: Function
    seen: Rows


@dataclass(frozen=True)
class Affine:
    """(rows - centre) times factor, plus offset.

    factor : of each column [shape=(columns,)], or a matrix [shape=(columns, columns made)]
    """

    centre: Rows
    factor: Rows
    offset: Rows

    def __call__(self, rows: Rows) -> Rows:
        return _times(rows - self.centre, self.factor) + self.offset

    def then(self, after: "Affine") -> "Affine":
        """Both in one."""
        wider = self.factor.ndim < after.factor.ndim
        factor = self.factor[:, None] if wider else self.factor
        product = factor * after.factor if wider else _times(factor, after.factor)
        return Affine(self.centre, product, after(self.offset))


def translate(fitted: Any, *methods: str) -> Translation:
    """The first of `methods` that is known of `fitted`. Raises UnknownKindError.

    Only of scikit-learn's own classes: a subclass may compute something else.
    """
    kind = type(fitted)
    if kind.__module__.partition(".")[0] == "sklearn":
        if kind.__name__ == "FrozenEstimator":
            return translate(fitted.estimator, *methods)
        for method in methods:
            if (kind.__name__, method) in KINDS:
                return KINDS[kind.__name__, method](fitted)
    raise UnknownKindError(kind.__name__)


def _difference(translation: Translation, own: Function) -> str:
    """How the answers differ, from the middle of the training rows to three times as wide."""
    mean, deviation = translation.seen.mean(axis=0), translation.seen.std(axis=0)
    noise = np.random.default_rng(0).standard_normal((PROBES, len(mean)))
    noise *= np.linspace(0, 3, PROBES)[:, None]
    probes = mean + np.where(deviation > 0, deviation, 1.0) * noise
    found, expected = translation.function(probes), own(probes)
    if found.shape != expected.shape:
        return f"the shape is {found.shape}, not {expected.shape}"
    if not np.allclose(found, expected, rtol=RTOL, atol=ATOL):
        return f"the difference is up to {np.abs(found - expected).max():g}"
    return ""


def _standard_scaler(fitted: Any) -> Translation:
    if fitted.mean_ is None:
        raise UnknownKindError("a StandardScaler that does nothing")
    mean = fitted.mean_
    deviation = np.sqrt(fitted.var_) if fitted.with_std else np.ones_like(mean)
    factor = 1 / fitted.scale_ if fitted.with_std else np.ones_like(mean)
    centre = mean if fitted.with_mean else np.zeros_like(mean)
    affine = Affine(centre, factor, np.zeros_like(mean))
    return Translation(affine, np.stack([mean - deviation, mean + deviation]))


def _min_max_scaler(fitted: Any) -> Translation:
    affine = Affine(np.zeros_like(fitted.min_), fitted.scale_, fitted.min_)
    seen = np.stack([fitted.data_min_, fitted.data_max_])
    if not fitted.clip:
        return Translation(affine, seen)
    low, high = fitted.feature_range
    return Translation(lambda rows: affine(rows).clip(low, high), seen)


def _pca(fitted: Any) -> Translation:
    if fitted.whiten:
        raise UnknownKindError("a PCA that whitens")
    spread = np.sqrt(fitted.explained_variance_)[:, None] * fitted.components_
    affine = Affine(fitted.mean_, fitted.components_.T, np.zeros(len(spread)))
    return Translation(affine, fitted.mean_ + np.concatenate([-spread, spread]))


def _pipeline(fitted: Any) -> Translation:
    parts = [translate(step, "transform") for _, step in fitted.steps]
    return Translation(reduce(_chained, [part.function for part in parts]), parts[0].seen)


def _chained(first: Function, second: Function) -> Function:
    if isinstance(first, Affine) and isinstance(second, Affine):
        return first.then(second)
    return lambda rows: second(first(rows))


def _lda(fitted: Any) -> Translation:
    """One decision for each class, or a single one of two classes."""
    coefficients, intercept = fitted.coef_.T, fitted.intercept_
    if len(fitted.classes_) == 2:
        return Translation(lambda rows: rows @ coefficients[:, 0] + intercept, fitted.means_)
    return Translation(lambda rows: rows @ coefficients + intercept, fitted.means_)


def _lda_probabilities(fitted: Any) -> Translation:
    decision = _lda(fitted)
    to_probabilities = _binary if len(fitted.classes_) == 2 else _softmax
    return Translation(_chained(decision.function, to_probabilities), decision.seen)


def _svc(fitted: Any) -> Translation:
    """One decision for each class, from its votes against every other; of two a single one.

    A support vector has a coefficient for each other class, in the order of the classes
    (Chang and Lin, "LIBSVM", 2011). The decisions of a class are summed and pressed into a
    third, to tell classes of as many votes apart, as in scikit-learn's `_ovr_decision_function`.
    """
    kernel, dual, intercept = _kernel(fitted), fitted.dual_coef_, fitted.intercept_
    count = len(fitted.classes_)
    if count == 2:
        return Translation(lambda rows: kernel(rows) @ dual[0] + intercept, fitted.support_vectors_)
    if fitted.decision_function_shape != "ovr":
        raise UnknownKindError("an SVC with a decision for each pair")
    stops = np.cumsum(fitted.n_support_).tolist()
    parts = [slice(*ends) for ends in zip([0, *stops], stops, strict=False)]
    of_class = [(part, np.ascontiguousarray(dual[:, part].T)) for part in parts]
    first, second = np.triu_indices(count, 1)
    signs = np.eye(count)[first] - np.eye(count)[second]

    def decisions(rows: Rows) -> Rows:
        kernels = kernel(rows)
        sums = np.stack(
            [kernels[:, part] @ coefficients for part, coefficients in of_class], axis=1
        )
        pairs = sums[:, first, second - 1] + sums[:, second, first] + intercept
        votes = (np.where(pairs < 0, -1.0, 1.0) @ signs + count - 1) / 2
        confidence = pairs @ signs
        return np.asarray(votes + confidence / (3 * (np.abs(confidence) + 1)))

    return Translation(decisions, fitted.support_vectors_)


def _one_class_svm(fitted: Any) -> Translation:
    """The sum of kernels, also where it is too small for scikit-learn.

    It adds the intercept and takes it off again, which leaves nothing of a sum under 1e-16.
    """
    kernel, dual = _kernel(fitted), fitted.dual_coef_[0]
    return Translation(lambda rows: kernel(rows) @ dual, fitted.support_vectors_)


def _kernel(fitted: Any) -> Function:
    """exp(-gamma |row - vector|^2) for every support vector."""
    if fitted.kernel != "rbf" or fitted._sparse:
        raise UnknownKindError("an SVM of another kernel, or fitted to sparse rows")
    vectors, gamma = fitted.support_vectors_, fitted._gamma
    half = (vectors**2).sum(axis=1) / 2

    def kernel(rows: Rows) -> Rows:
        half_square = (rows**2).sum(axis=1)[:, None] / 2
        return np.asarray(np.exp(2 * gamma * (rows @ vectors.T - half - half_square)))

    return kernel


def _vote(fitted: Any) -> Translation:
    if fitted.voting != "soft":
        raise UnknownKindError("a vote that counts heads")
    voters = [translate(voter, "predict_proba") for voter in fitted.estimators_]
    weights = np.ones(len(voters))
    if fitted.weights is not None:
        named = zip(fitted.estimators, fitted.weights, strict=True)
        weights = np.array([weight for (_, voter), weight in named if voter != "drop"])
    shares = weights / weights.sum()
    functions = [voter.function for voter in voters]

    def mean(rows: Rows) -> Rows:
        return np.tensordot(shares, [function(rows) for function in functions], axes=1)

    return Translation(mean, voters[0].seen)


def _calibrated(fitted: Any) -> Translation:
    """Softmax of logits under one inverse temperature (Guo et al., ICML 2017)."""
    calibrated = fitted.calibrated_classifiers_
    if len(calibrated) != 1 or calibrated[0].method != "temperature":
        raise UnknownKindError("a calibration by several classifiers, or by no temperature")
    response = translate(calibrated[0].estimator, "decision_function", "predict_proba")
    beta, respond = calibrated[0].calibrators[0].beta_, response.function
    return Translation(lambda rows: _softmax(beta * _logits(respond(rows))), response.seen)


def _logits(response: Rows) -> Rows:
    """As scikit-learn's `_convert_to_logits`: a single decision is (-x, x), and rows that look
    like probabilities are their logarithms."""
    if response.ndim == 1:
        return np.column_stack([-response, response])
    likely = response.min() >= 0 and response.max() <= 1
    if likely and np.abs(response.sum(axis=1) - 1).max() <= 1e-5 + 1e-8:
        return np.log(response + LEAST_PROBABILITY)
    return response


def _softmax(logits: Rows) -> Rows:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _binary(decision: Rows) -> Rows:
    probability = expit(decision)
    return np.column_stack([1 - probability, probability])


def _times(rows: Rows, factor: Rows) -> Rows:
    return np.asarray(rows @ factor if factor.ndim == 2 else rows * factor)


KINDS: dict[tuple[str, str], Callable[[Any], Translation]] = {
    ("StandardScaler", "transform"): _standard_scaler,
    ("MinMaxScaler", "transform"): _min_max_scaler,
    ("PCA", "transform"): _pca,
    ("Pipeline", "transform"): _pipeline,
    ("LinearDiscriminantAnalysis", "decision_function"): _lda,
    ("LinearDiscriminantAnalysis", "predict_proba"): _lda_probabilities,
    ("SVC", "decision_function"): _svc,
    ("OneClassSVM", "score_samples"): _one_class_svm,
    ("VotingClassifier", "predict_proba"): _vote,
    ("CalibratedClassifierCV", "predict_proba"): _calibrated,
}
"""What is known: a class and its method -> how it is translated."""
