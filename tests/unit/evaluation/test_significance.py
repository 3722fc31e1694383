"""P-values against scipy's own tests, and the correction for many groups against its definition."""

from __future__ import annotations

import pytest
from scipy.stats import chi2_contingency, fisher_exact

from aboveboard.evaluation.significance import adjust_for_many, equal_rates_p_value


def test_large_tables_use_the_z_test() -> None:
    table = [[300, 200], [700, 300]]

    expected = chi2_contingency(table, correction=False).pvalue

    assert equal_rates_p_value(300, 500, 700, 1000) == pytest.approx(expected, rel=1e-9)


def test_a_very_small_p_value_keeps_its_digits() -> None:
    expected = chi2_contingency([[500, 1500], [1400, 600]], correction=False).pvalue

    assert 0 < expected < 1e-100
    assert equal_rates_p_value(500, 2000, 1400, 2000) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("x1", "n1", "x0", "n0"), [(1, 9, 30, 40), (0, 3, 0, 5), (6, 6, 40, 40), (4, 50, 30, 60)])
def test_small_tables_use_fishers_exact_test(x1: int, n1: int, x0: int, n0: int) -> None:
    expected = fisher_exact([[x1, n1 - x1], [x0, n0 - x0]]).pvalue

    assert equal_rates_p_value(x1, n1, x0, n0) == pytest.approx(expected)


def test_nobody_to_compare_gives_no_p_value() -> None:
    assert equal_rates_p_value(0, 0, 5, 9) is None
    assert equal_rates_p_value(5, 9, 0, 0) is None


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted: 0.001 x 4/1, 0.02 x 4/2, 0.03 x 4/3 and 0.5 x 4/4; then the running minimum from the largest down.
    assert adjust_for_many([0.03, None, 0.001, 0.5, 0.02]) == [
        pytest.approx(0.04),
        None,
        pytest.approx(0.004),
        pytest.approx(0.5),
        pytest.approx(0.04),
    ]
    assert adjust_for_many([None, None]) == [None, None]
