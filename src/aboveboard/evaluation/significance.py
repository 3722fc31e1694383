"""Tests of equal rates, and the correction for having looked at many groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aboveboard.evaluation.intervals import is_small


def equal_rates_p_value(x1: int, n1: int, x0: int, n0: int) -> float | None:
    """Return the two-sided p-value of equal rates, None where a side is empty.

    Fisher's exact test where a cell of the two-by-two table is small, the two-proportion z test with pooled
    variance (Pearson's chi-squared without continuity correction) otherwise.
    """
    if n1 == 0 or n0 == 0:
        return None
    if is_small(x1, n1, x0, n0):
        from scipy.stats import fisher_exact

        return min(1.0, float(fisher_exact([[x1, n1 - x1], [x0, n0 - x0]]).pvalue))
    pooled = (x1 + x0) / (n1 + n0)
    z = (x1 / n1 - x0 / n0) / math.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return math.erfc(abs(z) / math.sqrt(2))  # = 2 Φ(−|z|), without losing the digits of a small one


def adjust_for_many(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values after Benjamini & Hochberg (1995), in the same order; those that are None stay None.

    Calling significant what is at most q keeps the expected share of false alarms among alarms at most q.
    """
    from scipy.stats import false_discovery_control

    known = [p for p in p_values if p is not None]
    adjusted = iter(false_discovery_control(known).tolist() if known else [])
    return [None if p is None else float(next(adjusted)) for p in p_values]
