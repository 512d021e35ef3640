"""What is usual for a machine in short times: part of the artifact of a detector."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from oddsound.descriptors import Array
from oddsound.events.frames import BANDS, IMPACT, KINDS, TIMBRE, FrameAnalyser, Measures
from oddsound.numbers import Numbers

ARTIFACT_KEY = "events"
"""Key of the reference in the artifact of a detector."""


MIN_LIMIT = 1.0
"""Lowest limit of a chunk: what is usual, below `quantile`, is never an event. Recordings in which
a kind is as good as always there, such as the silence of padded files, would have a lower one."""

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

    @classmethod
    def of(cls, numbers: Numbers, columns: int) -> "Usual":
        return cls(
            numbers.array("quantile", columns),
            numbers.array("excess", columns, positive=True),
            # Models of before 2026-11-28 may have a lower one.
            max(numbers.number("limit"), MIN_LIMIT),
            numbers.number("growth"),
        )

    def units(self, measure: Array) -> Array:
        """Values in means of the excess above the quantile [shape of measure]."""
        found = measure - self.quantile
        found /= self.excess
        return found

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

        artifact : the nested dictionary of a joblib file, or the Numbers of a compiled model
        path : of the file, for error texts
        Raises ModelArtifactError that names the number which is missing or wrong.
        """
        numbers = artifact if isinstance(artifact, Numbers) else Numbers.of(artifact, path)
        sample_rate = numbers.integer("sample_rate")
        if sample_rate != analyser.sample_rate:
            raise numbers.fault(
                "sample_rate",
                f"is {sample_rate} Hz; the model has {analyser.sample_rate} Hz, and a reference of"
                " events is only for its own sample rate",
            )
        usual = {}
        for kind in numbers.names("usual"):
            if kind not in analyser.columns:
                raise numbers.fault(f"usual/{kind}", f"is not one of {', '.join(KINDS)}")
            usual[kind] = Usual.of(numbers.part(f"usual/{kind}"), analyser.columns[kind])
        knocks = numbers.array("knocks", "knocks", BANDS + 1)
        if not len(knocks):
            raise numbers.fault("knocks", "is empty; at least no knock, a row of 0, is expected")
        return cls(
            sample_rate,
            numbers.number("chunk_s", positive=True),
            numbers.array("timbre_mean", BANDS),
            numbers.array("timbre_deviation", BANDS, positive=True),
            knocks,
            usual,
        )

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
            distance = self.knock_distance(found[IMPACT])
            found[IMPACT] = np.concatenate([found[IMPACT], distance[:, None]], axis=1)
        return found

    def knock_distance(self, rises: Array) -> Array:
        """Root mean square difference in dB from the nearest of `knocks` [shape=(times,)]."""
        rises = np.maximum(rises, 0)
        square = np.einsum("ij,ij->i", rises, rises)
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
