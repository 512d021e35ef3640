"""Intervals of the figures of a report: what the number of recordings leaves open."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

CONFIDENCE = 0.9
"""Probability that an interval contains the true value. Each end is exceeded in 5 % of cases."""

EDGE = 1e-9
"""An AUC that is closer to 0 or 1 counts as 0 or 1: sums of shares are not exact."""

MAX_RECORDINGS = 1_000_000
"""Limit of the search for the number of recordings that halves an interval."""


@dataclass(frozen=True)
class Interval:
    """low, high : between 0 and 1; confidence : probability that the true value is between them"""

    low: float
    high: float
    confidence: float = CONFIDENCE

    @property
    def width(self) -> float:
        return self.high - self.low

    def as_dict(self) -> dict[str, float]:
        """For JSON: low, high and confidence, rounded to 4 digits."""
        return {key: round(float(value), 4) for key, value in asdict(self).items()}

    def percent(self) -> str:
        """Such as "2 to 31%"."""
        return f"{100 * self.low:.0f} to {100 * self.high:.0f}%"

    def decimal(self) -> str:
        """Such as "0.71 to 0.98", rounded outwards."""
        low, high = np.floor(100 * self.low) / 100, np.ceil(100 * self.high) / 100
        return f"{low:.2f} to {high:.2f}"


def share(rate: float, recordings: int) -> Interval:
    """Interval of a rate that was counted in independent recordings: Jeffreys' interval.

    rate : share of the recordings, 0..1; not necessarily a multiple of 1 / recordings
    L. D. Brown, T. T. Cai, A. DasGupta, "Interval estimation for a binomial proportion",
    Statistical Science 16 (2001).
    """
    count = rate * recordings
    return _of_beta(count + 0.5, recordings - count + 0.5)


def false_alarm_rate(rate: float, recordings: int) -> Interval:
    """Prediction interval of the long-run false-alarm rate of the model that is saved.

    rate : share of false alarms of held-out normal recordings in cross-validation, 0..1
    recordings : normal recordings (groups count once); all train the model, and set its threshold

    Cross-validation estimates the mean rate of models of so many recordings, not the rate of this
    model (Bates, Hastie, Tibshirani, "Cross-validation: what does it estimate and how well does it
    do it?", JASA 119, 2024). Two uncertainties are therefore combined:

    - the mean rate m, after a count in n recordings: Jeffreys' Beta(count + 1/2, n - count + 1/2);
    - the rate of one model, if m is known. A threshold from the ranks of n exchangeable scores has
      a rate of distribution Beta((n + 1) m, (n + 1) (1 - m)) (V. Vovk, "Conditional validity of
      inductive conformal predictors", ACML 2012).

    The result is the Beta distribution with the mean and the variance of this mixture. Its
    interval is about as wide as if only half of the recordings had been counted.
    """
    return _of_beta(*false_alarm_distribution(rate, recordings))


def false_alarm_distribution(rate: float, recordings: int) -> tuple[float, float]:
    """a and b of the Beta distribution behind `false_alarm_rate`."""
    mean, weight = _mean_rate(rate, recordings), _weight(recordings)
    return mean * weight, (1 - mean) * weight


def more_recordings_to_halve(rate: float, recordings: int) -> int:
    """How many more normal recordings would halve the width of `false_alarm_rate`.

    It is assumed that the rate will be the mean of its present distribution, which is above 0
    even if there was no false alarm.
    """
    mean = _mean_rate(rate, recordings)

    def width(count: int) -> float:
        weight = _weight(count)
        return _of_beta(mean * weight, (1 - mean) * weight).width

    target = width(recordings) / 2
    return _first(lambda count: width(count) <= target, recordings + 1) - recordings


def auc(value: float, normal: int, anomalous: int) -> Interval:
    """Interval of an AUC, from the number of independent recordings. It is not empty at 1.

    R. G. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 25 (2006), method 5: a score interval with the
    variance of Hanley and McNeil. DeLong's method and the bootstrap find no variance at an AUC
    of 1, which few recordings often reach by chance.
    """
    deviations = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    extra = (normal + anomalous) / 2 - 1

    def excess(candidate: float) -> float:
        """Negative if the measured value is plausible for this true value."""
        spread = 1 + extra * ((1 - candidate) / (2 - candidate) + candidate / (1 + candidate))
        variance = candidate * (1 - candidate) * spread / (normal * anomalous)
        return float((value - candidate) ** 2 - deviations**2 * variance)

    # At 0 and 1 there is no variance, so the search stays away from these ends.
    low = 0.0 if value < EDGE else float(brentq(excess, 0, min(value, 1 - EDGE)))
    high = 1.0 if value > 1 - EDGE else float(brentq(excess, max(value, EDGE), 1))
    return Interval(low, high)


def _mean_rate(rate: float, recordings: int) -> float:
    """Mean of Jeffreys' distribution."""
    return (rate * recordings + 0.5) / (recordings + 1)


def _weight(recordings: int) -> float:
    """a + b of the Beta distribution of `false_alarm_rate`, from the variance of its mixture.

    With m of mean M, the variance is M (1 - M) times 1 - (n + 1)^2 / (n + 2)^2; that of
    Beta(a, b) is M (1 - M) / (a + b + 1).
    """
    return float(1 / (1 - ((recordings + 1) / (recordings + 2)) ** 2) - 1)


def _of_beta(a: float, b: float) -> Interval:
    """The central interval; it reaches to 0 or 1 if the distribution is most dense there.

    Brown, Cai and DasGupta do the same for counts of 0 and n.
    """
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if a <= 1 else float(stats.beta.ppf(tail, a, b))
    high = 1.0 if b <= 1 else float(stats.beta.ppf(1 - tail, a, b))
    return Interval(low, high)


def _first(holds: Callable[[int], bool], start: int) -> int:
    """The smallest number from `start` on for which a condition holds that then stays true."""
    low, high = start - 1, start
    while not holds(high) and high < MAX_RECORDINGS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
