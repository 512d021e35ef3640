"""Decision trees of a compiled model, all evaluated at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddsound.compiled.steps import Rows
from oddsound.numbers import Numbers


@dataclass(frozen=True)
class Trees:
    """The nodes of all trees, one after the other; a node is followed by its children.

    inputs : number of features
    features, thresholds : a row goes to the left child if its feature, as float32, is at most the
        threshold [shape=(nodes,)]
    left, right : children [shape=(nodes,)]; a leaf is its own child
    roots : first node of each tree [shape=(trees,)]
    values : of the leaves [shape=(nodes, outputs)]
    """

    inputs: int
    features: NDArray[np.intp]
    thresholds: Rows
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    roots: NDArray[np.intp]
    values: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Trees":
        inputs = numbers.integer("features_in")
        values = numbers.array("values", "nodes", "outputs")
        nodes = len(values)
        left, right = (numbers.indices(name, "nodes", stop=nodes) for name in ("left", "right"))
        own = np.arange(nodes)
        # Without this, a damaged file could lead a row in circles.
        if not (((left == own) & (right == own)) | ((left > own) & (right > own))).all():
            raise numbers.fault("left", "and right have a node that is not before its children")
        return cls(
            inputs,
            numbers.indices("features", "nodes", stop=inputs),
            numbers.array("thresholds", "nodes"),
            left,
            right,
            numbers.indices("roots", "trees", stop=nodes),
            values,
        )

    def __call__(self, rows: Rows) -> Rows:
        """The mean over the trees of the value of the leaf that each row reaches."""
        narrow = rows.astype(np.float32)
        index = np.arange(len(rows))[:, None]
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        while True:
            goes_left = narrow[index, self.features[node]] <= self.thresholds[node]
            below = np.where(goes_left, self.left[node], self.right[node])
            if (below == node).all():
                return np.asarray(self.values[node].mean(axis=1))
            node = below
