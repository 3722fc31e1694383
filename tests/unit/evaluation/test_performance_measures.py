"""Performance against scikit-learn and scipy, and the intervals against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from aboveboard.evaluation.performance import assess_performance, auc, score_distribution
from aboveboard.evaluation.report import Measure, Performance
from tests.unit.evaluation.evaluation_cases import credit_judged


@pytest.fixture(scope="module")
def performance() -> Performance:
    judged = credit_judged()
    return assess_performance(judged.score, judged.favourable, judged.approved, confidence=0.95)


def test_values_equal_scikit_learn_and_scipy_on_real_data(performance: Performance) -> None:
    judged = credit_judged()
    score, good = judged.score, judged.favourable

    assert performance.auc.value == pytest.approx(roc_auc_score(good, score), abs=1e-12)
    assert performance.ks.value == pytest.approx(ks_2samp(score[good], score[~good]).statistic, abs=1e-12)
    assert performance.brier.value == pytest.approx(brier_score_loss(good, score), abs=1e-12)
    assert performance.average_precision.value == pytest.approx(average_precision_score(good, score), abs=1e-12)
    assert performance.favourable_rate.value == good.mean()
    assert performance.approval_rate.value == judged.approved.mean()


def test_values_hold_with_ties() -> None:
    generator = np.random.default_rng(11)
    score = generator.integers(0, 6, 300) / 6
    good = generator.random(300) < score
    performance = assess_performance(score, good, score > 0.5, confidence=0.95)

    assert performance.auc.value == pytest.approx(roc_auc_score(good, score), abs=1e-12)
    assert performance.ks.value == pytest.approx(ks_2samp(score[good], score[~good]).statistic, abs=1e-12)
    assert performance.average_precision.value == pytest.approx(average_precision_score(good, score), abs=1e-12)


def test_every_interval_holds_its_value(performance: Performance) -> None:
    for name in performance.__struct_fields__:
        measure: Measure = getattr(performance, name)
        assert measure.value is not None
        assert measure.low is not None
        assert measure.high is not None
        assert measure.low < measure.value < measure.high
        assert measure.high - measure.low < 0.06
        assert measure.n == 9000


def test_delong_variance_equals_its_definition() -> None:
    generator = np.random.default_rng(5)
    good = generator.random(80) < 0.4
    score = np.round(generator.normal(good * 0.8, 1.0), 1)  # with ties
    positive, negative = score[good], score[~good]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)

    measure = auc(score, good, 0.95)

    assert measure.value == pytest.approx(wins.mean(), abs=1e-12)
    assert measure.low == pytest.approx(wins.mean() - 1.959963985 * variance**0.5, abs=1e-9)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """A hundred samples of 300 from a population whose true figures come from 400,000 draws."""
    generator = np.random.default_rng(8)

    def draw(n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        score = generator.beta(4, 2, n)
        return score, generator.random(n) < score

    score, good = draw(400_000)
    truth = {
        "auc": roc_auc_score(good, score),
        "ks": ks_2samp(score[good], score[~good]).statistic,
        "average_precision": average_precision_score(good, score),
        "brier": brier_score_loss(good, score),
    }
    covered = dict.fromkeys(truth, 0)
    for seed in range(100):
        score, good = draw(300)
        performance = assess_performance(score, good, score > 0.7, confidence=0.9, seed=seed)
        for name, value in truth.items():
            measure: Measure = getattr(performance, name)
            covered[name] += (measure.low or 0) <= value <= (measure.high or 0)

    assert all(82 <= count <= 98 for count in covered.values()), covered


@pytest.mark.parametrize("outcome", [True, False])
def test_one_outcome_only_leaves_ranking_undefined(outcome: bool) -> None:
    good = np.full(50, outcome)
    performance = assess_performance(np.linspace(0.1, 0.9, 50), good, good, confidence=0.95)

    nothing = Measure(None, None, None, 50)
    assert (performance.auc, performance.ks, performance.average_precision) == (nothing, nothing, nothing)
    assert performance.favourable_rate.value == outcome


def test_perfect_separation_has_a_value_and_claims_no_interval() -> None:
    good = np.arange(40) >= 20

    assert auc(np.arange(40) / 40, good, 0.95) == Measure(1.0, None, None, 40)


def test_score_distribution_counts_everybody_once() -> None:
    judged = credit_judged()
    bins = score_distribution(judged.score, judged.favourable)

    assert sum(part.favourable for part in bins) == judged.favourable.sum()
    assert sum(part.favourable + part.unfavourable for part in bins) == 9000
    assert bins[0].low == 0
    assert bins[-1].high == 1
