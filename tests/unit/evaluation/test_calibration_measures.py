"""Calibration by its definition, against scikit-learn, and the interval against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from aboveboard.evaluation.calibration import (
    assess_calibration,
    calibration_error,
    equal_count_bands,
    logistic_recalibration,
)
from aboveboard.evaluation.report import Measure
from tests.unit.evaluation.evaluation_cases import credit_judged


def test_bands_equal_scikit_learns_calibration_curve_on_real_data() -> None:
    judged = credit_judged()
    rates, means = calibration_curve(judged.favourable, judged.score, n_bins=10, strategy="quantile")

    bands = equal_count_bands(judged.score, judged.favourable)

    assert bands.n.sum() == 9000
    # scikit-learn interpolates the cut points; a record at a cut may fall on the other side.
    assert bands.favourable_rate == pytest.approx(rates, abs=2e-3)
    assert bands.mean_score == pytest.approx(means, abs=2e-3)


def test_error_is_the_weighted_mean_gap() -> None:
    calibration = assess_calibration(credit_judged().score, credit_judged().favourable, confidence=0.95)
    gaps = [band.n * abs(band.favourable_rate - band.mean_score) for band in calibration.bands]

    assert calibration.error.value == pytest.approx(sum(gaps) / 9000, abs=1e-12)
    assert calibration.error.low is not None
    assert calibration.error.high is not None
    assert calibration.error.low <= sum(gaps) / 9000 <= calibration.error.high


def test_few_distinct_scores_and_few_records_give_fewer_bands() -> None:
    three_scores = np.repeat([0.2, 0.5, 0.8], 100)
    good = np.arange(300) % 2 == 0

    assert equal_count_bands(three_scores, good).n.tolist() == [100, 100, 100]
    assert len(equal_count_bands(np.linspace(0, 1, 65), good[:65]).n) == 2
    assert equal_count_bands(np.array([0.4]), good[:1]).n.tolist() == [1]


@pytest.mark.parametrize(("n", "shift"), [(200, 0.0), (2000, 0.0), (2000, 0.08)])
def test_interval_covers_the_truth_about_as_often_as_it_says_or_more_often(n: int, shift: float) -> None:
    """Also for a perfectly calibrated score, where a bootstrap interval lies wholly above the truth of zero."""
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        score = generator.uniform(0.1, 0.9, n)
        good = generator.random(n) < score + shift
        measure = calibration_error(score, good, confidence=0.9)
        covered += (measure.low or 0.0) <= shift <= (measure.high or 0.0)

    assert covered >= 0.87 * 400


def test_recalibration_finds_the_distortion_of_log_odds() -> None:
    generator = np.random.default_rng(6)
    log_odds = generator.normal(0.5, 1.5, 60_000)
    good = generator.random(60_000) < 1 / (1 + np.exp(-log_odds))
    exaggerated = 1 / (1 + np.exp(-(2.0 * log_odds + 0.6)))  # truth = (x - 0.6) / 2

    slope, intercept = logistic_recalibration(exaggerated, good)

    assert slope == pytest.approx(0.5, abs=0.02)
    assert intercept == pytest.approx(-0.3, abs=0.03)


@pytest.mark.parametrize(
    ("score", "good"),
    [
        ([0.2, 0.4, 0.6, 0.8], [False, False, True, True]),
        ([0.2, 0.4, 0.6, 0.8], [True, True, True, True]),
        ([0.5, 0.5, 0.5, 0.5], [True, False, True, False]),
    ],
)
def test_recalibration_without_a_solution_says_so(score: list[float], good: list[bool]) -> None:
    assert logistic_recalibration(np.array(score), np.array(good)) == (None, None)


def test_nobody_has_no_calibration() -> None:
    nobody = assess_calibration(np.zeros(0), np.zeros(0, dtype=np.bool_), confidence=0.95)

    assert nobody.error == Measure(None, None, None, 0)
    assert nobody.bands == []
