"""Translates scikit-learn's classifiers to the responses of oddsound.compiled."""

from typing import Any

import numpy as np

from oddsound_workbench.compiling.scalers import scaler
from oddsound_workbench.compiling.translation import (
    Nested,
    NotCompilableError,
    Rows,
    Translation,
    Translator,
    parameter,
    translated,
    tree_nodes,
    typical_of_trees,
    unit,
)


def classifier(fitted: Any) -> Translation:
    """The probabilities of a fitted classifier. Raises NotCompilableError if it is not known."""
    return translated(fitted, CLASSIFIERS)


def _response(fitted: Any) -> Translation:
    """What CalibratedClassifierCV calibrates: decision values, or else probabilities."""
    inner = fitted.estimator if type(fitted).__name__ == "FrozenEstimator" else fitted
    if hasattr(inner, "decision_function"):
        return translated(inner, DECISIONS)
    return classifier(inner)


def _linked(kind: str, decision: Translation) -> Translation:
    return Translation({"kind": kind, "of": decision.numbers}, decision.typical)


def _linear(coefficients: Rows, intercept: Rows, typical: Rows) -> Translation:
    numbers = {"kind": "linear", "coefficients": coefficients.T, "intercept": intercept}
    return Translation(numbers, typical)


def _lda(fitted: Any) -> Translation:
    return _linear(fitted.coef_, fitted.intercept_, fitted.means_)


def _lda_probabilities(fitted: Any) -> Translation:
    return _linked("logistic" if len(fitted.classes_) == 2 else "softmax", _lda(fitted))


def _logistic_regression(fitted: Any) -> Translation:
    intercept = np.broadcast_to(fitted.intercept_, (len(fitted.coef_),)).astype(np.float64)
    return _linear(fitted.coef_, intercept, unit(fitted.n_features_in_))


def _logistic_probabilities(fitted: Any) -> Translation:
    kind = "logistic" if len(fitted.classes_) <= 2 else "softmax"
    return _linked(kind, _logistic_regression(fitted))


def _svc(fitted: Any) -> Translation:
    if fitted.decision_function_shape != "ovr":
        raise parameter(fitted, "decision_function_shape='ovo'")
    numbers = {
        "kind": "kernel machine",
        **kernel(fitted),
        "dual": np.ascontiguousarray(fitted.dual_coef_),
        "counts": np.asarray(fitted.n_support_, np.int64),
        "intercept": fitted.intercept_,
    }
    return Translation(numbers, fitted.support_vectors_)


def kernel(fitted: Any) -> Nested:
    """Vectors and gamma of a support vector machine."""
    # Private attributes: scikit-learn has no public ones for the sparse flag and the fitted gamma
    # (the public `gamma` is the parameter, for example "scale").
    if fitted.kernel != "rbf" or fitted._sparse:
        raise parameter(fitted, "a kernel other than rbf, or with sparse rows,")
    return {"vectors": fitted.support_vectors_, "gamma": float(fitted._gamma)}


def _gaussian(fitted: Any) -> Translation:
    numbers = {
        "kind": "gaussian",
        "means": fitted.theta_,
        "variances": fitted.var_,
        "log_priors": np.log(fitted.class_prior_),
    }
    deviation = np.sqrt(fitted.var_)
    typical = np.concatenate([fitted.theta_ - deviation, fitted.theta_ + deviation])
    return Translation({"kind": "softmax", "of": numbers}, typical)


def _forest(fitted: Any) -> Translation:
    trees = getattr(fitted, "estimators_", [fitted])
    if fitted.n_outputs_ != 1:
        raise parameter(fitted, "several outputs")
    every = np.arange(fitted.n_features_in_)
    values = [tree.tree_.value[:, 0, :] for tree in trees]
    shares = [each / each.sum(axis=1, keepdims=True) for each in values]
    nodes = tree_nodes(
        [tree.tree_ for tree in trees], [every] * len(trees), shares, fitted.n_features_in_
    )
    return Translation({"kind": "forest", **nodes}, typical_of_trees(nodes))


