"""A detector that compares a recording with normal ones in several groups of features (views).

In each view, the distance of a recording is a Mahalanobis distance, standardised by the distances
of normal recordings that were left out of the fit. The mean of the largest ones decides (detectors
of earlier versions: the largest one). It is compared with Student's t distribution, whose heavy
tails express that few recordings do not determine the probability of rare distances. Nothing
saturates: a distance twice as large is a larger score.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddsound.numbers import Numbers
from oddsound.student import upper_quantile, upper_tail

type Floats = NDArray[np.float64]

MIN_DISTANCE = 1e-9
"""Keeps the logarithm of a distance finite."""

MIN_LENGTH_S = 1e-3
"""Keeps the logarithm of a length finite."""

MIN_P_VALUE, MAX_P_VALUE = 1e-300, 1 - 1e-16
"""Keep the score of a p-value finite."""


def log_distance(squared: Floats) -> Floats:
    """Logarithm of a distance, finite for 0.

    squared : Mahalanobis distance, squared and divided by the number of features
    """
    return np.asarray(np.log(np.sqrt(squared) + MIN_DISTANCE))


def mean_of_largest(distances: Floats, count: int) -> Floats:
    """The mean of the `count` largest distances of each row [shape=(rows,)].

    distances : of one row in each view [shape=(rows, views)]
    """
    return np.asarray(np.sort(distances, axis=1)[:, -count:].mean(axis=1))


@dataclass(frozen=True)
class View:
    """A group of features, and the covariance of normal recordings in it.

    columns : of the scaled features
    whiten : float32 [shape=(columns, columns)], makes the covariance of normal recordings the
        identity
    handicap : is subtracted from the standardised distance; 0 except in earlier versions
    """

    columns: NDArray[np.intp]
    whiten: NDArray[np.float32]
    handicap: float

    @classmethod
    def of(cls, numbers: Numbers, features: int) -> "View":
        """features : number of scaled features"""
        columns = numbers.indices("columns", "columns", stop=features)
        whiten = numbers.array("whiten", "columns", "columns")
        return cls(columns, whiten, numbers.number("handicap"))

    @cached_property
    def _whiten(self) -> Floats:
        """In float64, as the rows have it: NumPy would convert it in each call."""
        return self.whiten.astype(np.float64)

    def distance(self, rows: Floats) -> Floats:
        """Logarithm of the Mahalanobis distance, divided by the root of the number of columns.

        rows : scaled features [shape=(rows, features)]
        """
        whitened = rows[:, self.columns] @ self._whiten
        return log_distance(np.square(whitened).mean(axis=1))


@dataclass(frozen=True)
class Calibration:
    """The distances of normal recordings that were left out of the fit, by the length of a window.

    Statistics of a short window vary more than those of a long one, and its distances are larger.

    lengths_s : of the windows, ascending; the last is that of the model [shape=(lengths,)]
    means, deviations : of the logarithmic distances [shape=(lengths, views)]
    locations, scales : turn the mean of the largest standardised distances into a score that has
        a t distribution [shape=(lengths,)]
    """

    lengths_s: Floats
    means: Floats
    deviations: Floats
    locations: Floats
    scales: Floats

    @classmethod
    def of(cls, numbers: Numbers, views: int) -> "Calibration":
        lengths_s = numbers.array("lengths_s", "lengths", positive=True)
        if not len(lengths_s) or (np.diff(lengths_s) <= 0).any():
            raise numbers.fault(
                "lengths_s", f"is {lengths_s.tolist()}; ascending lengths are expected"
            )
        return cls(
            lengths_s,
            numbers.array("means", "lengths", views),
            numbers.array("deviations", "lengths", views, positive=True),
            numbers.array("locations", "lengths"),
            numbers.array("scales", "lengths", positive=True),
        )

    def at(self, length_s: float | None) -> tuple[Floats, Floats, float, float]:
        """Means, deviations, location and scale for a length.

        Between two lengths, they are interpolated over the logarithm of the length.

        length_s : None for the longest
        """
        if length_s is None or length_s >= self.lengths_s[-1]:
            at = -1  # that of the model, as most recordings have it
            means, deviations = self.means[at], self.deviations[at]
            return means, deviations, float(self.locations[at]), float(self.scales[at])
        places, place = np.log(self.lengths_s), np.log(max(length_s, MIN_LENGTH_S))

        def interpolated(values: Floats) -> Floats:
            columns = values.reshape(len(places), -1).T
            return np.array([np.interp(place, places, column) for column in columns])

        means, deviations = interpolated(self.means), interpolated(self.deviations)
        (location,), (scale,) = interpolated(self.locations), interpolated(self.scales)
        return means, deviations, location, scale


@dataclass(frozen=True)
class ViewDetector:
    """The estimator of the predictor `mahalanobis_views`.

    Its artifact contains plain numbers and arrays, so that a file does not depend on where this
    class is defined.

    df : degrees of freedom of the score's t distribution
    recordings : number of normal recordings (groups count once) that calibrated it
    n_features_in_ : number of scaled features, as in scikit-learn
    averaged : number of standardised distances, the largest ones, whose mean is the score
    """

    views: tuple[View, ...]
    calibration: Calibration
    df: float
    recordings: int
    n_features_in_: int
    averaged: int = 1

    @classmethod
    def of_artifact(cls, artifact: Any, path: str) -> "ViewDetector":
        """The inverse of `to_artifact`.

        artifact : the nested dictionary of a joblib file, or the Numbers of a compiled model
        path : of the file, for error texts
        Raises ModelArtifactError that names the number which is missing or wrong.
        """
        numbers = artifact if isinstance(artifact, Numbers) else Numbers.of(artifact, path)
        features = numbers.integer("n_features_in_")
        views = tuple(View.of(each, features) for each in numbers.parts("views"))
        if not views:
            raise numbers.fault("views", "is missing")
        averaged = numbers.integer("averaged") if numbers.has("averaged") else 1
        if averaged > len(views):
            raise numbers.fault("averaged", f"is {averaged}; there are {len(views)} views")
        return cls(
            views,
            Calibration.of(numbers.part("calibration"), len(views)),
            numbers.number("df", positive=True),
            numbers.integer("recordings"),
            features,
            averaged,
        )

    @property
    def min_length_s(self) -> float:
        """Shortest window for which the score is calibrated."""
        return float(self.calibration.lengths_s[0])

    def to_artifact(self) -> dict[str, Any]:
        """Nested dictionaries of numbers and arrays."""
        return asdict(self)

    def scores(self, rows: Floats, length_s: float | None = None) -> Floats:
        """Unbounded score of each row; 0 is a usual recording.

        rows : scaled features [shape=(rows, features)]
        length_s : of the windows that they describe; None for that of the model
        """
        means, deviations, location, scale = self.calibration.at(length_s)
        handicaps = np.array([view.handicap for view in self.views])
        distances = np.stack([view.distance(rows) for view in self.views], axis=1)
        standardised = (distances - means) / deviations - handicaps
        return (mean_of_largest(standardised, self.averaged) - location) / scale

    def p_values(self, scores: Floats) -> Floats:
        """Probability that a normal recording has at least this score."""
        return upper_tail(scores, self.df)

    def scores_of(self, p_values: Floats) -> Floats:
        """The inverse of `p_values`."""
        return upper_quantile(np.clip(p_values, MIN_P_VALUE, MAX_P_VALUE), self.df)
