"""The parts of a model, wherever they were read from: joblib files or a compiled model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Fetch = Callable[[str], bytes]
"""From a key of a models.json entry, such as "scaler_path", to the verified bytes of the file."""


@dataclass(frozen=True)
class TrainingStatistics:
    """Mean and standard deviation of each feature over a model's training recordings.

    mean, deviation : float64 [shape=(features,)]; deviations are above 0
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, mean: Any, deviation: Any) -> "TrainingStatistics":
        """For a feature that was constant in training, 1 is used, as in a StandardScaler."""
        deviation = np.asarray(deviation, np.float64)
        return cls(np.asarray(mean, np.float64), np.where(deviation > 0, deviation, 1.0))


@dataclass(frozen=True)
class Parts:
    """What a model is assembled from.

    estimator : with `predict_proba`, `mahalanobis` or `score_samples`, as the predictor requires;
        the nested numbers of a detector for `mahalanobis_views`
    scaler : with `transform`, or None
    label_encoder : turns the estimator's classes into names; None if they are names
    dropped : names or indices of features that are not used
    statistics : None if the artifacts do not contain them
    size_bytes : about the size in memory
    """

    estimator: Any
    scaler: Any
    label_encoder: Any
    dropped: Iterable[Any]
    statistics: TrainingStatistics | None
    size_bytes: int
