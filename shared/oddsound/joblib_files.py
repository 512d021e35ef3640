"""Reads a model from joblib files, with scikit-learn itself. Unpickling them runs code."""

import io
import pickle
import threading
import warnings
from typing import Any

import joblib
import numpy as np
from sklearn.exceptions import InconsistentVersionWarning

from oddsound.errors import ModelArtifactError
from oddsound.parts import Fetch, Parts, TrainingStatistics
from oddsound.schemas import ModelEntry

_unpickling = threading.Lock()


def read(entry: ModelEntry, fetch: Fetch) -> Parts:
    """The artifacts that an entry names.

    Raises ModelArtifactError if a file cannot be read, or is from another series of scikit-learn.
    """

    def load(key: str) -> Any:
        path = getattr(entry, key)
        return None if path is None else unpickle(fetch(key), path)

    estimator, scaler = load("model_path"), load("scaler_path")
    label_encoder, dropped = load("label_encoder_path"), load("dropped_features_path")
    return Parts(
        estimator,
        scaler,
        label_encoder,
        () if dropped is None else dropped,
        statistics_of(estimator if scaler is None else scaler),
        # Nearly the size in memory, which Python does not report for nested objects.
        size_bytes=len(pickle.dumps((estimator, scaler))),
    )


def unpickle(data: bytes, path: str) -> Any:
    """The object in a joblib file. Only for verified bytes: unpickling can run any code.

    path : of the file, for error texts
    Raises ModelArtifactError if the file cannot be read, or if it was created by another series of
    scikit-learn (1.8 and 1.9 differ, 1.9.1 and 1.9.2 do not).
    """
    loaded: Any = None
    failure: Exception | None = None
    # `catch_warnings` changes the filters of the whole process, so only one thread may use it.
    with _unpickling, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InconsistentVersionWarning)
        try:
            loaded = joblib.load(io.BytesIO(data))
        # A damaged pickle can raise any exception, and so can one of another series.
        except Exception as error:
            failure = error
    for warning in (each.message for each in caught):
        if not isinstance(warning, InconsistentVersionWarning):
            continue
        created, installed = warning.original_sklearn_version, warning.current_sklearn_version
        if _series(created) != _series(installed):
            raise ModelArtifactError(
                f"{path} was created by scikit-learn {created}, but {installed} is installed:"
                f" train the model again, or install scikit-learn {created}"
            ) from None
    if failure is not None:
        reason = f"{type(failure).__name__}: {failure}"
        raise ModelArtifactError(f"{path} cannot be loaded: {reason}") from failure
    return loaded


def _series(version: str) -> list[str]:
    """Major and minor version."""
    return version.split(".")[:2]


def statistics_of(first: Any) -> TrainingStatistics | None:
    """The training statistics in the object that is given the features: scaler or estimator.

    A StandardScaler contains them, and so does a covariance estimator that was fitted without a
    scaler. Detectors of earlier versions have a MinMaxScaler whose attributes were replaced, so
    that it computes clipped z-scores. In a pipeline, only the first step was fitted to the features
    themselves. Returns None for all other objects.
    """
    while hasattr(first, "steps"):
        first = first.steps[0][1]
    if getattr(first, "mean_", None) is not None and getattr(first, "var_", None) is not None:
        return TrainingStatistics.of(first.mean_, np.sqrt(first.var_))
    if hasattr(first, "location_") and hasattr(first, "covariance_"):
        return TrainingStatistics.of(first.location_, np.sqrt(np.diag(first.covariance_)))
    if hasattr(first, "data_range_") and _is_z_score(first):
        return TrainingStatistics.of(-first.min_ / first.scale_, 1 / first.scale_)
    return None


def _is_z_score(scaler: Any) -> bool:
    """Whether a MinMaxScaler was changed to compute z-scores.

    Then its `scale_` does not agree with the range of its training data.
    """
    low, high = scaler.feature_range
    varied = scaler.data_range_ > 0
    return not np.allclose((scaler.scale_ * scaler.data_range_)[varied], high - low)
