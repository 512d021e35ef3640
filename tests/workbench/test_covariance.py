"""The covariance of few recordings equals scikit-learn's, however many features there are."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from oddsound_workbench.learn.covariance import Covariance


@pytest.mark.parametrize(("rows", "features"), [(3, 40), (39, 40), (40, 40), (200, 40)])
def test_distances_are_those_of_scikit_learn(rows: int, features: int) -> None:
    rng = np.random.default_rng(rows)
    values = rng.normal(size=(rows, features)) @ rng.normal(size=(features, features))
    values -= values.mean(axis=0)
    new = 3 * rng.normal(size=(5, features))
    expected, _ = ledoit_wolf(values, assume_centered=True)
    squared = (new @ np.linalg.inv(expected) * new).sum(axis=1)
    covariance = Covariance.of(values)
    np.testing.assert_allclose(covariance.squared_distance(new), squared, rtol=1e-6)
    whitened = np.square(new @ covariance.whitening()).sum(axis=1)
    np.testing.assert_allclose(whitened, squared, rtol=1e-4)


def test_recordings_without_any_difference_have_finite_distances() -> None:
    covariance = Covariance.of(np.zeros((4, 6)))
    assert np.isfinite(covariance.squared_distance(np.ones((2, 6)))).all()
    assert np.isfinite(covariance.whitening()).all()
