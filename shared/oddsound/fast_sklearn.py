"""Computes the methods of fitted scikit-learn objects in plain NumPy, without their checks.

For one row, scikit-learn spends nearly all its time on input validation. The classes in
`TRANSLATORS` are computed from their fitted attributes, with the formulas of scikit-learn 1.9 and
libsvm; all other classes keep scikit-learn's method. Some of these attributes are private and can
change with any release of scikit-learn. Therefore `fast_method` compares the results of both
implementations, and uses NumPy's only if they agree.
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
"""Tolerances of the comparison. A different order of summation changes a result by about 1e-12,
a wrong sign or formula by far more."""

MIN_PROBABILITY = 1e-12
"""scikit-learn adds this to probabilities before it takes their logarithm."""


class UnsupportedEstimatorError(Exception):
    """No translator supports this class, or this class with these parameters."""


def fast_method(fitted: Any, method: str, path: str) -> Function:
    """A function that returns `getattr(fitted, method)(rows)`, in NumPy if that is possible.

    The function takes and returns float64 [shape=(rows, columns)]; score_samples returns
    [shape=(rows,)].

    method : transform, predict_proba or score_samples
    path : of the artifact, for the warning if NumPy's result differs from scikit-learn's
    """

    def by_sklearn(rows: Rows) -> Rows:
        return np.asarray(getattr(fitted, method)(rows), dtype=np.float64)

    try:
        translation = translate(fitted, method)
        difference = _difference(translation, by_sklearn)
    except UnsupportedEstimatorError:
        return by_sklearn
    # In another version of scikit-learn, the private attributes may be missing or different, so
    # any exception is possible here.
    except Exception as error:
        difference = f"{type(error).__name__}: {error}"
    if difference:
        kind = type(fitted).__name__
        logger.warning(
            "%s: %s uses scikit-learn's slower method; NumPy's cannot be used: %s",
            path,
            kind,
            difference,
        )
        return by_sklearn
    function = translation.function
    # Rows that are not finite go to scikit-learn, which raises its usual error.
    return lambda rows: function(rows) if np.isfinite(rows).all() else by_sklearn(rows)


@dataclass(frozen=True)
class Translation:
    """A method of a fitted object in NumPy.

    function : from the rows to the result of the method
    typical_rows : rows with about the mean and standard deviation of the training data
    """

    function: Function
    typical_rows: Rows


@dataclass(frozen=True)
class Affine:
    """The function (rows - centre) * factor + offset.

    factor : one number for each column [shape=(columns,)], or a matrix that is multiplied from
        the right [shape=(columns, result columns)]
    """

    centre: Rows
    factor: Rows
    offset: Rows

    def __call__(self, rows: Rows) -> Rows:
        return _times(rows - self.centre, self.factor) + self.offset

    def then(self, after: "Affine") -> "Affine":
        """The composition: first this function, then `after`."""
        # One factor for each column, followed by a matrix: each row of the matrix is multiplied.
        wider = self.factor.ndim < after.factor.ndim
        factor = self.factor[:, None] if wider else self.factor
        product = factor * after.factor if wider else _times(factor, after.factor)
        return Affine(self.centre, product, after(self.offset))


def translate(fitted: Any, *methods: str) -> Translation:
    """Translate the first of `methods` that has a translator for the class of `fitted`.

    Only scikit-learn's classes are translated, because a subclass may compute something else.
    Raises UnsupportedEstimatorError if no translator supports `fitted`.
    """
    kind = type(fitted)
    if kind.__module__.partition(".")[0] == "sklearn":
        if kind.__name__ == "FrozenEstimator":
            return translate(fitted.estimator, *methods)
        for method in methods:
            if (kind.__name__, method) in TRANSLATORS:
                return TRANSLATORS[kind.__name__, method](fitted)
    raise UnsupportedEstimatorError(kind.__name__)


def _difference(translation: Translation, by_sklearn: Function) -> str:
    """How the results differ from scikit-learn's; empty if they agree.

    They are compared on random rows around the mean of the training data, with up to three times
    its standard deviation.
    """
    typical = translation.typical_rows
    mean, deviation = typical.mean(axis=0), typical.std(axis=0)
    noise = np.random.default_rng(0).standard_normal((PROBES, len(mean)))
    noise *= np.linspace(0, 3, PROBES)[:, None]
    probes = mean + np.where(deviation > 0, deviation, 1.0) * noise
    found, expected = translation.function(probes), by_sklearn(probes)
    if found.shape != expected.shape:
        return f"the shape is {found.shape}, not {expected.shape}"
    if not np.allclose(found, expected, rtol=RTOL, atol=ATOL):
        return f"the difference is up to {np.abs(found - expected).max():g}"
    return ""


def _standard_scaler(fitted: Any) -> Translation:
    if fitted.mean_ is None:
        raise UnsupportedEstimatorError("StandardScaler with neither with_mean nor with_std")
    mean = fitted.mean_
    deviation = np.sqrt(fitted.var_) if fitted.with_std else np.ones_like(mean)
    factor = 1 / fitted.scale_ if fitted.with_std else np.ones_like(mean)
    centre = mean if fitted.with_mean else np.zeros_like(mean)
    affine = Affine(centre, factor, np.zeros_like(mean))
    return Translation(affine, np.stack([mean - deviation, mean + deviation]))


def _min_max_scaler(fitted: Any) -> Translation:
    affine = Affine(np.zeros_like(fitted.min_), fitted.scale_, fitted.min_)
    typical_rows = np.stack([fitted.data_min_, fitted.data_max_])
    if not fitted.clip:
        return Translation(affine, typical_rows)
    low, high = fitted.feature_range
    return Translation(lambda rows: affine(rows).clip(low, high), typical_rows)


def _pca(fitted: Any) -> Translation:
    if fitted.whiten:
        raise UnsupportedEstimatorError("PCA with whiten=True")
    spread = np.sqrt(fitted.explained_variance_)[:, None] * fitted.components_
    affine = Affine(fitted.mean_, fitted.components_.T, np.zeros(len(spread)))
    return Translation(affine, fitted.mean_ + np.concatenate([-spread, spread]))


def _pipeline(fitted: Any) -> Translation:
    parts = [translate(step, "transform") for _, step in fitted.steps]
    return Translation(reduce(_composed, [part.function for part in parts]), parts[0].typical_rows)


def _composed(first: Function, second: Function) -> Function:
    if isinstance(first, Affine) and isinstance(second, Affine):
        return first.then(second)
    return lambda rows: second(first(rows))


def _lda(fitted: Any) -> Translation:
    """One decision value for each class; a single one if there are two classes."""
    coefficients, intercept = fitted.coef_.T, fitted.intercept_
    if len(fitted.classes_) == 2:
        return Translation(lambda rows: rows @ coefficients[:, 0] + intercept, fitted.means_)
    return Translation(lambda rows: rows @ coefficients + intercept, fitted.means_)


def _lda_probabilities(fitted: Any) -> Translation:
    decision = _lda(fitted)
    to_probabilities = _binary if len(fitted.classes_) == 2 else _softmax
    return Translation(_composed(decision.function, to_probabilities), decision.typical_rows)


def _svc(fitted: Any) -> Translation:
    """One decision value for each class; a single one if there are two classes.

    libsvm decides between each pair of classes. A support vector of one class has a coefficient
    for each other class, in the order of the classes (Chang and Lin, "LIBSVM", 2011). The value of
    a class is its number of votes. The sum of its pairwise decisions, scaled to less than 1/3 of a
    vote, is added to rank classes with the same number of votes, as in scikit-learn's
    `_ovr_decision_function`.
    """
    kernel, dual, intercept = _kernel(fitted), fitted.dual_coef_, fitted.intercept_
    count = len(fitted.classes_)
    if count == 2:
        return Translation(lambda rows: kernel(rows) @ dual[0] + intercept, fitted.support_vectors_)
    if fitted.decision_function_shape != "ovr":
        raise UnsupportedEstimatorError("SVC with decision_function_shape='ovo'")
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
        # A class has no coefficients for itself, so later classes are at their index minus 1.
        pairs = sums[:, first, second - 1] + sums[:, second, first] + intercept
        votes = (np.where(pairs < 0, -1.0, 1.0) @ signs + count - 1) / 2
        confidence = pairs @ signs
        return np.asarray(votes + confidence / (3 * (np.abs(confidence) + 1)))

    return Translation(decisions, fitted.support_vectors_)


def _one_class_svm(fitted: Any) -> Translation:
    """The sum of kernels, also if it is very small.

    scikit-learn computes it with the intercept added and subtracts the intercept again, which
    rounds sums below about 1e-16 to 0.
    """
    kernel, dual = _kernel(fitted), fitted.dual_coef_[0]
    return Translation(lambda rows: kernel(rows) @ dual, fitted.support_vectors_)


def _kernel(fitted: Any) -> Function:
    """The function exp(-gamma |row - vector|^2) [shape=(rows, support vectors)].

    The squared distance is expanded to |row|^2 - 2 row @ vector + |vector|^2, so that the largest
    part is one matrix product.
    """
    # Private attributes: scikit-learn has no public ones for the sparse flag and the fitted gamma
    # (the public `gamma` is the parameter, for example "scale").
    if fitted.kernel != "rbf" or fitted._sparse:
        raise UnsupportedEstimatorError("SVM with a kernel other than rbf, or with sparse rows")
    vectors, gamma = fitted.support_vectors_, fitted._gamma
    half = (vectors**2).sum(axis=1) / 2

    def kernel(rows: Rows) -> Rows:
        half_square = (rows**2).sum(axis=1)[:, None] / 2
        return np.asarray(np.exp(2 * gamma * (rows @ vectors.T - half - half_square)))

    return kernel


def _vote(fitted: Any) -> Translation:
    if fitted.voting != "soft":
        raise UnsupportedEstimatorError("VotingClassifier without voting='soft'")
    voters = [translate(voter, "predict_proba") for voter in fitted.estimators_]
    weights = np.ones(len(voters))
    # `estimators_` does not contain the dropped estimators, `weights` does.
    if fitted.weights is not None:
        named = zip(fitted.estimators, fitted.weights, strict=True)
        weights = np.array([weight for (_, voter), weight in named if voter != "drop"])
    shares = weights / weights.sum()
    functions = [voter.function for voter in voters]

    def mean(rows: Rows) -> Rows:
        return np.tensordot(shares, [function(rows) for function in functions], axes=1)

    return Translation(mean, voters[0].typical_rows)


def _calibrated(fitted: Any) -> Translation:
    """Softmax of the logits times one inverse temperature (Guo et al., ICML 2017)."""
    calibrated = fitted.calibrated_classifiers_
    if len(calibrated) != 1 or calibrated[0].method != "temperature":
        raise UnsupportedEstimatorError(
            "calibration with several classifiers or without temperature"
        )
    response = translate(calibrated[0].estimator, "decision_function", "predict_proba")
    beta, respond = calibrated[0].calibrators[0].beta_, response.function
    return Translation(lambda rows: _softmax(beta * _logits(respond(rows))), response.typical_rows)


def _logits(response: Rows) -> Rows:
    """The same as scikit-learn's private `_convert_to_logits`.

    A single decision value x becomes (-x, x). Rows that look like probabilities (from 0 to 1, with
    sum 1) become their logarithms. Other rows are logits already.
    """
    if response.ndim == 1:
        return np.column_stack([-response, response])
    likely = response.min() >= 0 and response.max() <= 1
    if likely and np.abs(response.sum(axis=1) - 1).max() <= 1e-5 + 1e-8:
        return np.log(response + MIN_PROBABILITY)
    return response


def _softmax(logits: Rows) -> Rows:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _binary(decision: Rows) -> Rows:
    probability = expit(decision)
    return np.column_stack([1 - probability, probability])


def _times(rows: Rows, factor: Rows) -> Rows:
    return np.asarray(rows @ factor if factor.ndim == 2 else rows * factor)


TRANSLATORS: dict[tuple[str, str], Callable[[Any], Translation]] = {
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
"""Name of a class and of its method -> the function that translates it."""
