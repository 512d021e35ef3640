"""Compares the features of a recording with those of the training recordings."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.explain import wording
from oddsound.model import Model
from oddsound.parts import TrainingStatistics
from oddsound.predictors import Floats

type Indices = NDArray[np.intp]

MIN_LEVELS = 5
"""With fewer bands, a change in one cannot be distinguished from a change of the whole loudness."""


@dataclass(frozen=True)
class Region:
    """Neighbouring bands whose levels deviate in the same direction.

    level_db : change of level in the band that deviates most
    deviation : the same in standard deviations
    bands : positions of the bands in `Comparison.levels`
    """

    low_hz: float
    high_hz: float
    level_db: float
    deviation: float
    bands: slice


@dataclass(frozen=True)
class Comparison:
    """The features of one recording or window, compared with the training recordings.

    value : float32 [shape=(features,)], of `Model.features`
    deviation : difference from the training mean, in standard deviations [shape=(features,)]
    levels : indices of the features that are the level of a band
    level_db : change of each of these levels, minus the median change of all. The levels are
        relative to the peak of the recording, so one loud tone lowers all other bands; the median
        removes this effect
    """

    model: Model
    value: Array
    training: TrainingStatistics
    deviation: Floats
    levels: Indices
    level_db: Floats

    @classmethod
    def of(cls, model: Model, value: Array) -> "Comparison | None":
        """Compare a row of `Model.features`. None if the model has no training statistics."""
        training = model.statistics
        if training is None:
            return None
        change = value - training.mean
        levels = np.flatnonzero(np.isin(model.kept, model.extractor.levels))
        if len(levels) < MIN_LEVELS:
            levels = levels[:0]
        level_db = change[levels] - (np.median(change[levels]) if len(levels) else 0.0)
        return cls(model, value, training, change / training.deviation, levels, level_db)

    def name(self, index: int) -> str:
        """Name of the feature at an index of `value`."""
        return self.model.extractor.names[int(self.model.kept[index])]

    def family(self, index: int) -> str:
        """Name of its family."""
        name, families = self.name(index), self.model.extractor.families
        return next(family for family, names in families.items() if name in names)

    def describe(self, index: int, reference: str) -> str:
        """The meaning of the deviation of one feature, in words.

        reference : name of the training recordings: "normal" or "average"
        """
        low, high = self.model.extractor.bands[self.model.kept[index]].tolist()
        band = None if math.isnan(low) else (low, high)
        return wording.comparison(
            self.name(index), bool(self.deviation[index] > 0), reference, band
        )

    def regions(self, max_count: int, min_deviation: float) -> list[Region]:
        """Regions whose level deviates, the largest deviation first.

        A region is a band with its neighbours that deviate at least half as much.

        min_deviation : of the band that deviates most, in standard deviations
        """
        deviation = self.level_db / self.training.deviation[self.levels]
        hz = self.model.extractor.bands[self.model.kept[self.levels]]
        size, remaining = np.abs(deviation), np.abs(deviation)
        found: list[Region] = []
        while len(found) < max_count and remaining.max(initial=0.0) >= min_deviation:
            peak = int(remaining.argmax())
            alike = np.sign(deviation) == np.sign(deviation[peak])
            first, stop = _run(alike & (remaining >= remaining[peak] / 2), peak)
            edges = float(hz[first, 0]), float(hz[stop - 1, 1])
            strongest = float(self.level_db[peak]), float(deviation[peak])
            found.append(Region(*edges, *strongest, slice(first, stop)))
            # The deviations that decrease on both sides of the peak belong to it: they are removed,
            # so that they are not found as regions of their own.
            alike[:first] &= size[:first] <= size[1 : first + 1]
            alike[stop:] &= size[stop:] <= size[stop - 1 : -1]
            remaining[slice(*_run(alike, peak))] = 0
        return found

    def families(self) -> list[Indices]:
        """Indices of the features of each family; families without features are omitted."""
        sizes = [len(names) for names in self.model.extractor.families.values()]
        edges = np.searchsorted(self.model.kept, np.cumsum([0, *sizes]))
        return [np.arange(first, stop) for first, stop in pairwise(edges) if stop > first]

    def without_family(self, features: Indices) -> Array:
        """The recording with the training mean in some features [shape=(features,)]."""
        altered = self.value.copy()
        altered[features] = self.training.mean[features]
        return altered

    def without_region(self, region: Region) -> Array:
        """The recording with average features in a region [shape=(features,)].

        The levels of the region are lowered or raised by their `level_db`, and the features that
        are computed from these levels change with them. Other features that belong to the region
        get the training mean. A feature belongs to a region if the centre of its band is in the
        region, or the centre of the region is in its band.
        """
        extractor, kept = self.model.extractor, self.model.kept
        low, high = extractor.bands[kept].T
        middle, middle_hz = (low + high) / 2, (region.low_hz + region.high_hz) / 2
        of_region = (region.low_hz <= middle) & (middle <= region.high_hz)
        of_region |= (low <= middle_hz) & (middle_hz <= high)
        of_region[self.levels] = False
        altered = self.without_family(np.flatnonzero(of_region))
        positions = np.searchsorted(extractor.levels, kept[self.levels[region.bands]])
        effect = extractor.level_effect[positions].T[kept]
        altered -= effect @ self.level_db[region.bands].astype(np.float32)
        return altered


def _run(inside: NDArray[np.bool_], at: int) -> tuple[int, int]:
    """First index of the run of true values around `at`, and the index after its last."""
    outside = np.flatnonzero(~inside)
    after = int(np.searchsorted(outside, at))
    first = int(outside[after - 1]) + 1 if after else 0
    return first, int(outside[after]) if after < len(outside) else len(inside)
