"""Measures the profile of a recording: its mean differences from training, by group of features."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.machine_features import BANDS as MEL_BANDS
from oddsound.machine_features import CEPSTRA, GROUPS, LOUDNESS, MODULATION_EDGES_HZ
from oddsound.machines.profile import BANDS, Profile
from oddsound.model import Model
from oddsound.predictors import MahalanobisViews

TIME_GROUPS, TIMBRE_GROUPS = 4, 2
OCTAVES = len(MODULATION_EDGES_HZ) - 1
LARGEST = 999.0
"""Larger differences are stored as this."""


class Profiler:
    """Adds up the windows of a recording. Only detectors of `oddsound train` have a profile."""

    def __init__(self, model: Model) -> None:
        self._model = model
        names = [model.extractor.names[index] for index in model.kept.tolist()]
        self._levels = np.array([name.startswith("log_mel_") for name in names])
        self._known = (
            isinstance(model.predictor, MahalanobisViews)
            and model.statistics is not None
            and bool(self._levels.any())
        )
        self._means = _means([_group(name) for name in names])
        self._sum = np.zeros(1 + self._means.shape[1])
        self._windows = 0

    def feed(self, windows: Sequence[Array]) -> None:
        """windows : all features of the extractor, of each window"""
        if not self._known or self._model.statistics is None or not windows:
            return
        rows, statistics = np.stack(windows).astype(np.float64), self._model.statistics
        change = rows[:, self._model.kept] - statistics.mean
        # Levels are relative to their mean, so one loud tone lowers all others; the median does not
        # follow it.
        change[:, self._levels] -= np.median(change[:, self._levels], axis=1, keepdims=True)
        self._sum[0] += self._louder(rows).sum()
        self._sum[1:] += (change / statistics.deviation @ self._means).sum(axis=0)
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
        limited = np.clip(self._sum / self._windows, -LARGEST, LARGEST)
        values = [None if np.isnan(value) else round(float(value), 2) + 0.0 for value in limited]
        return Profile(
            trained_with=self._model.predictor.estimator.recordings,
            level=values[0],
            bands=values[1 : BANDS + 1],
            time=values[BANDS + 1 :],
        )


def _means(groups: list[int | None]) -> NDArray[np.float64]:
    """A matrix [shape=(features, groups)]: the product has the mean of each group; NaN for none."""
    count = BANDS + TIME_GROUPS + TIMBRE_GROUPS + OCTAVES
    members = np.array([[group == number for number in range(count)] for group in groups], float)
    sizes = members.sum(axis=0)
    return np.asarray(np.where(sizes > 0, members / np.maximum(sizes, 1), np.nan))


def _group(name: str) -> int | None:
    """Number of the group that a feature belongs to: frequencies, changes over time."""
    first_time, first_timbre = BANDS, BANDS + TIME_GROUPS
    if found := re.fullmatch(r"log_mel_(\d+)_mean", name):
        return int(found[1]) * BANDS // MEL_BANDS
    if found := re.fullmatch(r"band_(\d+)_std", name):
        return first_time + int(found[1]) * TIME_GROUPS // GROUPS
    if found := re.fullmatch(r"mfcc_(\d+)_std", name):
        return first_timbre + (int(found[1]) - 1) * TIMBRE_GROUPS // CEPSTRA
    if found := re.fullmatch(r"modulation_\d+_([\d.]+)_[\d.]+_hz", name):
        return first_timbre + TIMBRE_GROUPS + MODULATION_EDGES_HZ.index(float(found[1]))
    return None
