"""Compares compiled numbers with scikit-learn, before they are written."""

from collections.abc import Callable
from typing import Any

import numpy as np

from oddsound.model import Model
from oddsound_workbench.compiling.translation import NotCompilableError, Rows
from oddsound_workbench.synthesis import SAMPLE_RATE, fan

PROBES = 48
LARGEST_DEVIATION = 4.0
"""Of the random rows, in standard deviations of the training data."""

RTOL, ATOL = 1e-6, 1e-9
"""Tolerances of the comparison. A different order of summation changes a result by about 1e-12,
a wrong sign or formula by far more."""

SYNTHESISED_S = 1.0


def check_part(
    fitted: Any, found: Callable[[Rows], Rows], by_sklearn: Callable[[Rows], Rows], typical: Rows
) -> None:
    """Compare one object on random rows around those that it was fitted to.

    typical : rows with about their mean and standard deviation
    Raises NotCompilableError if the results differ.
    """
    probes = _random_rows(typical.mean(axis=0), typical.std(axis=0))
    expected = np.asarray(by_sklearn(probes), dtype=np.float64)
    _compare(type(fitted).__name__, found(probes), expected)


def check_models(model: Model, compiled: Model, rows: Rows | None = None) -> None:
    """Compare all results of a compiled model with those of the model that it was made from.

    rows : more features to compare [shape=(rows, kept features)]
    Raises NotCompilableError if something differs.
    """
    for one, other in zip((model, *model.narrower), (compiled, *compiled.narrower), strict=True):
        for name in ("sample_rate", "window_s"):
            _equal(name, getattr(one, name), getattr(other, name))
        for name in ("classes", "normal_label", "threshold", "min_length_s"):
            _equal(name, getattr(one.predictor, name), getattr(other.predictor, name))
        _equal("the features", one.kept.tolist(), other.kept.tolist())
        _equal("the events", one.events_reference is None, other.events_reference is None)
        probes = _probes(one)
        if rows is not None and one is model:
            probes = np.concatenate([probes, rows])
        narrow = probes.astype(np.float32)
        _compare("the scaler", other.scaled(narrow), one.scaled(narrow))
        found = other.predictor.probabilities(other.scaled(narrow))
        _compare("the model", found, one.predictor.probabilities(one.scaled(narrow)))


def _probes(model: Model) -> Rows:
    """Features of synthesised sounds, and random rows around them and around the training data."""
    sounds = [fan(seed, faulty=seed % 2 == 1, duration_s=SYNTHESISED_S) for seed in range(6)]
    # At another sample rate these are other sounds, which is as good here.
    longest = max(model.extractor.min_samples, round(SYNTHESISED_S * SAMPLE_RATE))
    real = model.features([np.resize(sound, longest) for sound in sounds]).astype(np.float64)
    rows = [real, _random_rows(real.mean(axis=0), real.std(axis=0))]
    if model.statistics is not None:
        rows.append(_random_rows(model.statistics.mean, model.statistics.deviation))
    return np.concatenate(rows)


def _random_rows(mean: Rows, deviation: Rows) -> Rows:
    """Rows at increasing distances from the mean [shape=(PROBES, features)]."""
    noise = np.random.default_rng(0).standard_normal((PROBES, len(mean)))
    noise *= np.linspace(0, LARGEST_DEVIATION, PROBES)[:, None]
    return np.asarray(mean + np.where(deviation > 0, deviation, 1.0) * noise)


def _compare(what: str, found: Rows, expected: Rows) -> None:
    if found.shape != expected.shape:
        raise NotCompilableError(
            f"{what} cannot be compiled: the numbers give the shape {found.shape}, scikit-learn"
            f" gives {expected.shape}"
        )
    if not np.allclose(found, expected, rtol=RTOL, atol=ATOL):
        raise NotCompilableError(
            f"{what} cannot be compiled: the numbers and scikit-learn differ by up to"
            f" {np.abs(found - expected).max():g}"
        )


def _equal(what: str, one: Any, other: Any) -> None:
    if one != other:
        raise NotCompilableError(f"the compiled model has {other!r} as {what}, not {one!r}")
