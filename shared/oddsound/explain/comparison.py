"""A recording's features beside what is usual: deviations, and the bands that deviate."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.explain import wording
from oddsound.model import Model
from oddsound.predictors import Floats

type Indices = NDArray[np.intp]

FEWEST_LEVELS = 5
"""Bands that there must be, to tell a change in one from a change in the loudness of all."""


@dataclass(frozen=True)
class Usual:
    """Mean and standard deviation of each feature of the recordings that a model knows."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, model: Model) -> "Usual | None":
        """What the scaler, or else the estimator, remembers of the training; None if nothing.

        A StandardScaler does, a covariance that was fitted without a scaler does, and so does
        a MinMaxScaler whose numbers were replaced by those of z-scores, as in our detectors.
        Only the first step of a pipeline has seen the features as they are.
        """
        first = model.predictor.estimator if model.scaler is None else model.scaler
        while hasattr(first, "steps"):
            first = first.steps[0][1]
        if getattr(first, "mean_", None) is not None and getattr(first, "var_", None) is not None:
            mean, deviation = first.mean_, np.sqrt(first.var_)
        elif hasattr(first, "location_") and hasattr(first, "covariance_"):
            mean, deviation = first.location_, np.sqrt(np.diag(first.covariance_))
        elif hasattr(first, "data_range_") and _is_z_score(first):
            mean, deviation = -first.min_ / first.scale_, 1 / first.scale_
        else:
            return None
        # A feature that never varied has no deviation to measure by; a scaler takes 1 as well.
        return cls(np.asarray(mean), np.where(deviation > 0, deviation, 1.0))


def _is_z_score(scaler: Any) -> bool:
    """Whether a MinMaxScaler's numbers are not those of the range that it was fitted to."""
    low, high = scaler.feature_range
    varied = scaler.data_range_ > 0
    return not np.allclose((scaler.scale_ * scaler.data_range_)[varied], high - low)


@dataclass(frozen=True)
class Region:
    """Neighbouring bands whose level deviates alike.

    level_db : where it deviates most, over what is usual
    deviation : there, in standard deviations
    bands : their places among the comparison's levels
    """

    low_hz: float
    high_hz: float
    level_db: float
    deviation: float
    bands: slice


@dataclass(frozen=True)
class Comparison:
    """The features of one recording or window beside what is usual.

    value : float32 [shape=(features,)], of `Model.features`
    deviation : of each, in standard deviations
    levels : indices of the features that are the level of a band
    level_db : of each of these, over what is usual and over the median of all: levels are
        told below the peak of the recording, and one loud tone makes all other bands softer
    """

    model: Model
    value: Array
    usual: Usual
    deviation: Floats
    levels: Indices
    level_db: Floats

    @classmethod
    def of(cls, model: Model, value: Array) -> "Comparison | None":
        """None where the model does not know what is usual."""
        usual = Usual.of(model)
        if usual is None:
            return None
        change = value - usual.mean
        levels = np.flatnonzero(np.isin(model.kept, model.extractor.levels))
        if len(levels) < FEWEST_LEVELS:
            levels = levels[:0]
        level_db = change[levels] - (np.median(change[levels]) if len(levels) else 0.0)
        return cls(model, value, usual, change / usual.deviation, levels, level_db)

    def name(self, index: int) -> str:
        return self.model.extractor.names[int(self.model.kept[index])]

    def family(self, index: int) -> str:
        name, families = self.name(index), self.model.extractor.families
        return next(family for family, names in families.items() if name in names)

    def says(self, index: int, usual: str) -> str:
        """What the deviation of one feature means.

        usual : what it is compared with: "normal", "average"
        """
        low, high = self.model.extractor.bands[self.model.kept[index]].tolist()
        band = None if math.isnan(low) else (low, high)
        return wording.comparison(self.name(index), bool(self.deviation[index] > 0), usual, band)

    def regions(self, most: int, notable: float) -> list[Region]:
        """Where the level deviates, the largest deviation first.

        notable : standard deviations that the strongest band of each must reach
        """
        deviation = self.level_db / self.usual.deviation[self.levels]
        hz = self.model.extractor.bands[self.model.kept[self.levels]]
        size, left = np.abs(deviation), np.abs(deviation)
        found: list[Region] = []
        while len(found) < most and left.max(initial=0.0) >= notable:
            peak = int(left.argmax())
            alike = np.sign(deviation) == np.sign(deviation[peak])
            first, stop = _run(alike & (left >= left[peak] / 2), peak)
            edges = float(hz[first, 0]), float(hz[stop - 1, 1])
            strongest = float(self.level_db[peak]), float(deviation[peak])
            found.append(Region(*edges, *strongest, slice(first, stop)))
            # What falls off on either side is the skirt of this peak and no other one.
            alike[:first] &= size[:first] <= size[1 : first + 1]
            alike[stop:] &= size[stop:] <= size[stop - 1 : -1]
            left[slice(*_run(alike, peak))] = 0
        return found

    def families(self) -> list[Indices]:
        """The features of each family that has any."""
        sizes = [len(names) for names in self.model.extractor.families.values()]
        edges = np.searchsorted(self.model.kept, np.cumsum([0, *sizes]))
        return [np.arange(first, stop) for first, stop in pairwise(edges) if stop > first]

    def without_family(self, features: Indices) -> Array:
        """The recording with a family of features as usual."""
        altered = self.value.copy()
        altered[features] = self.usual.mean[features]
        return altered

    def without_region(self, region: Region) -> Array:
        """The recording with a region as loud as usual beside the rest, and otherwise as usual.

        A feature belongs to a region where the middle of one lies in the other.
        """
        extractor, kept = self.model.extractor, self.model.kept
        low, high = extractor.bands[kept].T
        middle, middle_hz = (low + high) / 2, (region.low_hz + region.high_hz) / 2
        of_region = (region.low_hz <= middle) & (middle <= region.high_hz)
        of_region |= (low <= middle_hz) & (middle_hz <= high)
        of_region[self.levels] = False
        altered = self.without_family(np.flatnonzero(of_region))
        heard = np.searchsorted(extractor.levels, kept[self.levels[region.bands]])
        effect = extractor.level_effect[heard].T[kept]
        altered -= effect @ self.level_db[region.bands].astype(np.float32)
        return altered


def _run(inside: NDArray[np.bool_], at: int) -> tuple[int, int]:
    """First index of the run of true values around `at`, and the one after its last."""
    outside = np.flatnonzero(~inside)
    after = int(np.searchsorted(outside, at))
    first = int(outside[after - 1]) + 1 if after else 0
    return first, int(outside[after]) if after < len(outside) else len(inside)
