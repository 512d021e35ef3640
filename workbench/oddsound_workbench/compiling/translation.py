"""What translators of scikit-learn's fitted objects share.

A translator reads the fitted attributes of one class, with the formulas of scikit-learn 1.9 and
libsvm. Some of these attributes are private and can change with any release of scikit-learn.
Therefore every translation is compared with scikit-learn's own results before it is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddsound_workbench.errors import WorkbenchError

type Rows = NDArray[np.float64]
type Nested = dict[str, Any]
type Translator = Callable[[Any], Translation]


class NotCompilableError(WorkbenchError):
    """No translator knows this estimator, or this estimator with these parameters."""


@dataclass(frozen=True)
class Translation:
    """The numbers of a fitted object, as oddsound.compiled reads them.

    typical : rows with about the mean and deviation of what the object was fitted to
    """

    numbers: Nested
    typical: Rows


def translated(fitted: Any, translators: Mapping[str, Translator]) -> Translation:
    """The translation of a fitted object of scikit-learn.

    Only scikit-learn's classes are translated, because a subclass may compute something else.
    Raises NotCompilableError if no translator supports it.
    """
    kind = type(fitted)
    of_sklearn = kind.__module__.partition(".")[0] == "sklearn"
    if of_sklearn and kind.__name__ == "FrozenEstimator":
        return translated(fitted.estimator, translators)
    if not of_sklearn or kind.__name__ not in translators:
        raise NotCompilableError(
            f"{kind.__module__}.{kind.__name__} cannot be compiled; here, scikit-learn's"
            f" {', '.join(sorted(translators))} can"
        )
    return translators[kind.__name__](fitted)


def parameter(fitted: Any, text: str) -> NotCompilableError:
    """The error for a known class with an unknown parameter."""
    return NotCompilableError(f"{type(fitted).__name__} with {text} cannot be compiled")


def around(centre: Rows, deviation: Rows) -> Rows:
    """Two rows whose mean and deviation are these."""
    return np.stack([centre - deviation, centre + deviation])


def unit(features: int) -> Rows:
    """Typical rows of standardised features."""
    return around(np.zeros(features), np.ones(features))


def tree_nodes(trees: list[Any], columns: list[Rows], values: list[Rows], features: int) -> Nested:
    """The nodes of several trees, one after the other, see oddsound.compiled.trees.

    trees : `tree_` of each fitted tree; columns : features that it was fitted to
    values : of its nodes [shape=(nodes, outputs)]
    """
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    parts: dict[str, list[Any]] = {name: [] for name in ("features", "thresholds", "left", "right")}
    for tree, column, start in zip(trees, columns, starts.tolist(), strict=False):
        own = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        parts["features"].append(np.where(leaf, 0, column[np.where(leaf, 0, tree.feature)]))
        parts["thresholds"].append(np.where(leaf, 0.0, tree.threshold))
        parts["left"].append(start + np.where(leaf, own, tree.children_left))
        parts["right"].append(start + np.where(leaf, own, tree.children_right))
    joined = {name: np.concatenate(each) for name, each in parts.items()}
    return {
        "features_in": features,
        **joined,
        "roots": starts[:-1],
        "values": np.concatenate(values),
    }


def typical_of_trees(nodes: Nested) -> Rows:
    """Rows around the thresholds of each feature; 0 for a feature that no node compares."""
    inner = nodes["left"] != np.arange(len(nodes["left"]))
    centre, deviation = np.zeros(nodes["features_in"]), np.ones(nodes["features_in"])
    features, thresholds = nodes["features"][inner], nodes["thresholds"][inner]
    for feature in np.unique(features):
        found = thresholds[features == feature]
        centre[feature], deviation[feature] = found.mean(), found.std() or 1.0
    return around(centre, deviation)
