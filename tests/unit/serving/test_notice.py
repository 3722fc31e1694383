from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.audit import events
from aboveboard.errors import Conflict
from aboveboard.models import Model
from aboveboard.serving.decide import decide, score_of
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.serving.notice import notice_page, write_notice
from aboveboard.serving.wording import WORDS
from tests.unit.serving.conftest import DIGEST, without_recourse


@pytest.fixture(scope="module")
def deployment(release_files: dict[str, bytes]) -> Deployment:
    return deploy(DIGEST, release_files)


def record(model: Model, row: NDArray[np.float64]) -> events.Decision:
    decision = decide(model, row, locale="en")
    return events.Decision(
        time="2026-11-21T09:30:00.000Z",
        decision_id="dec-" + "0" * 26,
        subject="sub-1",
        model="credit-default",
        release=DIGEST,
        track="champion",
        jurisdiction="us",
        locale="en",
        features=model.encoding.decode(row),
        cohort=None,
        score=decision.score,
        outcome=decision.outcome,
        reasons=[reason.code for reason in decision.reasons],
    )


def adverse(model: Model, rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [row for row in rows[:300] if score_of(model, row) < model.approve_at]


def test_the_reasons_are_those_of_the_decision(
    deployment: Deployment, model: Model, rows: NDArray[np.float64]
) -> None:
    for row in adverse(model, rows):
        decision = record(model, row)
        notice = write_notice(decision, deployment, "en")
        assert [reason.code for reason in notice.principal_reasons] == decision.reasons
        assert 1 <= len(notice.key_factors) <= 4
        assert notice.data_used == decision.features
        assert notice.human_review == "credit-review@bank.example"


def test_the_changes_it_names_do_change_the_outcome_and_none_is_idle(
    deployment: Deployment, model: Model, rows: NDArray[np.float64]
) -> None:
    sizes = set()
    for row in adverse(model, rows):
        decision = record(model, row)
        changes = write_notice(decision, deployment, "en").would_have_changed_the_outcome
        changed = dict(decision.features)
        for change in changes:
            changed.update(change.values)
        assert score_of(model, model.encoding.encode(changed)) >= model.approve_at
        without_last = dict(decision.features)
        for change in changes[:-1]:
            without_last.update(change.values)
        assert score_of(model, model.encoding.encode(without_last)) < model.approve_at
        sizes.add(len(changes))
    assert 1 in sizes


@pytest.mark.parametrize(("locale", "language"), [("en", "en"), ("de-AT", "de"), ("fr", "en")])
def test_a_page_holds_all_of_it_in_the_language(
    deployment: Deployment, model: Model, rows: NDArray[np.float64], locale: str, language: str
) -> None:
    notice = write_notice(record(model, adverse(model, rows)[0]), deployment, locale)
    page = notice_page(notice)
    assert f'<html lang="{language}">' in page
    assert all(reason.text in page for reason in notice.principal_reasons)
    assert WORDS[language]["changed"] in page
    assert "http" not in page.replace("http-equiv", "")  # self-contained


def test_a_page_escapes_what_it_shows(deployment: Deployment, model: Model, rows: NDArray[np.float64]) -> None:
    notice = write_notice(record(model, adverse(model, rows)[0]), deployment, "en")
    page = notice_page(msgspec.structs.replace(notice, model="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_every_language_says_the_same_things() -> None:
    assert {tuple(words) for words in WORDS.values()} == {tuple(WORDS["en"])}


def test_there_is_no_notice_of_a_favourable_decision(
    deployment: Deployment, model: Model, rows: NDArray[np.float64]
) -> None:
    favourable = next(row for row in rows if score_of(model, row) >= model.approve_at)
    with pytest.raises(Conflict, match="favourable"):
        write_notice(record(model, favourable), deployment, "en")


def test_a_release_that_comes_to_another_score_gives_no_notice(
    deployment: Deployment, model: Model, rows: NDArray[np.float64]
) -> None:
    decision = record(model, adverse(model, rows)[0])
    with pytest.raises(Conflict, match="recorded score"):
        write_notice(msgspec.structs.replace(decision, score=decision.score + 1e-9), deployment, "en")


def test_where_nothing_is_declared_nothing_is_said(
    release_files: dict[str, bytes], model: Model, rows: NDArray[np.float64]
) -> None:
    silent = deploy(DIGEST, {**release_files, "model.yaml": without_recourse(release_files).encode()})
    notice = write_notice(record(model, adverse(model, rows)[0]), silent, "en")
    assert (notice.recourse, notice.counter_offers) == (None, None)
    page = notice_page(notice)
    assert WORDS["en"]["recourse"] not in page
    assert WORDS["en"]["offers"] not in page


def test_what_the_person_could_change_would_be_approved(
    changeable: Deployment, model: Model, rows: NDArray[np.float64]
) -> None:
    counts = set()
    for row in adverse(model, rows)[:40]:
        decision = record(model, row)
        notice = write_notice(decision, changeable, "de")
        assert notice.recourse is not None
        assert notice.counter_offers is not None
        counts |= {("recourse", len(notice.recourse) > 0), ("offers", len(notice.counter_offers) > 0)}
        for kind, ways, allowed in (
            ("recourse", notice.recourse, {"PAY_0", "PAY_2", "PAY_AMT1"}),
            ("offers", notice.counter_offers, {"LIMIT_BAL"}),
        ):
            for way in ways:
                changed = {**decision.features, **{change.feature: change.to for change in way.changes}}
                assert {change.feature for change in way.changes} <= allowed
                assert score_of(model, model.encoding.encode(changed)) == way.score >= model.approve_at
            words = WORDS["de"]
            page = notice_page(notice)
            assert words[kind] in page
            assert (words[f"{kind}_ways"] in page) == (words[f"{kind}_caution"] in page) == bool(ways)
            assert (words[f"{kind}_none"] in page) == (not ways)
    assert ("recourse", True) in counts
    assert ("offers", False) in counts


def test_the_explanation_names_the_right_it_answers() -> None:
    assert "15(1)(h)" in WORDS["en"]["explanation"]
    assert "15 Abs. 1 Buchst. h" in WORDS["de"]["explanation"]
