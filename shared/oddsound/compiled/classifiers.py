"""Classifiers of a compiled model: responses, and what turns them into probabilities.

A response is built of others: a kernel machine inside a temperature inside a mean, for example.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oddsound.compiled.responses import (
    Forest,
    Gaussian,
    KernelMachine,
    Layers,
    Linear,
    Response,
    logistic,
)
from oddsound.compiled.steps import Rows, Step, check_widths, chosen, step_of
from oddsound.numbers import Numbers

MIN_PROBABILITY = 1e-12
"""scikit-learn adds this to probabilities before it takes their logarithm."""


@dataclass(frozen=True)
class Scaled:
    """A step before a response: the pipeline of an estimator."""

    step: Step
    response: Response

    @classmethod
    def of(cls, numbers: Numbers) -> "Scaled":
        step, response = step_of(numbers.part("step")), response_of(numbers.part("of"))
        check_widths(numbers, "of", step.outputs, response.inputs)
        return cls(step, response)

    @property
    def inputs(self) -> int:
        return self.step.inputs

    @property
    def outputs(self) -> int:
        return self.response.outputs

    def __call__(self, rows: Rows) -> Rows:
        return self.response(self.step(rows))


@dataclass(frozen=True)
class Linked:
    """A function of another response, which turns decision values into probabilities."""

    response: Response
    link: Callable[[Rows], Rows]

    @property
    def inputs(self) -> int:
        return self.response.inputs

    @property
    def outputs(self) -> int:
        return max(self.response.outputs, 2)

    def __call__(self, rows: Rows) -> Rows:
        return self.link(self.response(rows))


@dataclass(frozen=True)
class Mean:
    """The weighted mean of the probabilities of several responses.

    shares : weights, of which the sum is 1
    """

    responses: tuple[Response, ...]
    shares: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Mean":
        responses = tuple(response_of(each) for each in numbers.parts("of"))
        shares = numbers.array("shares", len(responses))
        if not responses or abs(shares.sum() - 1) > 1e-9:
            raise numbers.fault("shares", f"has the sum {shares.sum():g}; 1 is expected")
        for number, each in enumerate(responses):
            if (each.inputs, each.outputs) != (responses[0].inputs, responses[0].outputs):
                raise numbers.fault(f"of/{number}", "has another number of features or classes")
        return cls(responses, shares)

    @property
    def inputs(self) -> int:
        return self.responses[0].inputs

    @property
    def outputs(self) -> int:
        return self.responses[0].outputs

    def __call__(self, rows: Rows) -> Rows:
        return np.tensordot(self.shares, [each(rows) for each in self.responses], axes=1)


def softmax(logits: Rows) -> Rows:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def both(probability: Rows) -> Rows:
    """Of one class [shape=(rows, 1)] -> of both classes."""
    return np.column_stack([1 - probability, probability])


def normalised(values: Rows) -> Rows:
    """Values of each class, divided by their sum; equal where it is 0."""
    total = values.sum(axis=1, keepdims=True)
    equal = np.full_like(values, 1 / values.shape[1])
    return np.asarray(np.divide(values, total, out=equal, where=total != 0))


def as_logits(values: Rows) -> Rows:
    """Logits of what a classifier returns, as scikit-learn's calibration by temperature takes it.

    A single decision value x becomes (-x, x). Rows that look like probabilities (from 0 to 1, with
    sum 1) become their logarithms. Other rows are logits already.
    """
    if values.shape[1] == 1:
        return np.column_stack([-values, values])
    likely = values.min() >= 0 and values.max() <= 1
    if likely and np.abs(values.sum(axis=1) - 1).max() <= 1e-5 + 1e-8:
        return np.log(values + MIN_PROBABILITY)
    return values


def _softmax(numbers: Numbers) -> Response:
    return Linked(response_of(numbers.part("of")), softmax)


def _logistic(numbers: Numbers) -> Response:
    """Of a single decision, or of one against all others for each class."""
    response = response_of(numbers.part("of"))
    if response.outputs == 1:
        return Linked(response, lambda decision: both(logistic(decision)))
    return Linked(response, lambda decisions: normalised(logistic(decisions)))


def _temperature(numbers: Numbers) -> Response:
    """Softmax of the logits times one inverse temperature (Guo et al., ICML 2017)."""
    beta = numbers.number("beta", positive=True)
    return Linked(response_of(numbers.part("of")), lambda values: softmax(beta * as_logits(values)))


def _calibrated(numbers: Numbers) -> Response:
    """A curve from the value of each class to a probability, then divided by their sum.

    Each is a logistic curve (Platt) or piecewise linear (isotonic regression).
    """
    response = response_of(numbers.part("of"))
    curves = [chosen(each, CURVES)(each) for each in numbers.parts("curves")]
    two = response.outputs == 1 or (response.outputs == 2 and len(curves) == 1)
    if not two and len(curves) != response.outputs:
        raise numbers.fault("curves", f"has {len(curves)} members for {response.outputs} classes")

    def link(values: Rows) -> Rows:
        if two:
            return both(curves[0](values[:, -1:]))
        columns = [curve(column) for curve, column in zip(curves, values.T, strict=True)]
        return normalised(np.column_stack(columns))

    return Linked(response, link)


def _platt(numbers: Numbers) -> Callable[[Rows], Rows]:
    slope, offset = numbers.number("slope"), numbers.number("offset")
    return lambda values: logistic(-(slope * values + offset))


def _isotonic(numbers: Numbers) -> Callable[[Rows], Rows]:
    x, y = numbers.array("x", "points"), numbers.array("y", "points")
    if not len(x) or (np.diff(x) < 0).any():
        raise numbers.fault("x", "is not ascending")
    return lambda values: np.interp(values, x, y)


def response_of(numbers: Numbers) -> Response:
    """The response that its `kind` names."""
    made: Response = chosen(numbers, RESPONSES)(numbers)
    return made


CURVES: dict[str, Callable[[Numbers], Callable[[Rows], Rows]]] = {
    "platt": _platt,
    "isotonic": _isotonic,
}
RESPONSES: dict[str, Callable[[Numbers], Response]] = {
    "linear": Linear.of,
    "kernel machine": KernelMachine.of,
    "gaussian": Gaussian.of,
    "forest": Forest.of,
    "layers": Layers.of,
    "scaled": Scaled.of,
    "mean": Mean.of,
    "softmax": _softmax,
    "logistic": _logistic,
    "temperature": _temperature,
    "calibrated": _calibrated,
}
"""Values of `kind` -> the response."""


@dataclass(frozen=True)
class CompiledClassifier:
    """Probabilities with the names that a classifier of scikit-learn has."""

    classes_: tuple[str, ...]
    response: Response

    @classmethod
    def of(cls, numbers: Numbers, labels: tuple[str, ...]) -> "CompiledClassifier":
        """labels : names of the classes, in the order of the probabilities"""
        response = response_of(numbers)
        if response.outputs != len(labels):
            raise numbers.fault(
                "kind", f"gives {response.outputs} probabilities for {len(labels)} labels"
            )
        return cls(labels, response)

    @property
    def n_features_in_(self) -> int:
        return self.response.inputs

    def predict_proba(self, rows: Rows) -> Rows:
        """Probabilities [shape=(rows, classes)]."""
        return self.response(rows)
