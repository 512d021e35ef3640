"""Student's t distribution: SciPy's values, also far in the tails."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import stdtr, stdtrit

from oddsound import student
from oddsound.student import upper_quantile, upper_tail

DFS = [1, 1.5, 2, 3, 4, 5, 6, 10, 30]


@pytest.mark.parametrize("df", DFS)
def test_the_tail_is_that_of_scipy(df: float) -> None:
    scores = np.concatenate([np.linspace(-30, 30, 121), np.logspace(-3, 9, 60), [0.0]])
    np.testing.assert_allclose(upper_tail(scores, df), stdtr(df, -scores), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("df", DFS)
def test_the_quantile_is_that_of_scipy(df: float) -> None:
    p_values = np.concatenate([np.linspace(0.001, 0.999, 101), np.logspace(-30, -3, 60)])
    expected = -stdtrit(df, p_values)
    np.testing.assert_allclose(upper_quantile(p_values, df), expected, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("df", [3.0, 6.0])
def test_the_quantile_is_finite_where_that_of_scipy_is_not(df: float) -> None:
    """SciPy 1.18 returns infinity below about 1e-290; a distance has a score anyway."""
    p_values = np.array([1e-300, 1e-250, 0.3, 1 - 1e-16])
    scores = upper_quantile(p_values, df)
    np.testing.assert_allclose(upper_tail(scores[:3], df), p_values[:3], rtol=1e-11)
    assert (np.diff(scores) < 0).all()
    assert scores[3] < -500


def test_values_by_hand() -> None:
    # With one degree of freedom it is the Cauchy distribution: 1/4 is above 1.
    np.testing.assert_allclose(upper_tail(np.array([1.0, 0.0, -1.0]), 1), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(upper_quantile(np.array(0.25), 1), 1.0)


def test_shapes_are_kept() -> None:
    assert upper_tail(np.array(0.3), 4).shape == ()
    assert upper_tail(np.ones((2, 3)), 4).shape == (2, 3)
    assert upper_tail(np.ones(0), 4).shape == (0,)


@pytest.mark.parametrize(("count", "df"), [(student.FEW + 1, 6.0), (3, 0.5), (3, 200.0)])
def test_many_values_and_other_degrees_of_freedom_are_computed_by_scipy(
    count: int, df: float
) -> None:
    p_values = np.linspace(0.01, 0.9, count)
    scores = upper_quantile(p_values, df)
    np.testing.assert_allclose(scores, stats.t.isf(p_values, df), rtol=1e-9)
    np.testing.assert_allclose(upper_tail(scores, df), p_values, rtol=1e-9)
