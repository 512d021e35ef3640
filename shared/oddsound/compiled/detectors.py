"""Detectors of a compiled model that scikit-learn has too: scaled features -> raw scores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from oddsound.compiled.responses import Kernel
from oddsound.compiled.steps import Rows, Step, check_widths, chosen, step_of
from oddsound.compiled.trees import Trees
from oddsound.numbers import Numbers


@dataclass(frozen=True)
class KernelSum:
    """The sum of kernels of a one-class SVM, also if it is very small.

    scikit-learn computes it with the intercept added and subtracts the intercept again, which
    rounds sums below about 1e-16 to 0.
    """

    kernel: Kernel
    dual: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "KernelSum":
        kernel = Kernel.of(numbers)
        return cls(kernel, numbers.array("dual", len(kernel.vectors)))

    @property
    def n_features_in_(self) -> int:
        return int(self.kernel.vectors.shape[1])

    def score_samples(self, rows: Rows) -> Rows:
        return np.asarray(self.kernel(rows) @ self.dual)


@dataclass(frozen=True)
class Covariance:
    """Squared Mahalanobis distances.

    location : [shape=(features,)]; precision : [shape=(features, features)]
    """

    location: Rows
    precision: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Covariance":
        location = numbers.array("location", "features")
        return cls(location, numbers.array("precision", "features", "features"))

    @property
    def n_features_in_(self) -> int:
        return len(self.location)

    def mahalanobis(self, rows: Rows) -> Rows:
        centred = rows - self.location
        return np.asarray(((centred @ self.precision) * centred).sum(axis=1))

    def score_samples(self, rows: Rows) -> Rows:
        """As an EllipticEnvelope has it, for a pipeline."""
        return -self.mahalanobis(rows)


@dataclass(frozen=True)
class Isolation:
    """An isolation forest (Liu et al., 2008): trees whose leaves hold path lengths.

    usual : the path length that gives the score -0.5
    """

    trees: Trees
    usual: float

    @classmethod
    def of(cls, numbers: Numbers) -> "Isolation":
        trees = Trees.of(numbers)
        if trees.values.shape[1] != 1:
            raise numbers.fault("values", f"has {trees.values.shape[1]} columns; 1 is expected")
        return cls(trees, numbers.number("usual", positive=True))

    @property
    def n_features_in_(self) -> int:
        return self.trees.inputs

    def score_samples(self, rows: Rows) -> Rows:
        return np.asarray(-np.exp2(-self.trees(rows)[:, 0] / self.usual))


@dataclass(frozen=True)
class ScaledScore:
    """A step before a detector: the pipeline of an estimator."""

    step: Step
    detector: Any

    @classmethod
    def of(cls, numbers: Numbers) -> "ScaledScore":
        step, detector = step_of(numbers.part("step")), detector_of(numbers.part("of"))
        check_widths(numbers, "of", step.outputs, detector.n_features_in_)
        return cls(step, detector)

    @property
    def n_features_in_(self) -> int:
        return self.step.inputs

    def score_samples(self, rows: Rows) -> Rows:
        return np.asarray(self.detector.score_samples(self.step(rows)))


def detector_of(numbers: Numbers) -> Any:
    """The detector that its `kind` names; it has `mahalanobis` or `score_samples`."""
    return chosen(numbers, DETECTORS)(numbers)


DETECTORS: dict[str, Callable[[Numbers], Any]] = {
    "kernel sum": KernelSum.of,
    "covariance": Covariance.of,
    "isolation": Isolation.of,
    "scaled": ScaledScore.of,
}
"""Values of `kind` -> the detector."""
