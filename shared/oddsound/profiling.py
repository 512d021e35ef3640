"""Measures the profile of a recording: its mean differences from training, by group of features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.machine_features import BANDS as MEL_BANDS
from oddsound.machine_features import CEPSTRA, ENVELOPES, GROUPS, LOUDNESS, MODULATION_EDGES_HZ
from oddsound.machines.profile import BANDS, Profile
from oddsound.model import Model
from oddsound.predictors import MahalanobisViews

TIME_GROUPS, TIMBRE_GROUPS = 4, 2
OCTAVES = len(MODULATION_EDGES_HZ) - 1
COUNT = BANDS + TIME_GROUPS + TIMBRE_GROUPS + OCTAVES
LARGEST = 999.0
"""Larger differences are stored as this."""

MAX_KNOWN = 64
"""Choices of features whose groups are kept in memory: one for each model, as a rule."""


@dataclass(frozen=True)
class Grouping:
    """The groups of the features that a model uses. Indices are of these features.

    members : features that belong to a group; groups : the group of each of them
    sizes : number of features of each group [shape=(COUNT,)]
    levels : features that are levels of a band
    """

    members: NDArray[np.intp]
    groups: NDArray[np.intp]
    sizes: NDArray[np.intp]
    levels: NDArray[np.intp]


class Profiler:
    """Adds up the windows of a recording. Only detectors of `oddsound train` have a profile."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._of = _grouping(model.extractor.names, model.kept.tobytes())
        self._known = (
            isinstance(model.predictor, MahalanobisViews)
            and model.statistics is not None
            and len(self._of.levels) > 0
        )
        self._change: NDArray[np.float64] = np.zeros(len(model.kept))
        self._level = 0.0
        self._windows = 0

    def feed(self, windows: Sequence[Array]) -> None:
        """windows : all features of the extractor, of each window"""
        if not self._known or self._model.statistics is None or not windows:
            return
        rows, statistics = np.array(windows, np.float64), self._model.statistics
        change = rows[:, self._model.kept] - statistics.mean
        # Levels are relative to their mean, so one loud tone lowers all others; the median does not
        # follow it.
        levels = self._of.levels
        change[:, levels] -= _medians(change[:, levels])
        change /= statistics.deviation
        self._change += change.sum(axis=0)
        self._level += float(self._louder(rows).sum())
        self._windows += len(rows)

    def _louder(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Loudness compared with training; NaN if the model does not know it."""
        if self._model.loudness is None:
            return np.full(len(rows), np.nan)
        mean, deviation = self._model.loudness
        return np.asarray((rows[:, self._model.extractor.names.index(LOUDNESS)] - mean) / deviation)

    def profile(self) -> Profile | None:
        """The mean over the windows; None if the model cannot compare it."""
        if not self._windows:
            return None
        of = self._of
        sums = np.bincount(of.groups, self._change[of.members], COUNT)
        means = np.divide(sums, of.sizes, out=np.full(COUNT, np.nan), where=of.sizes > 0)
        values = [_limited(value / self._windows) for value in (self._level, *means.tolist())]
        return Profile(
            trained_with=self._model.predictor.estimator.recordings,
            level=values[0],
            bands=values[1 : BANDS + 1],
            time=values[BANDS + 1 :],
        )


@lru_cache(MAX_KNOWN)
def _grouping(names: tuple[str, ...], kept: bytes) -> Grouping:
    """names : of all features; kept : the indices of those that a model uses, as bytes"""
    used = np.frombuffer(kept, np.intp).tolist()
    groups = np.array([GROUPS_BY_NAME.get(names[i], NO_GROUP) for i in used], np.intp)
    members = np.flatnonzero(groups != NO_GROUP)
    return Grouping(
        members=members,
        groups=groups[members],
        sizes=np.bincount(groups[members], minlength=COUNT),
        levels=np.flatnonzero((groups >= 0) & (groups < BANDS)),
    )


def _limited(value: float) -> float | None:
    return None if math.isnan(value) else round(min(max(value, -LARGEST), LARGEST), 2) + 0.0


def _medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each row [shape=(rows, 1)], as np.median computes it in ten times the time."""
    ordered, middle = np.sort(rows, axis=1), rows.shape[1] // 2
    if rows.shape[1] % 2:
        return ordered[:, middle, None]
    return np.asarray((ordered[:, middle - 1, None] + ordered[:, middle, None]) / 2)


def _groups_by_name() -> dict[str, int]:
    """Name of a feature -> number of its group: frequencies, changes over time."""
    first_time, first_timbre = BANDS, BANDS + TIME_GROUPS
    first_octave = first_timbre + TIMBRE_GROUPS
    return {
        **{f"log_mel_{i}_mean": i * BANDS // MEL_BANDS for i in range(MEL_BANDS)},
        **{f"band_{i}_std": first_time + i * TIME_GROUPS // GROUPS for i in range(GROUPS)},
        **{
            f"mfcc_{i + 1}_std": first_timbre + i * TIMBRE_GROUPS // CEPSTRA for i in range(CEPSTRA)
        },
        **{
            f"modulation_{group}_{low:g}_{high:g}_hz": first_octave + octave
            for octave, (low, high) in enumerate(pairwise(MODULATION_EDGES_HZ))
            for group in range(ENVELOPES)
        },
    }


GROUPS_BY_NAME = _groups_by_name()
NO_GROUP = -1
