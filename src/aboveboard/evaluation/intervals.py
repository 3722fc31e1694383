"""Confidence intervals for rates, their differences and their ratios, that stay honest when counts are small.

Everything here is a pure function of counts or moments. An undefined number has value None, and an end of
an interval that does not exist is None; nothing is ever NaN or infinite, so a report is always valid JSON.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from aboveboard.evaluation.report import Measure

SMALL_CELL = 5
"""A table with a cell below this is small: exact tests and small-sample intervals take over (Cochran 1954)."""


def undefined(n: int) -> Measure:
    """Return the measure of something that has no value, and the number of records there were."""
    return Measure(value=None, low=None, high=None, n=n)


def z_quantile(confidence: float) -> float:
    """Return z such that a standard normal lies within ±z with probability `confidence` (1.96 for 0.95)."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson_limits(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the score interval of Wilson (1927) for a proportion out of `n` > 0; it never leaves [0, 1]."""
    z2 = z_quantile(confidence) ** 2
    rate = successes / n
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) + z2 / (4 * n)) / n) / (1 + z2 / n)
    # Rounding must not push the interval off the rate it is about, nor past 0 and 1.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def rate_measure(successes: int, n: int, confidence: float) -> Measure:
    """Return a proportion with its Wilson interval; undefined over nobody."""
    if n == 0:
        return undefined(0)
    low, high = wilson_limits(successes, n, confidence)
    return Measure(value=successes / n, low=low, high=high, n=n)


def difference_measure(x1: int, n1: int, x0: int, n0: int, confidence: float) -> Measure:
    """Return x1/n1 − x0/n0 with the hybrid score interval of Newcombe (1998, method 10).

    It joins the two Wilson intervals (MOVER) and so copes with rates of 0 and 1. `n` is the smaller of the
    two sample sizes: a comparison is no better founded than its weaker side.
    """
    n = min(n1, n0)
    if n == 0:
        return undefined(0)
    p1, p0 = x1 / n1, x0 / n0
    l1, u1 = wilson_limits(x1, n1, confidence)
    l0, u0 = wilson_limits(x0, n0, confidence)
    return Measure(
        value=p1 - p0,
        low=max(-1.0, p1 - p0 - math.hypot(p1 - l1, u0 - p0)),
        high=min(1.0, p1 - p0 + math.hypot(u1 - p1, p0 - l0)),
        n=n,
    )


def ratio_measure(x1: int, n1: int, x0: int, n0: int, confidence: float) -> Measure:
    """Return (x1/n1) / (x0/n0) with its interval; undefined where a side is empty or the second rate is 0.

    With at least `SMALL_CELL` successes and failures on both sides the interval is the one on the logarithm,
    SE² = (1−p₁)/(n₁p₁) + (1−p₀)/(n₀p₀) (Katz et al. 1978). That one breaks down at rates of 0 and 1 and is too
    short nearby, so small tables get the MOVER-R interval built from the two Wilson intervals (Donner & Zou
    2012; compared with others by Fagerland, Lydersen & Laake 2015). `n` is the smaller of the two sample sizes.
    """
    n = min(n1, n0)
    if n == 0 or x0 == 0:
        return undefined(n)
    ratio = (x1 * n0) / (n1 * x0)
    if is_small(x1, n1, x0, n0):
        low, high = _mover_ratio_limits(x1, n1, x0, n0, confidence)
    else:
        half = z_quantile(confidence) * math.sqrt((n1 - x1) / (n1 * x1) + (n0 - x0) / (n0 * x0))
        low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Measure(value=ratio, low=low, high=high, n=n)


def is_small(x1: int, n1: int, x0: int, n0: int) -> bool:
    """Tell whether any of the four cells of a two-by-two table is below `SMALL_CELL`."""
    return min(x1, n1 - x1, x0, n0 - x0) < SMALL_CELL


def _mover_ratio_limits(x1: int, n1: int, x0: int, n0: int, confidence: float) -> tuple[float, float]:
    """Return MOVER-R limits of a ratio of proportions; `x0` > 0, so the lower limit of the second is above 0.

    With a = l₁(2p₁−l₁), b = u₀(2p₀−u₀), c = u₁(2p₁−u₁), d = l₀(2p₀−l₀):
    low = (p₁p₀ − √(p₁²p₀² − ab)) / b and high = (p₁p₀ + √(p₁²p₀² − cd)) / d. The lower one is written with the
    conjugate, because b passes through zero where u₀ = 2p₀.
    """
    p1, p0 = x1 / n1, x0 / n0
    l1, u1 = wilson_limits(x1, n1, confidence)
    l0, u0 = wilson_limits(x0, n0, confidence)
    product = p1 * p0
    a, b = l1 * (2 * p1 - l1), u0 * (2 * p0 - u0)
    c, d = u1 * (2 * p1 - u1), l0 * (2 * p0 - l0)
    low = a / (product + math.sqrt(max(0.0, product**2 - a * b))) if x1 else 0.0
    high = (product + math.sqrt(max(0.0, product**2 - c * d))) / d
    return min(low, p1 / p0), max(high, p1 / p0)


def mean_measure(mean: float, variance: float, n: int, confidence: float) -> Measure:
    """Return a mean with its Student t interval; `variance` is the unbiased one, of single records.

    One record has a value but no interval.
    """
    from scipy.stats import t

    if n == 0:
        return undefined(0)
    if n == 1:
        return Measure(value=mean, low=None, high=None, n=1)
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * math.sqrt(variance / n)
    return Measure(value=mean, low=mean - half, high=mean + half, n=n)
