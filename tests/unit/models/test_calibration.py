"""Probabilities mean what they say, in the order the model gave them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from aboveboard.errors import DataRefused, NotVerified
from aboveboard.models import Model
from aboveboard.models.calibration import Calibration
from aboveboard.models.calibration_fit import fit_calibration
from tests.unit.models.credit_case import CreditCase


def test_the_fit_is_the_maximum_of_the_likelihood() -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(1.0, 2.0, 20_000)
    favourable = rng.random(20_000) < 1 / (1 + np.exp(-(0.6 * margin - 0.4)))
    found = fit_calibration(margin, favourable)
    expected = LogisticRegression(C=1e12, tol=1e-12).fit(margin.reshape(-1, 1), favourable)
    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=2e-3)
    assert found.intercept == pytest.approx(expected.intercept_[0], abs=2e-3)
    assert found.slope == pytest.approx(0.6, abs=0.02)


def test_a_perfectly_separated_sample_is_not_believed_without_limit() -> None:
    margin = np.array([-2.0, -1.0, 1.0, 2.0])
    found = fit_calibration(margin, margin > 0)
    assert 0.5 < float(found.apply(np.array([2.0]))[0]) < 0.95


def test_extreme_margins_do_not_overflow() -> None:
    scores = Calibration(1.0, 0.0).apply(np.array([-1e6, 0.0, 1e6]))
    assert scores.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (1.0, np.inf)])
def test_a_calibration_that_is_not_increasing_is_refused(slope: float, intercept: float) -> None:
    with pytest.raises(NotVerified):
        Calibration(slope, intercept)


def test_a_model_that_ranks_backwards_is_refused() -> None:
    rng = np.random.default_rng(2)
    margin = rng.normal(size=500)
    with pytest.raises(DataRefused, match="does not fit the model") as refused:
        fit_calibration(margin, margin < rng.normal(size=500))
    assert "no better than chance" in str(refused.value.problems[0])


def test_one_outcome_only_is_refused() -> None:
    with pytest.raises(DataRefused):
        fit_calibration(np.zeros(5), np.ones(5, np.bool_))


def test_a_constant_margin_is_refused() -> None:
    with pytest.raises(DataRefused):
        fit_calibration(np.zeros(100), np.arange(100) % 2 == 0)


def test_scores_of_real_clients_are_calibrated_and_keep_their_order(credit: CreditCase, model: Model) -> None:
    rows, favourable = credit.rows[credit.holdout], credit.favourable[credit.holdout]
    score = model.score(rows)
    assert expected_calibration_error(score, favourable) < 0.03
    margin = model.margin(rows)
    assert (np.diff(score[np.argsort(margin)]) >= 0).all()


def expected_calibration_error(score: NDArray[np.float64], favourable: NDArray[np.bool_]) -> float:
    bands = np.array_split(np.argsort(score, kind="stable"), 10)
    return float(sum(len(b) * abs(score[b].mean() - favourable[b].mean()) for b in bands) / len(score))
