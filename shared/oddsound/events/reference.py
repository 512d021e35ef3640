"""What is usual for a machine in short times: part of the artifact of a detector."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from oddsound.descriptors import Array
from oddsound.errors import ModelArtifactError
from oddsound.events.frames import BANDS, KINDS, TIMBRE, FrameAnalyser, Measures

ARTIFACT_KEY = "events"
"""Key of the reference in the artifact of a detector."""


@dataclass(frozen=True)
class Usual:
    """The largest values of one kind of measure in normal recordings.

    Above `quantile`, a value of normal recordings is about exponentially distributed with the mean
    `excess`. Therefore (value - quantile) / excess has the same meaning for every kind and column:
    one more divides the probability by e.

    quantile, excess : in the unit of the measure [shape=(columns,)]
    limit : of one chunk; normal recordings rarely have more
    growth : of the limit when the recording is e times as long as a chunk
    """

    quantile: Array
    excess: Array
    limit: float
    growth: float

    def units(self, measure: Array) -> Array:
        """Values in means of the excess above the quantile [shape of measure]."""
        return (measure - self.quantile) / self.excess

    def limit_of(self, chunks: float) -> float:
        """The limit of a recording that is as long as so many chunks.

        The maximum of e times as many values is larger by `growth` (extreme value theory: a
        Gumbel distribution). A recording that is shorter than a chunk has the limit of a chunk.
        """
        return self.limit + self.growth * float(np.log(max(chunks, 1.0)))


@dataclass(frozen=True)
class EventReference:
    """Usual measures of each kind.

    chunk_s : length of the chunks that typical levels are taken from, in training as in use
    timbre_mean, timbre_deviation : relative level of each band in dB [shape=(BANDS,)]
    usual : by kind; a kind that the training recordings are too short for is missing
    """

    chunk_s: float
    timbre_mean: Array
    timbre_deviation: Array
    usual: Mapping[str, Usual]

    @classmethod
    def of_artifact(cls, artifact: Any, analyser: FrameAnalyser, path: str) -> "EventReference":
        """The inverse of `to_artifact`.

        path : of the file, for error texts
        Raises ModelArtifactError if the artifact is something else, or its shapes do not fit.
        """
        try:
            usual = {kind: Usual(**each) for kind, each in artifact["usual"].items()}
            reference = cls(**{**artifact, "usual": usual})
            fits = reference.timbre_mean.shape == reference.timbre_deviation.shape == (BANDS,)
            for kind, each in usual.items():
                columns = (analyser.columns[kind],)
                fits &= each.quantile.shape == each.excess.shape == columns
        except (AttributeError, KeyError, TypeError) as error:
            raise ModelArtifactError(
                f"{path} contains a reference of events that this version cannot read: {error!r}"
            ) from None
        if not fits:
            raise ModelArtifactError(
                f"{path} contains a reference of events for another sample rate or another number"
                " of bands"
            )
        return reference

    def to_artifact(self) -> dict[str, Any]:
        """Nested dictionaries of numbers and arrays."""
        return asdict(self)

    def distances(self, measures: Measures) -> Measures:
        """The measures, with the levels of the timbre replaced by their distance."""
        if TIMBRE not in measures:
            return measures
        return {**measures, TIMBRE: self.timbre_distance(measures[TIMBRE])}

    def timbre_distance(self, levels: Array) -> Array:
        """Root mean square of the deviations of the bands [shape=(times, 1)]."""
        deviations = (levels - self.timbre_mean) / self.timbre_deviation
        return np.sqrt(np.square(deviations).mean(axis=1, keepdims=True))


def in_order(kinds: Mapping[str, Any]) -> list[str]:
    """The kinds in a fixed order."""
    return [kind for kind in KINDS if kind in kinds]
