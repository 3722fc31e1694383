from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.audit import events
from aboveboard.audit.record import decode_record, encode_record
from aboveboard.models import Model
from aboveboard.models.recourse import RecourseSearch
from aboveboard.serving.alternatives import NOT_IN_TIME, Alternatives, alternatives, as_recorded, as_told
from aboveboard.serving.decide import decide
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.spec.types import Family
from tests.unit.models import synthetic_case
from tests.unit.serving.conftest import DIGEST


def adverse(model: Model, rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [row for row in rows[:200] if decide(model, row, locale="en").reasons]


def record(model: Model, row: NDArray[np.float64], told: Alternatives) -> events.Decision:
    decision = decide(model, row, locale="de-AT")
    return events.Decision(
        time="2026-11-21T09:30:00.000Z",
        decision_id="dec-" + "0" * 26,
        subject="sub-1",
        model="credit-default",
        release=DIGEST,
        track="champion",
        jurisdiction="eu",
        locale="de-AT",
        features=model.encoding.decode(row),
        cohort=None,
        score=decision.score,
        outcome=decision.outcome,
        reasons=[reason.code for reason in decision.reasons],
        alternatives=as_recorded(told),
    )


@pytest.mark.parametrize("family", Family)
def test_what_was_told_is_told_again_word_for_word_from_the_record(family: Family) -> None:
    text = synthetic_case.SPEC.replace("family: lightgbm", f"family: {family.value}")
    for name, recourse in (
        ("income", "{change: increase, step: 250, most: 1000}"),
        ("late", "{change: decrease, most: 2, counterOffer: true}"),
        ("home", "{change: either}"),
        ("noise", "{change: either, step: 0.5, most: 1}"),
    ):
        text = text.replace(f"name: {name}, ", f"name: {name}, recourse: {recourse}, ")
    files = {f"model/{name}": content for name, content in synthetic_case.fitted(family).files().items()}
    deployment = deploy(DIGEST, {"model.yaml": text.encode(), **files})
    sizes, kinds = set(), set()
    for row in adverse(deployment.model, synthetic_case.rows()):
        told = alternatives(deployment, row, "de-AT")
        read = decode_record(encode_record(record(deployment.model, row, told)))
        assert isinstance(read, events.Decision)
        assert isinstance(read.alternatives, events.ToldAlternatives)
        again = as_told(read.alternatives, read.features, deployment.model, read.locale)
        assert msgspec.json.encode(again) == msgspec.json.encode(told)
        ways = [*(told.recourse or ()), *(told.counter_offers or ())]
        sizes |= {len(way.changes) for way in ways}
        kinds |= {type(change.to) for way in ways for change in way.changes}
    assert sizes == {1, 2}
    assert kinds == {int, float, str}


def test_what_is_declared_by_nobody_and_what_came_too_late_are_kept_apart(
    changeable: Deployment, model: Model, rows: NDArray[np.float64]
) -> None:
    row = adverse(model, rows)[0]
    silent = msgspec.structs.replace(alternatives(changeable, row, "en"), counter_offers=None)
    for told in (silent, NOT_IN_TIME, Alternatives(in_time=True, recourse=[], counter_offers=None)):
        read = decode_record(encode_record(record(model, row, told)))
        assert isinstance(read, events.Decision)
        assert isinstance(read.alternatives, events.ToldAlternatives)
        assert as_told(read.alternatives, read.features, model, "en") == told


def test_the_record_of_who_asked_for_nothing_is_what_it_was(model: Model, rows: NDArray[np.float64]) -> None:
    asked = record(model, rows[0], NOT_IN_TIME)
    silent = msgspec.structs.replace(asked, alternatives=msgspec.UNSET)
    assert b"alternatives" in encode_record(asked)
    assert b"alternatives" not in encode_record(silent)
    assert decode_record(encode_record(silent)) == silent


def test_a_search_ends_where_its_pause_says_so(
    changeable: Deployment, model: Model, rows: NDArray[np.float64]
) -> None:
    class Enough(Exception):
        pass

    row, steps = adverse(model, rows)[0], 0

    def count() -> None:
        nonlocal steps
        steps += 1

    whole = alternatives(changeable, row, "en", count)
    assert whole == alternatives(changeable, row, "en")
    assert steps >= 4
    for last in (1, steps // 2, steps):
        left = last

        def until_then() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Enough

        with pytest.raises(Enough):
            alternatives(changeable, row, "en", until_then)
    assert isinstance(changeable.recourse, RecourseSearch)
    assert alternatives(changeable, row, "en") == whole  # nothing half-done was kept
