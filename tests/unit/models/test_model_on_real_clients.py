"""One fitted model on real clients: it adds up, obeys its directions, survives its files and explains itself."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from aboveboard.models import Model, load_model
from aboveboard.models.lightgbm_trees import LightGBMTrees
from aboveboard.models.shapley import HAS_KERNEL, kernel_forest, numpy_forest
from aboveboard.spec.types import ReferenceConvention
from tests.unit.models.credit_case import SMALL, CreditCase


def test_contributions_add_up_on_thousands_of_clients(credit: CreditCase, model: Model) -> None:
    rows = credit.rows[credit.holdout[:5000]]
    for convention in ReferenceConvention:
        total = model.attribute(rows, convention).sum(axis=1)
        difference = model.margin(rows) - model.margin(model.reference(convention).reshape(1, -1))
        assert np.abs(total - difference).max() < 1e-9


@pytest.mark.skipif(not HAS_KERNEL, reason="the C kernel is not built here")
def test_the_kernel_and_its_numpy_twin_agree_on_clients(credit: CreditCase, model: Model) -> None:
    assert isinstance(model.predictor, LightGBMTrees)
    rows, owner = credit.rows[credit.holdout[:200]], credit.encoding.owner
    outs = []
    for prepare in (kernel_forest, numpy_forest):
        outs.append(np.zeros(rows.shape))
        prepare(model.predictor.trees, model.reference(), owner).attribute(rows, outs[-1])
    assert np.abs(outs[0] - outs[1]).max() < 1e-12
    assert np.abs(outs[0]).max() > 0.1


def test_margins_are_lightgbms_own_alone_and_in_a_batch(credit: CreditCase, model: Model) -> None:
    rows = credit.rows[credit.holdout[:2000]]
    booster = lightgbm.Booster(model_str=model.files()["trees.txt"].decode())
    expected = booster.predict(rows, raw_score=True)
    assert np.array_equal(model.margin(rows), expected)
    assert np.array_equal([model.margin(row.reshape(1, -1))[0] for row in rows], expected)


def test_scores_obey_the_declared_directions(credit: CreditCase, model: Model) -> None:
    rows = credit.rows[credit.holdout[:300]]
    before = model.margin(rows)
    for column, sign in enumerate(model.encoding.monotonic):
        if not sign:
            continue
        feature = model.encoding.features[column]
        for step in (1, 3, 500, 50_000):
            changed = rows.copy()
            changed[:, column] = np.minimum(changed[:, column] + step, feature.high)
            assert (sign * (model.margin(changed) - before) >= -1e-12).all(), feature.name


def test_the_same_data_and_seed_give_the_same_files(credit: CreditCase, model: Model) -> None:
    bagged = {**SMALL, "subsample": 0.5, "subsample_freq": 1}
    assert credit.fit().files() == model.files()
    assert credit.fit(bagged, seed=2).files() == credit.fit(bagged, seed=2).files() != credit.fit(bagged).files()


def test_a_model_survives_its_files(credit: CreditCase, model: Model) -> None:
    loaded = load_model(model.files())
    rows = credit.rows[credit.holdout[:500]]
    assert loaded.files() == model.files()
    assert np.array_equal(loaded.score(rows), model.score(rows))
    assert np.array_equal(loaded.attribute(rows[:20]), model.attribute(rows[:20]))
    assert loaded.reasons(rows[0], "de") == model.reasons(rows[0], "de")


def test_everyone_declined_is_told_why(credit: CreditCase, model: Model) -> None:
    rows = credit.rows[credit.holdout[:3000]]
    declined = rows[model.score(rows) < model.refer_at]
    assert len(declined) > 200
    for row in declined:
        reasons = model.reasons(row, "zh-Hant-TW")
        assert 1 <= len(reasons) <= 4
        assert all(reason.contribution < 0 for reason in reasons)
        assert [r.contribution for r in reasons] == sorted(r.contribution for r in reasons)
        assert len({reason.text for reason in reasons}) == len(reasons)


def test_reasons_are_the_largest_merged_contributions(credit: CreditCase, model: Model) -> None:
    rows = credit.rows[credit.holdout[:200]]
    by_code = model.by_reason(model.attribute(rows))
    for row, merged in zip(rows, by_code, strict=True):
        lowest = sorted(value for value in merged if value < -1e-9)[:4]
        assert [reason.contribution for reason in model.reasons(row)] == pytest.approx(lowest, abs=1e-12)


def test_the_words_for_outcomes_follow_the_cut_offs(model: Model) -> None:
    scores = [model.approve_at, model.approve_at - 1e-9, model.refer_at, model.refer_at - 1e-9]
    assert [model.outcome(score) for score in scores] == ["approve", "refer", "refer", "decline"]
    assert model.outcomes == ("approve", "refer", "decline")
