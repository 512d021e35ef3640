"""What is usual for a machine in short times: part of the artifact of a detector."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from oddsound.descriptors import Array
from oddsound.errors import ModelArtifactError
from oddsound.events.frames import BANDS, IMPACT, KINDS, TIMBRE, FrameAnalyser, Measures

ARTIFACT_KEY = "events"
"""Key of the reference in the artifact of a detector."""


MIN_KNOCK_DB = 2.0
"""Root mean square rise of the bands below which a time is no knock."""


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

    sample_rate : of the waveforms, in Hz
    chunk_s : length of the chunks that typical levels are taken from, in training as in use
    timbre_mean, timbre_deviation : relative level of each band in dB [shape=(BANDS,)]
    knocks : measures of the machine's knocks, and of no knock, 0 [shape=(knocks, BANDS + 1)]
    usual : by kind; a kind that the training recordings are too short for is missing
    """

    sample_rate: int
    chunk_s: float
    timbre_mean: Array
    timbre_deviation: Array
    knocks: Array
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
            fits &= reference.sample_rate == analyser.sample_rate
            fits &= reference.knocks.ndim == 2 and reference.knocks.shape[1] == BANDS + 1
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
        """The measures of FrameAnalyser as `usual` has them.

        Levels of the timbre are replaced by their distance from the usual ones. Knocks have one
        more column: the distance from the most similar knock of the machine.
        """
        found = dict(measures)
        if TIMBRE in found:
            found[TIMBRE] = self.timbre_distance(found[TIMBRE])
        if IMPACT in found:
            found[IMPACT] = np.column_stack([found[IMPACT], self.knock_distance(found[IMPACT])])
        return found

    def knock_distance(self, rises: Array) -> Array:
        """Root mean square difference in dB from the nearest of `knocks` [shape=(times,)]."""
        rises = np.maximum(rises, 0)
        square = np.square(rises).sum(axis=1)
        nearest = square.copy()
        # No knock, which is one of them, is the nearest for all other times.
        loud = np.flatnonzero(square > len(rises[0]) * MIN_KNOCK_DB**2)
        if len(loud):
            similar = rises[loud] @ self.knocks.T
            norms = np.square(self.knocks).sum(axis=1)
            nearest[loud] += (norms - 2 * similar).min(axis=1)
        return np.asarray(np.sqrt(np.maximum(nearest, 0) / rises.shape[1]))

    def timbre_distance(self, levels: Array) -> Array:
        """Root mean square of the deviations of the bands [shape=(times, 1)]."""
        deviations = (levels - self.timbre_mean) / self.timbre_deviation
        return np.sqrt(np.square(deviations).mean(axis=1, keepdims=True))


def in_order(kinds: Mapping[str, Any]) -> list[str]:
    """The kinds in a fixed order."""
    return [kind for kind in KINDS if kind in kinds]
