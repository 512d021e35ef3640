"""The covariance of few recordings with many features, without a matrix of features x features."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from oddsound.predictors import Floats

MIN_VARIANCE = 1e-6
"""Keeps distances finite in directions in which scaled features do not vary."""

MIN_SHARE = 1e-12
"""Eigenvalues below this share of the largest one are rounding errors."""


@dataclass(frozen=True)
class Covariance:
    """Ledoit and Wolf's covariance: the empirical one, shrunk towards its mean variance.

    Outside the space that the recordings span, it is the same in every direction. Therefore its
    decomposition costs as much as that of a matrix of recordings x recordings. Cross-validation
    fits hundreds of them.

    directions : orthonormal, in which the recordings differ [shape=(rank, features)]
    variances : in these directions [shape=(rank,)]
    rest : variance in every direction that is orthogonal to them
    """

    directions: Floats
    variances: Floats
    rest: float

    @classmethod
    def of(cls, rows: Floats) -> Self:
        """The covariance of rows whose mean is zero.

        rows : [shape=(rows, features)]
        """
        count, features = rows.shape
        wide = count < features
        values, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
        kept = values > MIN_SHARE * max(values[-1], 0.0)
        values, vectors = values[kept], vectors[:, kept]
        directions = (rows.T @ vectors / np.sqrt(values) if wide else vectors).T
        shrinkage = _shrinkage(rows, values / count)
        mean = float(values.sum()) / count / features
        variances = (1 - shrinkage) * values / count + shrinkage * mean
        rest = max(shrinkage * mean, MIN_VARIANCE)
        return cls(directions, np.maximum(variances, MIN_VARIANCE), rest)

    def squared_distance(self, rows: Floats) -> Floats:
        """Squared Mahalanobis distance from zero [shape=(rows,)]."""
        inside = np.square(rows @ self.directions.T)
        outside = np.square(rows).sum(axis=1) - inside.sum(axis=1)
        return np.asarray(
            (inside / self.variances).sum(axis=1) + np.maximum(outside, 0) / self.rest
        )

    def whitening(self) -> NDArray[np.float32]:
        """The inverse of the symmetric root of the covariance [shape=(features, features)]."""
        rest = 1 / np.sqrt(self.rest)
        change = (self.directions.T * (1 / np.sqrt(self.variances) - rest)) @ self.directions
        return np.asarray(change + rest * np.eye(self.directions.shape[1]), np.float32)


def _shrinkage(rows: Floats, variances: Floats) -> float:
    """Weight of the mean variance.

    O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 88 (2004), lemma 3.4.

    variances : eigenvalues of the empirical covariance that are not 0
    """
    count, features = rows.shape
    squares = float(np.square(variances).sum())
    mean = float(variances.sum()) / features
    error = (float(np.square(np.square(rows).sum(axis=1)).sum()) / count - squares) / count
    spread = squares - features * mean**2
    return min(error / spread, 1.0) if spread > 0 else 0.0
