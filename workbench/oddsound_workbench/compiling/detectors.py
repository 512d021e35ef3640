"""Translates scikit-learn's detectors to those of oddsound.compiled."""

from typing import Any

import numpy as np

from oddsound_workbench.compiling.classifiers import kernel
from oddsound_workbench.compiling.scalers import scaler
from oddsound_workbench.compiling.translation import (
    Rows,
    Translation,
    Translator,
    around,
    parameter,
    translated,
    tree_nodes,
    typical_of_trees,
)


def detector(fitted: Any) -> Translation:
    """The raw score of a fitted detector. Raises NotCompilableError if it is not known."""
    return translated(fitted, DETECTORS)


def _one_class_svm(fitted: Any) -> Translation:
    numbers = {"kind": "kernel sum", **kernel(fitted), "dual": fitted.dual_coef_[0]}
    return Translation(numbers, fitted.support_vectors_)


def _covariance(fitted: Any) -> Translation:
    numbers = {
        "kind": "covariance",
        "location": fitted.location_,
        "precision": fitted.get_precision(),
    }
    return Translation(numbers, around(fitted.location_, np.sqrt(np.diag(fitted.covariance_))))


def _isolation_forest(fitted: Any) -> Translation:
    if fitted.max_samples_ < 2:
        raise parameter(fitted, "max_samples=1")
    trees = [tree.tree_ for tree in fitted.estimators_]
    values = [_path_lengths(tree)[:, None] for tree in trees]
    nodes = tree_nodes(trees, list(fitted.estimators_features_), values, fitted.n_features_in_)
    usual = float(_mean_path_length(np.array([fitted.max_samples_]))[0])
    return Translation({"kind": "isolation", **nodes, "usual": usual}, typical_of_trees(nodes))


def _path_lengths(tree: Any) -> Rows:
    """Depth of each node, plus what it would take to isolate the recordings that it holds."""
    depth = np.zeros(tree.node_count)
    for node, children in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        for child in children:
            if child >= 0:
                depth[child] = depth[node] + 1
    return depth + _mean_path_length(tree.n_node_samples)


def _mean_path_length(counts: Rows) -> Rows:
    """Mean depth of an isolation tree of so many recordings (Liu et al., 2008)."""
    many = np.maximum(counts, 3).astype(np.float64)
    lengths = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(counts <= 1, 0.0, np.where(counts == 2, 1.0, lengths))


def _scaled(fitted: Any) -> Translation:
    """A pipeline: transformers, then a detector."""
    *steps, (_, last) = fitted.steps
    parts = [scaler(step) for _, step in steps if step not in (None, "passthrough")]
    if not parts:
        return detector(last)
    step = {"kind": "chain", "steps": [part.numbers for part in parts]}
    numbers = {"kind": "scaled", "step": step, "of": detector(last).numbers}
    return Translation(numbers, parts[0].typical)


DETECTORS: dict[str, Translator] = {
    "EllipticEnvelope": _covariance,
    "EmpiricalCovariance": _covariance,
    "IsolationForest": _isolation_forest,
    "LedoitWolf": _covariance,
    "MinCovDet": _covariance,
    "OAS": _covariance,
    "OneClassSVM": _one_class_svm,
    "Pipeline": _scaled,
    "ShrunkCovariance": _covariance,
}
"""Name of a class of scikit-learn -> the function that translates its raw score."""
