"""The estimators of a compiled model: scaled features -> decision values or probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oddsound.compiled.steps import Rows, check_widths
from oddsound.compiled.trees import Trees
from oddsound.numbers import Numbers


class Response(Protocol):
    """Rows [shape=(rows, inputs)] -> a value for each class [shape=(rows, outputs)].

    outputs : number of classes, or 1 for the decision between two classes
    """

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    def __call__(self, rows: Rows) -> Rows: ...


@dataclass(frozen=True)
class Linear:
    """rows @ coefficients + intercept."""

    coefficients: Rows
    intercept: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Linear":
        coefficients = numbers.array("coefficients", "features", "outputs")
        return cls(coefficients, numbers.array("intercept", "outputs"))

    @property
    def inputs(self) -> int:
        return len(self.coefficients)

    @property
    def outputs(self) -> int:
        return len(self.intercept)

    def __call__(self, rows: Rows) -> Rows:
        return np.asarray(rows @ self.coefficients + self.intercept)


@dataclass(frozen=True)
class Kernel:
    """exp(-gamma |row - vector|^2), for each vector [shape=(vectors, features)].

    The squared distance is expanded to |row|^2 - 2 row @ vector + |vector|^2, so that the largest
    part is one matrix product.
    """

    vectors: Rows
    gamma: float
    half_squares: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Kernel":
        vectors = numbers.array("vectors", "vectors", "features")
        gamma = numbers.number("gamma", positive=True)
        return cls(vectors, gamma, (vectors**2).sum(axis=1) / 2)

    def __call__(self, rows: Rows) -> Rows:
        half_square = (rows**2).sum(axis=1)[:, None] / 2
        product = rows @ self.vectors.T
        return np.asarray(np.exp(2 * self.gamma * (product - self.half_squares - half_square)))


@dataclass(frozen=True)
class KernelMachine:
    """An SVC. One decision value for each class; a single one if there are two classes.

    libsvm decides between each pair of classes. A support vector of one class has a coefficient
    for each other class, in the order of the classes (Chang and Lin, "LIBSVM", 2011). The value of
    a class is its number of votes. The sum of its pairwise decisions, scaled to less than 1/3 of a
    vote, is added to rank classes with the same number of votes, as scikit-learn does for
    decision_function_shape="ovr".

    dual : [shape=(classes - 1, vectors)]; counts : vectors of each class [shape=(classes,)]
    intercept : of each pair of classes [shape=(pairs,)]
    """

    kernel: Kernel
    dual: Rows
    counts: NDArray[np.intp]
    intercept: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "KernelMachine":
        kernel = Kernel.of(numbers)
        vectors = len(kernel.vectors)
        counts = numbers.indices("counts", "classes", stop=vectors + 1)
        classes = len(counts)
        if classes < 2 or counts.sum() != vectors:
            raise numbers.fault("counts", f"is {counts.tolist()}; there are {vectors} vectors")
        dual = numbers.array("dual", classes - 1, vectors)
        return cls(kernel, dual, counts, numbers.array("intercept", classes * (classes - 1) // 2))

    @property
    def inputs(self) -> int:
        return int(self.kernel.vectors.shape[1])

    @property
    def outputs(self) -> int:
        return 1 if len(self.counts) == 2 else len(self.counts)

    def __call__(self, rows: Rows) -> Rows:
        kernels, classes = self.kernel(rows), len(self.counts)
        if classes == 2:
            return np.asarray(kernels @ self.dual.T + self.intercept)
        stops = np.cumsum(self.counts).tolist()
        parts = [slice(*ends) for ends in zip([0, *stops], stops, strict=False)]
        sums = np.stack([kernels[:, part] @ self.dual[:, part].T for part in parts], axis=1)
        first, second = np.triu_indices(classes, 1)
        signs = np.eye(classes)[first] - np.eye(classes)[second]
        # A class has no coefficients for itself, so later classes are at their index minus 1.
        pairs = sums[:, first, second - 1] + sums[:, second, first] + self.intercept
        votes = (np.where(pairs < 0, -1.0, 1.0) @ signs + classes - 1) / 2
        confidence = pairs @ signs
        return np.asarray(votes + confidence / (3 * (np.abs(confidence) + 1)))


@dataclass(frozen=True)
class Gaussian:
    """Naive Bayes with a normal distribution of each feature in each class.

    means, variances : [shape=(classes, features)]; log_priors : [shape=(classes,)]
    """

    means: Rows
    variances: Rows
    log_priors: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Gaussian":
        means = numbers.array("means", "classes", "features")
        variances = numbers.array("variances", "classes", "features", positive=True)
        return cls(means, variances, numbers.array("log_priors", "classes"))

    @property
    def inputs(self) -> int:
        return int(self.means.shape[1])

    @property
    def outputs(self) -> int:
        return len(self.log_priors)

    def __call__(self, rows: Rows) -> Rows:
        """Logarithms of the joint densities."""
        constant = self.log_priors - 0.5 * np.log(2 * np.pi * self.variances).sum(axis=1)
        squares = (rows[:, None, :] - self.means) ** 2 / self.variances
        return np.asarray(constant - 0.5 * squares.sum(axis=2))


@dataclass(frozen=True)
class Forest:
    """The mean of the class shares in the leaves of all trees."""

    trees: Trees

    @classmethod
    def of(cls, numbers: Numbers) -> "Forest":
        return cls(Trees.of(numbers))

    @property
    def inputs(self) -> int:
        return self.trees.inputs

    @property
    def outputs(self) -> int:
        return int(self.trees.values.shape[1])

    def __call__(self, rows: Rows) -> Rows:
        return self.trees(rows)


@dataclass(frozen=True)
class Layers:
    """A multilayer perceptron; its last layer has no activation here."""

    layers: tuple[Linear, ...]
    activation: Callable[[Rows], Rows]

    @classmethod
    def of(cls, numbers: Numbers) -> "Layers":
        layers = tuple(Linear.of(each) for each in numbers.parts("layers"))
        if not layers:
            raise numbers.fault("layers", "is missing")
        for number, (first, second) in enumerate(pairwise(layers)):
            check_widths(numbers, f"layers/{number + 1}", first.outputs, second.inputs)
        name = numbers.text("activation")
        if name not in ACTIVATIONS:
            raise numbers.fault("activation", f"is {name!r}; known are {', '.join(ACTIVATIONS)}")
        return cls(layers, ACTIVATIONS[name])

    @property
    def inputs(self) -> int:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].outputs

    def __call__(self, rows: Rows) -> Rows:
        for layer in self.layers[:-1]:
            rows = self.activation(layer(rows))
        return self.layers[-1](rows)


def logistic(decision: Rows) -> Rows:
    """1 / (1 + exp(-decision)), without overflow."""
    small = np.exp(-np.abs(decision))
    return np.asarray(np.where(decision >= 0, 1, small) / (1 + small))


ACTIVATIONS: dict[str, Callable[[Rows], Rows]] = {
    "identity": lambda rows: rows,
    "logistic": logistic,
    "relu": lambda rows: np.maximum(rows, 0),
    "tanh": np.tanh,
}
"""Of the hidden layers, by the name that scikit-learn gives them."""
