"""Intervals contain the true value as often as they promise."""

import numpy as np
import pytest
from scipy import stats

from oddsound.predictors import Floats
from oddsound_workbench.learn import intervals

pytestmark = pytest.mark.slow

QUANTILE = 0.9


@pytest.mark.parametrize(
    ("count", "total", "below", "above"),
    [(5, 10, 0.05, 0.05), (1, 10, 0.05, 0.05), (0, 10, 0, 0.05), (10, 10, 0.05, 0)],
)
def test_jeffreys_interval_of_known_counts(
    count: int, total: int, below: float, above: float
) -> None:
    """The mass of the density outside of the interval, integrated numerically."""

    def mass(low: float, high: float) -> float:
        if low == high:
            return 0.0
        points = np.linspace(low, high, 400_001)
        points = (points[1:] + points[:-1]) / 2
        density = points ** (count - 0.5) * (1 - points) ** (total - count - 0.5)
        return float(density.mean() * (high - low))

    found = intervals.share(count / total, total)
    assert found.confidence == 0.9
    assert mass(0, found.low) / mass(0, 1) == pytest.approx(below, abs=1e-3)
    assert mass(found.high, 1) / mass(0, 1) == pytest.approx(above, abs=1e-3)


def test_a_share_of_no_recordings_is_unknown() -> None:
    assert intervals.share(0, 0).low == 0
    assert intervals.share(0, 0).high == 1


@pytest.mark.parametrize("recordings", [4, 10, 40])
@pytest.mark.parametrize("rate", [0, 0.1, 0.25, 1])
def test_the_distribution_has_the_moments_of_the_mixture(recordings: int, rate: float) -> None:
    """The mixture that the docstring describes, drawn."""
    rng = np.random.default_rng(0)
    count = rate * recordings
    mean = rng.beta(count + 0.5, recordings - count + 0.5, 400_000)
    weight = recordings + 1
    drawn = rng.beta(np.maximum(weight * mean, 1e-9), np.maximum(weight * (1 - mean), 1e-9))
    centre, total = intervals._mean_rate(rate, recordings), intervals._weight(recordings)
    moments = stats.beta(centre * total, (1 - centre) * total).stats("mv")
    assert moments == pytest.approx((drawn.mean(), drawn.var()), abs=2e-3)


@pytest.mark.parametrize("recordings", [4, 6, 10, 20, 40])
def test_the_false_alarm_rate_of_a_model_is_in_its_interval(recordings: int) -> None:
    """Thresholds from few normal scores, and the true rate of each threshold.

    The threshold is the prediction limit of a normal distribution, whose mean and deviation are
    those of the training scores. Leaving each score out gives the count of false alarms.
    """
    rng = np.random.default_rng(recordings)
    covered, above = [], []
    for _ in range(400):
        scores = rng.normal(size=recordings)
        truth = stats.norm.sf(limits(scores[np.newaxis])[0])
        others = np.array([np.delete(scores, place) for place in range(recordings)])
        alarms = scores > limits(others)
        found = intervals.false_alarm_rate(float(np.mean(alarms)), recordings)
        covered.append(found.low <= truth <= found.high)
        above.append(truth > found.high)
    assert np.mean(covered) >= found.confidence
    assert np.mean(above) <= 0.05 + 0.02


def limits(samples: Floats) -> Floats:
    """The value that a new score of a normal distribution exceeds in 10 % of cases.

    samples : scores [shape=(samples, recordings)]
    """
    n = samples.shape[1]
    spread = samples.std(axis=1, ddof=1) * np.sqrt(1 + 1 / n)
    return np.asarray(samples.mean(axis=1) + stats.t.ppf(QUANTILE, n - 1) * spread)


@pytest.mark.parametrize("recordings", [4, 10, 40])
@pytest.mark.parametrize("rate", [0, 0.1, 0.3])
def test_more_recordings_halve_the_width(recordings: int, rate: float) -> None:
    more = intervals.more_recordings_to_halve(rate, recordings)
    mean = intervals._mean_rate(rate, recordings)

    def width(count: int) -> float:
        weight = intervals._weight(count)
        return intervals._of_beta(mean * weight, (1 - mean) * weight).width

    half = intervals.false_alarm_rate(rate, recordings).width / 2
    assert width(recordings) == pytest.approx(2 * half)
    assert width(recordings + more) <= half < width(recordings + more - 1)


def test_more_recordings_give_a_narrower_interval() -> None:
    widths = [intervals.false_alarm_rate(0.1, n).width for n in (4, 6, 10, 20, 40, 100)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.8, 1.0), (0.5, 0.3, 0.7)])
def test_the_interval_of_an_auc_by_hand(value: float, low: float, high: float) -> None:
    """The variance of Hanley and McNeil at the ends of the interval is that of the difference."""
    found = intervals.auc(value, 10, 10)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06)
    for end in {found.low, found.high} - {1.0}:
        spread = 1 + 9 * ((1 - end) / (2 - end) + end / (1 + end))
        variance = end * (1 - end) * spread / 100
        assert abs(value - end) == pytest.approx(stats.norm.ppf(0.95) * variance**0.5, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 1e-16, 1e-6, 0.3, 1 - 1e-6, 1 - 1e-16, 1.0])
def test_every_auc_has_an_interval_that_contains_it(value: float) -> None:
    for normal, anomalous in ((1, 1), (4, 70), (100, 100)):
        found = intervals.auc(value, normal, anomalous)
        assert 0 <= found.low <= value <= found.high <= 1
        assert found.width > 0
        opposite = intervals.auc(1 - value, normal, anomalous)
        assert (1 - opposite.high, 1 - opposite.low) == pytest.approx(
            (found.low, found.high), abs=1e-6
        )


@pytest.mark.parametrize(("normal", "anomalous"), [(6, 10), (20, 20)])
def test_the_true_auc_is_in_its_interval(normal: int, anomalous: int) -> None:
    rng = np.random.default_rng(0)
    shift = 2.0
    truth = stats.norm.cdf(shift / np.sqrt(2))
    covered = []
    for _ in range(400):
        pairs = rng.normal(size=(normal, 1)) < rng.normal(shift, size=anomalous)
        value = float(pairs.mean())
        found = intervals.auc(value, normal, anomalous)
        covered.append(found.low <= truth <= found.high)
    assert 0.86 < np.mean(covered) < 0.97
