"""Student's t distribution, for single values without the import of scipy.special.

That import takes longer than loading a model. The formula is the series of the incomplete beta
function (Abramowitz and Stegun, 26.5.4 and 26.7.1).
"""

import math

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

FEW = 400
"""More values than this are computed by SciPy: its import then costs less than the loop."""

MIN_DF, MAX_DF = 1.0, 30.0
"""Below, quantiles of small probabilities are infinite; above, the series loses digits. SciPy
computes all values then."""

EPSILON = 1e-17
MAX_STEPS = 60
LARGEST = 700.0
"""Limit of asinh(t): exp(710) is infinite."""


def upper_tail(scores: Floats, df: float) -> Floats:
    """Probability of a larger value, of each score. Same values as scipy.special.stdtr(df, -t).

    df : degrees of freedom
    """
    scores = np.asarray(scores, np.float64)
    if scores.size > FEW or not MIN_DF <= df <= MAX_DF:
        from scipy.special import stdtr

        return np.asarray(stdtr(df, -scores))
    return np.array([_tail(t, df) for t in scores.ravel().tolist()]).reshape(scores.shape)


def upper_quantile(p_values: Floats, df: float) -> Floats:
    """The score of which `upper_tail` is p, for each p. Same values as -scipy.special.stdtrit.

    p_values : above 0 and below 1
    """
    p_values = np.asarray(p_values, np.float64)
    if p_values.size > FEW or not MIN_DF <= df <= MAX_DF:
        from scipy.special import stdtrit

        return np.asarray(-stdtrit(df, p_values))
    return np.array([_quantile(p, df) for p in p_values.ravel().tolist()]).reshape(p_values.shape)


def _tail(t: float, df: float) -> float:
    """P(T > t)."""
    if t < 0:
        return 1 - _tail(-t, df)
    return math.exp(_log_tail(t, df))


def _log_tail(t: float, df: float) -> float:
    """Logarithm of P(T > t), for t of at least 0; it does not underflow."""
    ratio = t / math.sqrt(df)
    if ratio >= 1:
        inverse = ratio**-2
        return _log_beta(-2 * math.log(ratio), inverse, df / 2, 0.5) - math.log(2)
    if ratio == 0:
        return -math.log(2)
    below = math.exp(_log_beta(2 * math.log(ratio), ratio**2, 0.5, df / 2))
    return math.log1p(-below) - math.log(2)


def _log_beta(log_odds: float, odds: float, a: float, b: float) -> float:
    """Logarithm of the regularised incomplete beta function at x = odds / (1 + odds).

    odds : at most 1, so that the series converges fast; they may underflow, log_odds do not
    """
    x = odds / (1 + odds)
    term = total = 1.0
    step = 0
    while term > EPSILON * total:
        term *= x * (a + b + step) / (a + 1 + step)
        total += term
        step += 1
    constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.log(a)
    return a * log_odds - (a + b) * math.log1p(odds) + constant + math.log(total)


def _quantile(p: float, df: float) -> float:
    """By Newton's method for log(tail) over asinh(t), in which both tails are nearly straight."""
    if p > 0.5:
        return -_quantile(1 - p, df)
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    place, target = 0.0, math.log(p)
    for _ in range(MAX_STEPS):
        t = math.sinh(place)
        log_tail = _log_tail(t, df)
        log_density = constant - (df + 1) * math.log(math.hypot(1, t / math.sqrt(df)))
        slope = math.exp(log_tail - log_density - math.log(math.cosh(place)))
        change = (log_tail - target) * slope
        place = min(place + change, LARGEST)
        if abs(change) <= 1e-15 * max(place, 1e-3):
            break
    return math.sinh(place)
