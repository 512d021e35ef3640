"""Translates scikit-learn's transformers to the steps of oddsound.compiled."""

from typing import Any

import numpy as np

from oddsound_workbench.compiling.translation import (
    NotCompilableError,
    Rows,
    Translation,
    Translator,
    around,
    parameter,
    translated,
)


def scaler(fitted: Any) -> Translation:
    """The step of a fitted transformer. Raises NotCompilableError if none is known."""
    return translated(fitted, SCALERS)


def _standard(centre: Rows, scale: Rows, typical: Rows) -> Translation:
    return Translation({"kind": "standard", "centre": centre, "scale": scale}, typical)


def _standard_scaler(fitted: Any) -> Translation:
    if fitted.mean_ is None:
        raise parameter(fitted, "neither with_mean nor with_std")
    deviation = np.sqrt(fitted.var_) if fitted.with_std else np.ones_like(fitted.mean_)
    return _standard(
        fitted.mean_ if fitted.with_mean else np.zeros_like(fitted.mean_),
        fitted.scale_ if fitted.with_std else np.ones_like(fitted.mean_),
        around(fitted.mean_, deviation),
    )


def _robust_scaler(fitted: Any) -> Translation:
    if fitted.center_ is None or fitted.scale_ is None:
        raise parameter(fitted, "with_centering=False or with_scaling=False")
    return _standard(fitted.center_, fitted.scale_, around(fitted.center_, fitted.scale_))


def _max_abs_scaler(fitted: Any) -> Translation:
    zeros = np.zeros_like(fitted.scale_)
    if getattr(fitted, "clip", False):
        raise parameter(fitted, "clip=True")
    return _standard(zeros, fitted.scale_, around(zeros, fitted.max_abs_))


def _min_max_scaler(fitted: Any) -> Translation:
    zeros = np.zeros_like(fitted.min_)
    affine = {"kind": "affine", "centre": zeros, "factor": fitted.scale_, "offset": fitted.min_}
    typical = np.stack([fitted.data_min_, fitted.data_max_])
    if not fitted.clip:
        return Translation(affine, typical)
    low, high = map(float, fitted.feature_range)
    clip = {"kind": "clip", "features": len(zeros), "low": low, "high": high}
    return Translation({"kind": "chain", "steps": [affine, clip]}, typical)


def _pca(fitted: Any) -> Translation:
    deviations = np.sqrt(fitted.explained_variance_)
    spread = deviations[:, None] * fitted.components_
    scale = np.maximum(deviations, np.finfo(np.float64).eps) if fitted.whiten else 1.0
    numbers = {
        "kind": "affine",
        "centre": fitted.mean_,
        "matrix": fitted.components_.T / scale,
        "offset": np.zeros(len(spread)),
    }
    return Translation(numbers, fitted.mean_ + np.concatenate([-spread, spread]))


def _pipeline(fitted: Any) -> Translation:
    parts = [scaler(step) for _, step in fitted.steps if step not in (None, "passthrough")]
    if not parts:
        raise NotCompilableError("a Pipeline without steps cannot be compiled")
    return Translation(
        {"kind": "chain", "steps": [part.numbers for part in parts]}, parts[0].typical
    )


SCALERS: dict[str, Translator] = {
    "MaxAbsScaler": _max_abs_scaler,
    "MinMaxScaler": _min_max_scaler,
    "PCA": _pca,
    "Pipeline": _pipeline,
    "RobustScaler": _robust_scaler,
    "StandardScaler": _standard_scaler,
}
"""Name of a class of scikit-learn -> the function that translates its `transform`."""
