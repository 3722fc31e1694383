"""Intervals against published examples, other implementations and exact coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from scipy.stats import t as student
from scipy.stats.contingency import relative_risk

from aboveboard.evaluation.intervals import (
    difference_measure,
    mean_measure,
    rate_measure,
    ratio_measure,
    wilson_limits,
    z_quantile,
)
from aboveboard.evaluation.report import Measure


@pytest.mark.parametrize(("x", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (81, 263), (263, 263), (5999, 9000)])
def test_wilson_equals_scipy(x: int, n: int) -> None:
    expected = binomtest(x, n).proportion_ci(confidence_level=0.9, method="wilson")

    assert wilson_limits(x, n, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_newcombe_1998_published_examples() -> None:
    # Table II of Newcombe (1998), method 10, contrasts (a), (e) and (h): 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/20.
    for counts, low, high in [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 20), 0.6791, 1.0),
    ]:
        measure = difference_measure(*counts, 0.95)
        assert measure.low == pytest.approx(low, abs=5e-5)
        assert measure.high == pytest.approx(high, abs=5e-5)


def test_a_trial_worked_through_in_the_literature() -> None:
    """7 of 34 against 1 of 34 (Perondi et al. 2004), as in Fagerland, Lydersen & Laake's chapter on the 2x2 table."""
    ratio = ratio_measure(7, 34, 1, 34, 0.95)
    difference = difference_measure(7, 34, 1, 34, 0.95)

    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.1537, 7.0, 41.9763), abs=5e-5)
    assert (difference.low, difference.value, difference.high) == pytest.approx((0.0189, 0.1765, 0.3404), abs=5e-5)


def test_log_ratio_interval_equals_scipy() -> None:
    measure = ratio_measure(300, 500, 700, 1000, 0.95)
    expected = relative_risk(300, 500, 700, 1000)
    interval = expected.confidence_interval(0.95)

    assert measure.value == pytest.approx(expected.relative_risk, abs=1e-12)
    assert (measure.low, measure.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert measure.n == 500


@pytest.mark.parametrize(
    ("n1", "n0", "p1", "p0"),
    list(itertools.product([8, 15, 30], [15, 40], [0.05, 0.4, 0.97], [0.5, 0.95])),
)
def test_ratio_interval_covers_the_truth_even_in_small_samples(n1: int, n0: int, p1: float, p0: float) -> None:
    """Exact coverage, every pair of counts enumerated: near 95 %, also where the plain log interval fails."""
    truth, covered, defined = p1 / p0, 0.0, 0.0
    for x1, x0 in itertools.product(range(n1 + 1), range(1, n0 + 1)):
        probability = binom.pmf(x1, n1, p1) * binom.pmf(x0, n0, p0)
        measure = ratio_measure(x1, n1, x0, n0, 0.95)
        assert measure.low is not None
        assert measure.high is not None
        defined += probability
        covered += probability * (measure.low <= truth <= measure.high)

    assert covered / defined > 0.92


def test_ratio_at_the_edges_is_defined_or_says_it_is_not() -> None:
    nobody_approved = ratio_measure(0, 12, 30, 40, 0.95)
    everybody_approved = ratio_measure(12, 12, 40, 40, 0.95)

    assert nobody_approved.value == nobody_approved.low == 0
    assert nobody_approved.high is not None
    assert 0 < nobody_approved.high < 0.5
    assert everybody_approved.value == 1
    assert everybody_approved.low is not None
    assert everybody_approved.low < 0.9  # the plain log interval would claim certainty: [1, 1]
    assert ratio_measure(3, 10, 0, 40, 0.95) == Measure(None, None, None, 10)
    assert ratio_measure(0, 0, 30, 40, 0.95) == Measure(None, None, None, 0)


def test_what_rests_on_nobody_is_undefined() -> None:
    nothing = Measure(None, None, None, 0)

    assert rate_measure(0, 0, 0.95) == nothing
    assert difference_measure(0, 0, 4, 9, 0.95) == nothing
    assert mean_measure(0.0, 0.0, 0, 0.95) == nothing


def test_mean_interval_is_students() -> None:
    values = np.random.default_rng(3).normal(2.0, 3.0, 25)
    low, high = student.interval(0.95, 24, values.mean(), values.std(ddof=1) / math.sqrt(25))

    measure = mean_measure(float(values.mean()), float(values.var(ddof=1)), 25, 0.95)

    assert (measure.low, measure.value, measure.high) == pytest.approx((low, values.mean(), high))
    assert mean_measure(2.5, 0.0, 1, 0.95) == Measure(2.5, None, None, 1)


def test_z_quantile() -> None:
    assert z_quantile(0.95) == pytest.approx(1.959963984540054, abs=1e-12)