def _perceptron(fitted: Any) -> Translation:
    layers = [
        {"coefficients": np.asarray(weights, np.float64), "intercept": np.asarray(bias, np.float64)}
        for weights, bias in zip(fitted.coefs_, fitted.intercepts_, strict=True)
    ]
    links = {"logistic": "logistic", "softmax": "softmax"}
    if fitted.out_activation_ not in links or (
        fitted.out_activation_ == "logistic" and fitted.n_outputs_ > 1
    ):
        raise parameter(fitted, "several labels for each row")
    numbers = {"kind": "layers", "layers": layers, "activation": fitted.activation}
    return Translation(
        {"kind": links[fitted.out_activation_], "of": numbers}, unit(fitted.n_features_in_)
    )


def _vote(fitted: Any) -> Translation:
    if fitted.voting != "soft":
        raise parameter(fitted, "voting='hard'")
    voters = [classifier(voter) for voter in fitted.estimators_]
    weights = np.ones(len(voters))
    # `estimators_` does not contain the dropped estimators, `weights` does.
    if fitted.weights is not None:
        named = zip(fitted.estimators, fitted.weights, strict=True)
        weights = np.array([float(weight) for (_, voter), weight in named if voter != "drop"])
    return _mean(voters, weights)


def _mean(parts: list[Translation], weights: Rows) -> Translation:
    numbers = {
        "kind": "mean",
        "of": [part.numbers for part in parts],
        "shares": weights / weights.sum(),
    }
    return Translation(numbers, parts[0].typical)


def _calibrated(fitted: Any) -> Translation:
    parts = [_calibrated_part(each) for each in fitted.calibrated_classifiers_]
    return parts[0] if len(parts) == 1 else _mean(parts, np.ones(len(parts)))


def _calibrated_part(fitted: Any) -> Translation:
    response = _response(fitted.estimator)
    if len(fitted.estimator.classes_) != len(fitted.classes):
        raise NotCompilableError(
            "CalibratedClassifierCV cannot be compiled if a part of it never saw one of the classes"
        )
    if fitted.method == "temperature":
        beta = float(fitted.calibrators[0].beta_)
        numbers = {"kind": "temperature", "beta": beta, "of": response.numbers}
        return Translation(numbers, response.typical)
    curves = [_curve(each) for each in fitted.calibrators]
    numbers = {"kind": "calibrated", "curves": curves, "of": response.numbers}
    return Translation(numbers, response.typical)


def _curve(calibrator: Any) -> Nested:
    if hasattr(calibrator, "X_thresholds_"):
        x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
        return {"kind": "isotonic", "x": np.float64(x), "y": np.float64(y)}
    return {"kind": "platt", "slope": float(calibrator.a_), "offset": float(calibrator.b_)}


def _scaled(fitted: Any) -> Translation:
    """A pipeline: transformers, then a classifier."""
    *steps, (_, last) = fitted.steps
    steps = [step for _, step in steps if step not in (None, "passthrough")]
    if not steps:
        return classifier(last)
    parts = [scaler(step) for step in steps]
    step = {"kind": "chain", "steps": [part.numbers for part in parts]}
    numbers = {"kind": "scaled", "step": step, "of": classifier(last).numbers}
    return Translation(numbers, parts[0].typical)


DECISIONS: dict[str, Translator] = {
    "LinearDiscriminantAnalysis": _lda,
    "LogisticRegression": _logistic_regression,
    "SVC": _svc,
}
"""Name of a class of scikit-learn -> the function that translates its `decision_function`."""

CLASSIFIERS: dict[str, Translator] = {
    "CalibratedClassifierCV": _calibrated,
    "DecisionTreeClassifier": _forest,
    "ExtraTreeClassifier": _forest,
    "ExtraTreesClassifier": _forest,
    "GaussianNB": _gaussian,
    "LinearDiscriminantAnalysis": _lda_probabilities,
    "LogisticRegression": _logistic_probabilities,
    "MLPClassifier": _perceptron,
    "Pipeline": _scaled,
    "RandomForestClassifier": _forest,
    "VotingClassifier": _vote,
}
"""Name of a class of scikit-learn -> the function that translates its `predict_proba`."""
