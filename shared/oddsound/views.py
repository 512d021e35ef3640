"""A detector that compares a recording with normal ones in several groups of features (views).

In each view, the distance of a recording is a Mahalanobis distance, standardised by the distances
of normal recordings that were left out of the fit. The largest decides. It is compared with
Student's t distribution, whose heavy tails express that few recordings do not determine the
probability of rare distances. Nothing saturates: a distance twice as large is a larger score.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from oddsound.errors import ModelArtifactError

type Floats = NDArray[np.float64]

MIN_DISTANCE = 1e-9
"""Keeps the logarithm of a distance finite."""

MIN_P_VALUE = 1e-300
"""Keeps the score of a p-value finite."""


@dataclass(frozen=True)
class View:
    """A group of features, and the distances of normal recordings in it.

    columns : of the scaled features
    whiten : float32 [shape=(columns, columns)], makes the covariance of normal recordings the
        identity
    mean, deviation : of the logarithmic distances of normal recordings that were left out
    handicap : is subtracted from the standardised distance
    """

    columns: NDArray[np.intp]
    whiten: NDArray[np.float32]
    mean: float
    deviation: float
    handicap: float

    def distance(self, rows: Floats) -> Floats:
        """Logarithm of the Mahalanobis distance, divided by the root of the number of columns.

        rows : scaled features [shape=(rows, features)]
        """
        whitened = rows[:, self.columns] @ self.whiten
        return np.log(np.sqrt(np.square(whitened).mean(axis=1)) + MIN_DISTANCE)

    def standardised(self, distances: Floats) -> Floats:
        """Distances in standard deviations above their mean, minus the handicap."""
        return (distances - self.mean) / self.deviation - self.handicap


@dataclass(frozen=True)
class ViewDetector:
    """The estimator of the predictor `mahalanobis_views`.

    Its artifact contains plain numbers and arrays, so that a file does not depend on where this
    class is defined.

    location, scale : turn the largest standardised distance into a score that has a t distribution
    df : its degrees of freedom
    recordings : number of normal recordings (groups count once) that calibrated it
    n_features_in_ : number of scaled features, as in scikit-learn
    """

    views: tuple[View, ...]
    location: float
    scale: float
    df: float
    recordings: int
    n_features_in_: int

    @classmethod
    def of_artifact(cls, artifact: Any, path: str) -> "ViewDetector":
        """The inverse of `to_artifact`.

        path : of the file, for error texts
        Raises ModelArtifactError if the artifact is something else, or its shapes do not fit.
        """
        try:
            views = tuple(View(**view) for view in artifact["views"])
            # The reference of events in the same file is read by oddsound.model.
            fields = {name: each for name, each in artifact.items() if name != "events"}
            detector = cls(**{**fields, "views": views})
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            raise ModelArtifactError(
                f"{path} contains {type(artifact).__name__}, which is not a detector that"
                f" `oddsound train` writes for mahalanobis_views: {error!r}"
            ) from None
        for view in views:
            count = len(view.columns)
            if view.whiten.shape != (count, count) or view.columns.max() >= detector.n_features_in_:
                raise ModelArtifactError(
                    f"{path} has a view of {count} features up to {view.columns.max()} with a"
                    f" matrix of {view.whiten.shape}; the model has {detector.n_features_in_}"
                )
        return detector

    def to_artifact(self) -> dict[str, Any]:
        """Nested dictionaries of numbers and arrays."""
        return asdict(self)

    def scores(self, rows: Floats) -> Floats:
        """Unbounded score of each row; 0 is a usual recording.

        rows : scaled features [shape=(rows, features)]
        """
        distances = [view.standardised(view.distance(rows)) for view in self.views]
        return (np.max(distances, axis=0) - self.location) / self.scale

    def p_values(self, scores: Floats) -> Floats:
        """Probability that a normal recording has at least this score."""
        return np.asarray(stdtr(self.df, -scores))

    def scores_of(self, p_values: Floats) -> Floats:
        """The inverse of `p_values`."""
        return np.asarray(-stdtrit(self.df, np.maximum(p_values, MIN_P_VALUE)))
