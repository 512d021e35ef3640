"""Computes a named feature vector from a waveform: the extractors by name."""

import math
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oddsound.default_features import DefaultExtractor
from oddsound.descriptors import Array
from oddsound.errors import ModelsConfigError
from oddsound.machine_features import MachineExtractor


class FeatureExtractor(Protocol):
    """Computes a feature vector of fixed length, with a name for each feature, from a waveform.

    version : part of the key of cached features; must change if the same waveform gives
        different numbers
    names : of the features, family by family
    families : name of each family -> names of its features
    bands : float [shape=(len(names), 2)], lowest and highest frequency in Hz of each feature
        that describes one frequency band; NaN for the others
    levels : indices of the features that are the mean level of a band in dB, lowest band first
    level_effect : float32 [shape=(len(levels), len(names))], change of each feature that is a
        linear combination of levels if one level rises by 1 dB
    min_samples : length of the shortest waveform
    """

    version: str
    names: tuple[str, ...]
    families: dict[str, tuple[str, ...]]
    bands: NDArray[np.float64]
    levels: NDArray[np.intp]
    level_effect: Array
    min_samples: int

    def __call__(self, waveform: Array) -> Array: ...


EXTRACTORS: dict[str, type[DefaultExtractor | MachineExtractor]] = {
    "default": DefaultExtractor,
    "machine": MachineExtractor,
}
"""Values of `feature_extractor` in a models.json entry -> the class."""


@cache
def extractor(name: str, sample_rate: int) -> FeatureExtractor:
    """The extractor called `name` for waveforms at `sample_rate` Hz, created once per process.

    Raises ModelsConfigError if no extractor has that name.
    """
    if name not in EXTRACTORS:
        known = ", ".join(sorted(EXTRACTORS))
        raise ModelsConfigError(f"no feature_extractor is called {name!r}; available: {known}")
    return EXTRACTORS[name](sample_rate)


def top_hz(extract: FeatureExtractor, sample_rate: int) -> float:
    """The highest frequency that an extractor compares, in Hz: half its sample rate if not known.

    sample_rate : of the waveforms, in Hz
    """
    top = float(np.fmax.reduce(extract.bands[:, 1]))  # the largest that is not NaN
    return sample_rate / 2 if math.isnan(top) else top
