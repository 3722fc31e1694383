"""What would have changed the outcome, on fitted models: exhaustive search agrees, and no rule is broken."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.models import Model
from aboveboard.models.recourse import Recourse, RecourseSearch
from aboveboard.spec.recourse import Recourse as Rule
from aboveboard.spec.types import Family
from tests.unit.models.synthetic_case import fitted, rows

RULES = {
    "income": Rule.model_validate({"change": "increase", "step": 250, "most": 1000}),
    "late": Rule.model_validate({"change": "decrease", "most": 2}),
    "home": Rule.model_validate({"change": "either"}),
    "noise": Rule.model_validate({"change": "either", "step": 0.5, "most": 1}),
}
BY_HAND: dict[str, Callable[[Any], list[tuple[Any, float]]]] = {
    "income": lambda own: [(k * 250.0, (k * 250 - own) / 1000) for k in range(200) if own < k * 250 <= own + 1000],
    "late": lambda own: [(value, (own - value) / 2) for value in range(own) if own - value <= 2],
    "home": lambda own: [(value, 1.0) for value in ("own", "rent", "family", "street") if value != own],
    "noise": lambda own: [
        (k * 0.5, abs(k * 0.5 - own)) for k in range(-20, 20) if k * 0.5 != own and abs(k * 0.5 - own) <= 1
    ],
}


def refused(model: Model, count: int) -> list[NDArray[np.float64]]:
    adverse = rows()[model.score(rows()) < model.approve_at]
    return list(adverse[:: len(adverse) // count][:count])


def everything(model: Model, record: dict[str, Any]) -> dict[tuple[str, ...], float]:
    """Return the least distance at which each one or two features lead to approval, by scoring every combination."""
    options = {name: values(record[name]) for name, values in BY_HAND.items() if record[name] is not None}
    least: dict[tuple[str, ...], float] = {}
    for count in (1, 2):
        for names in itertools.combinations(options, count):
            chosen = [*itertools.product(*(options[name] for name in names))]
            changed = [{**record, **{n: o[0] for n, o in zip(names, one, strict=True)}} for one in chosen]
            if not changed:
                continue
            scores = model.score(np.array([model.encoding.encode(one) for one in changed]))
            near = [sum(o[1] for o in one) for one, s in zip(chosen, scores, strict=True) if s >= model.approve_at]
            if near and not any(set(names) > set(fewer) for fewer in least):
                least[names] = min(near)
    return least


def distance(recourse: Recourse) -> float:
    return float(sum(dict(BY_HAND[change.feature](change.from_))[change.to] for change in recourse.changes))


@pytest.mark.parametrize("family", Family)
def test_an_exhaustive_search_finds_the_same(family: Family) -> None:
    model = fitted(family)
    search = RecourseSearch(model, RULES)
    sizes: dict[int, int] = {0: 0, 1: 0, 2: 0}
    for row in refused(model, 40):
        least = everything(model, model.encoding.decode(row))
        found = search.recourses(row)
        for recourse in found:
            names = tuple(change.feature for change in recourse.changes)
            assert distance(recourse) == pytest.approx(least[names], abs=1e-9)
        nearest = min(((len(names), far) for names, far in least.items()), default=None)
        assert bool(found) == bool(least)
        sizes[len(found[0].changes) if found else 0] += 1
        if nearest is not None:
            assert len(found[0].changes) == nearest[0]
            assert distance(found[0]) == pytest.approx(nearest[1], abs=1e-9)
    assert min(sizes.values()) >= 2, sizes  # none, one and two features: each was put to the test


@pytest.mark.parametrize("family", Family)
def test_what_is_proposed_is_approved(family: Family) -> None:
    model = fitted(family)
    search = RecourseSearch(model, RULES)
    for row in refused(model, 60):
        record = model.encoding.decode(row)
        for recourse in search.recourses(row):
            changed = {**record, **{change.feature: change.to for change in recourse.changes}}
            score = float(model.score(model.encoding.encode(changed)[None, :])[0])
            assert score == recourse.score >= model.approve_at
            assert {change.feature for change in recourse.changes} <= set(RULES)  # `employed` is not to be changed


def test_the_same_row_gets_the_same_answer() -> None:
    model = fitted(Family.LIGHTGBM)
    for row in refused(model, 10):
        assert RecourseSearch(model, RULES).recourses(row) == RecourseSearch(model, RULES).recourses(row)


def test_who_is_approved_is_told_nothing() -> None:
    model = fitted(Family.SCORECARD)
    approved = rows()[model.score(rows()) >= model.approve_at]
    search = RecourseSearch(model, RULES)
    assert all(search.recourses(row) == [] for row in approved[:20])


def test_a_term_of_the_application_is_a_counter_offer_and_no_recourse() -> None:
    model = fitted(Family.SCORECARD)
    terms = {"late": Rule.model_validate({"change": "decrease", "counterOffer": True})}
    search = RecourseSearch(model, terms)
    assert search.negotiable
    assert not search.declared
    offers = [(row, offer) for row in refused(model, 60) for offer in search.counter_offers(row)]
    assert offers
    for row, offer in offers:
        assert search.recourses(row) == []
        record = model.encoding.decode(row)
        ((feature, to),) = [(change.feature, change.to) for change in offer.changes]
        assert feature == "late"
        assert isinstance(to, int)
        # The largest that is approved: one more would not be.
        more = model.encoding.encode({**record, "late": to + 1})
        assert float(model.score(more[None, :])[0]) < model.approve_at


def test_many_pairs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(Family.LIGHTGBM)
    monkeypatch.setattr("aboveboard.models.recourse.MOST_CELLS", 0)
    search = RecourseSearch(model, RULES)
    found = [recourse for row in refused(model, 40) for recourse in search.recourses(row)]
    assert found
    assert all(len(recourse.changes) == 1 for recourse in found)
