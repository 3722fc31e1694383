"""What holds for every family, on applicants with categories, truth values and gaps."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.errors import DataRefused, Misuse, RequestRefused
from aboveboard.models import Model, load_model
from aboveboard.models.fit import fit_model
from aboveboard.spec.types import Family, ReferenceConvention
from tests.unit.models.synthetic_case import TREES, applicants, fitted, rows, spec

EVERY = pytest.mark.parametrize("family", list(Family))


def by_definition(model: Model, row: NDArray[np.float64]) -> list[float]:
    """Return the Shapley value of each feature, over all coalitions, from margins alone."""
    owner, reference = model.encoding.owner, model.reference()
    players = range(len(model.encoding.features))
    coalitions = [part for size in range(len(players) + 1) for part in itertools.combinations(players, size)]
    hybrids = np.stack([np.where(np.isin(owner, part), row, reference) for part in coalitions])
    worth = dict(zip(coalitions, model.margin(hybrids), strict=True))
    count = len(players)
    return [
        sum(
            factorial(len(part)) * factorial(count - len(part) - 1) / factorial(count)
            * (worth[tuple(sorted((*part, player)))] - worth[part])
            for part in coalitions
            if player not in part
        )
        for player in players
    ]  # fmt: skip


@EVERY
def test_contributions_are_shapley_values_by_definition(family: Family) -> None:
    model = fitted(family)
    first = [model.encoding.columns_of(index).start for index in range(len(model.encoding.features))]
    for row in rows()[:60]:
        values = model.attribute(row.reshape(1, -1))[0]
        assert values[first] == pytest.approx(by_definition(model, row), abs=1e-9)
        assert np.count_nonzero(np.delete(values, first)) == 0


@EVERY
def test_contributions_add_up(family: Family) -> None:
    model = fitted(family)
    for convention in ReferenceConvention:
        total = model.attribute(rows(), convention).sum(axis=1)
        difference = model.margin(rows()) - model.margin(model.reference(convention).reshape(1, -1))
        assert np.abs(total - difference).max() < 1e-9


@EVERY
def test_one_row_scores_as_in_a_batch(family: Family) -> None:
    model = fitted(family)
    alone = [model.score(row.reshape(1, -1))[0] for row in rows()[:500]]
    assert np.array_equal(alone, model.score(rows()[:500]))


@EVERY
def test_threads_do_not_disturb_each_other(family: Family) -> None:
    model = fitted(family)
    part = rows()[:400]
    expected = [(model.score(row.reshape(1, -1))[0], model.reasons(row)) for row in part]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: (model.score(row.reshape(1, -1))[0], model.reasons(row)), part))
    assert found == expected


@EVERY
def test_the_score_moves_only_in_declared_directions(family: Family) -> None:
    model = fitted(family)
    part = rows()[:500]
    before = model.margin(part)
    for column, sign in enumerate(model.encoding.monotonic):
        for step in (0.5, 1, 700) if sign else ():
            changed = part.copy()
            changed[:, column] += step
            moved = sign * (model.margin(changed) - before)
            assert (moved[~np.isnan(part[:, column])] >= -1e-12).all()


@EVERY
def test_files_round_trip_and_are_the_same_each_time(family: Family) -> None:
    model = fitted(family)
    loaded = load_model(model.files())
    assert loaded.files() == model.files()
    assert loaded.family is family
    assert np.array_equal(loaded.margin(rows()), model.margin(rows()))
    favourable = applicants()[1]
    again = fit_model(
        spec(family), rows()[:2000], favourable[:2000], rows()[2000:], favourable[2000:],
        TREES if family is Family.LIGHTGBM else {}, seed=1,
    )  # fmt: skip
    assert again.files() == model.files()


@EVERY
def test_the_words_are_those_of_the_purpose(family: Family) -> None:
    model = fitted(family)
    assert [model.outcome(score) for score in (0.7, 0.5, 0.3)] == ["allow", "challenge", "block"]


@EVERY
def test_rows_of_another_width_are_refused(family: Family) -> None:
    model = fitted(family)
    for wrong in (rows()[:1, :-1], rows()[:5, :-1], rows()[0]):
        with pytest.raises(RequestRefused):
            model.margin(wrong)
        with pytest.raises(RequestRefused):
            model.attribute(wrong)


@EVERY
def test_no_rows_give_no_scores(family: Family) -> None:
    model = fitted(family)
    assert model.score(rows()[:0]).shape == (0,)
    assert model.attribute(rows()[:0]).shape == (0, model.encoding.width)


@EVERY
def test_rows_in_any_memory_order_score_the_same(family: Family) -> None:
    model = fitted(family)
    strided = np.asfortranarray(rows())[::3]
    assert np.array_equal(model.margin(strided), model.margin(rows())[::3])
    assert np.array_equal(model.attribute(strided), model.attribute(rows())[::3])


@EVERY
def test_a_sample_with_one_outcome_makes_no_model(family: Family) -> None:
    favourable = applicants()[1]
    with pytest.raises(DataRefused, match="one outcome only") as refused:
        fit_model(spec(family), rows()[:2000], np.ones(2000, np.bool_), rows()[2000:], favourable[2000:], {}, seed=1)
    assert "2000 of 2000" in str(refused.value.problems[0])


@EVERY
def test_a_parameter_nobody_knows_is_refused_with_a_suggestion(family: Family) -> None:
    favourable = applicants()[1]
    misspelt = "num_leafs" if family is Family.LIGHTGBM else "max_bin"
    with pytest.raises(Misuse) as refused:
        fit_model(
            spec(family), rows()[:2000], favourable[:2000], rows()[2000:], favourable[2000:], {misspelt: 7}, seed=1
        )
    assert refused.value.hint in ("did you mean num_leaves?", "did you mean max_bins?")


@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        (Family.LIGHTGBM, {"num_leaves": 1}),
        (Family.LIGHTGBM, {"num_leaves": "many"}),
        (Family.LIGHTGBM, {"max_depth": "deep"}),
        (Family.LIGHTGBM, {"n_estimators": 0}),
        (Family.LIGHTGBM, {"learning_rate": -1}),
        (Family.SCORECARD, {"max_bins": 1}),
        (Family.SCORECARD, {"l2": "much"}),
        (Family.SCORECARD, {"min_bin_share": True}),
    ],
)
def test_a_parameter_out_of_range_is_refused(family: Family, parameters: dict[str, int | str]) -> None:
    favourable = applicants()[1]
    with pytest.raises(Misuse):
        fit_model(
            spec(family), rows()[:2000], favourable[:2000], rows()[2000:], favourable[2000:], parameters, seed=1
        )


def test_outcomes_that_do_not_go_with_the_rows_are_misuse() -> None:
    favourable = applicants()[1]
    with pytest.raises(Misuse, match="do not go together"):
        fit_model(spec(Family.LIGHTGBM), rows()[:10], favourable[:9], rows(), favourable, {}, seed=1)
