"""Transformers of a compiled model: rows of features -> rows of scaled features."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oddsound.numbers import Numbers

type Rows = NDArray[np.float64]


class Step(Protocol):
    """Rows [shape=(rows, inputs)] -> rows [shape=(rows, outputs)]."""

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    def __call__(self, rows: Rows) -> Rows: ...


@dataclass(frozen=True)
class Standard:
    """(rows - centre) / scale, each [shape=(features,)]: the same bits as a StandardScaler."""

    centre: Rows
    scale: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Standard":
        centre = numbers.array("centre", "features")
        return cls(centre, numbers.array("scale", "features", positive=True))

    @property
    def inputs(self) -> int:
        return len(self.centre)

    outputs = inputs

    def __call__(self, rows: Rows) -> Rows:
        return np.asarray((rows - self.centre) / self.scale)


@dataclass(frozen=True)
class Affine:
    """(rows - centre) * factor + offset.

    factor : one number for each column, or a matrix that is multiplied from the right
        [shape=(features, outputs)]
    """

    centre: Rows
    factor: Rows
    offset: Rows

    @classmethod
    def of(cls, numbers: Numbers) -> "Affine":
        centre = numbers.array("centre", "features")
        if numbers.has("matrix"):
            factor = numbers.array("matrix", "features", "outputs")
            return cls(centre, factor, numbers.array("offset", "outputs"))
        factor = numbers.array("factor", "features")
        return cls(centre, factor, numbers.array("offset", "features"))

    @property
    def inputs(self) -> int:
        return len(self.centre)

    @property
    def outputs(self) -> int:
        return len(self.offset)

    def __call__(self, rows: Rows) -> Rows:
        centred = rows - self.centre
        scaled = centred @ self.factor if self.factor.ndim == 2 else centred * self.factor
        return np.asarray(scaled + self.offset)


@dataclass(frozen=True)
class Clip:
    """Limits every column to low..high."""

    inputs: int
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Numbers) -> "Clip":
        low, high = numbers.number("low"), numbers.number("high")
        return cls(numbers.integer("features"), low, high)

    @property
    def outputs(self) -> int:
        return self.inputs

    def __call__(self, rows: Rows) -> Rows:
        return rows.clip(self.low, self.high)


@dataclass(frozen=True)
class Chain:
    """Several steps, one after the other."""

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, numbers: Numbers) -> "Chain":
        steps = tuple(step_of(each) for each in numbers.parts("steps"))
        if not steps:
            raise numbers.fault("steps", "is missing")
        for number, (first, second) in enumerate(pairwise(steps)):
            check_widths(numbers, f"steps/{number + 1}", first.outputs, second.inputs)
        return cls(steps)

    @property
    def inputs(self) -> int:
        return self.steps[0].inputs

    @property
    def outputs(self) -> int:
        return self.steps[-1].outputs

    def __call__(self, rows: Rows) -> Rows:
        return reduce(lambda found, step: step(found), self.steps, rows)


@dataclass(frozen=True)
class CompiledScaler:
    """A step with the names that a scaler of scikit-learn has."""

    step: Step

    @property
    def n_features_in_(self) -> int:
        return self.step.inputs

    def transform(self, rows: Rows) -> Rows:
        return self.step(rows)


def step_of(numbers: Numbers) -> Step:
    """The step that its `kind` names."""
    made: Step = chosen(numbers, STEPS)(numbers)
    return made


def chosen(numbers: Numbers, kinds: dict[str, Callable[[Numbers], Any]]) -> Callable[..., Any]:
    """The constructor that `kind` names. Raises ModelArtifactError for an unknown one."""
    kind = numbers.text("kind")
    if kind not in kinds:
        raise numbers.fault("kind", f"is {kind!r}; this version knows {', '.join(sorted(kinds))}")
    return kinds[kind]


def check_widths(numbers: Numbers, name: str, given: int, expected: int) -> None:
    """Check that a part takes as many columns as the part before it gives."""
    if given != expected:
        raise numbers.fault(name, f"takes {expected} columns; the part before it gives {given}")


STEPS: dict[str, Callable[[Numbers], Step]] = {
    "standard": Standard.of,
    "affine": Affine.of,
    "clip": Clip.of,
    "chain": Chain.of,
}
"""Values of `kind` -> the step."""
