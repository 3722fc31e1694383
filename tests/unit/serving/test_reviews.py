"""The steps of a review, on a real log: who may do which, one at a time, whatever process asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Query, events
from aboveboard.audit.review import State
from aboveboard.clock import timestamp
from aboveboard.errors import AboveboardError, Conflict, NotAuthorised, NotFound, RequestRefused
from aboveboard.serving.cases import Cases, QueueFilter
from aboveboard.serving.records import Records
from aboveboard.serving.refusals import CardNumber
from aboveboard.serving.review_history import history_of, last_word
from aboveboard.serving.reviews import Confirmation, Contest, Review, Reviews
from aboveboard.serving.terms import DEADLINE, ReviewTerms, Terms
from tests.audit_cases import NOW, ManualClock, decision, open_log

ALONE, TOGETHER, UNKNOWN = ("sha256:" + digit * 64 for digit in "abc")
APPROVE = Review("approve", "income confirmed")
DECLINE = Review("decline", "no income")
YES, NO = Confirmation(confirmed=True, comment="agreed"), Confirmation(confirmed=False, comment="I see it otherwise")


class FixedTerms(Terms):
    """The terms of two releases."""

    def __init__(self) -> None:
        self._unknown = set()
        self._known = {
            ALONE: ReviewTerms("approve", "decline", four_eyes=False, deadline=timedelta(days=30)),
            TOGETHER: ReviewTerms("approve", "decline", four_eyes=True, deadline=timedelta(days=10)),
        }

    @property
    def model(self) -> str:
        return "credit-default"

    def of(self, release: str) -> ReviewTerms:
        if release not in self._known:
            raise NotFound("not here")
        return self._known[release]


@dataclass
class Desk:
    """One process that reviews."""

    log: AuditLog
    clock: ManualClock

    def __post_init__(self) -> None:
        terms = FixedTerms()
        self.reviews = Reviews(self.log, clock=self.clock, terms=terms)
        self.cases = Cases(self.log, take_in=self.log.take_in, clock=self.clock, terms=terms)
        self.records = Records(self.log, take_in=self.log.take_in)

    def queue(self, **wanted: object) -> list[tuple[str, State]]:
        page = self.cases.page(QueueFilter(**wanted), actor="lead")  # type: ignore[arg-type]
        return [(case.decision_id[-1], case.state) for case in page.cases]

    def steps(self, decision_id: str) -> list[str]:
        recorded = self.records.history(decision_id, "lead", "test")
        return [step.step for step in history_of(recorded, self.cases.open(decision_id)).steps]


def id_of(number: int) -> str:
    return f"dec-{number:026d}"


REFERRED, DECLINED, REFERRED_TOGETHER, DECLINED_TOGETHER, NOWHERE = (id_of(n) for n in range(1, 6))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def fill(log: AuditLog) -> None:
    outcomes = {
        REFERRED: ("refer", ALONE),
        DECLINED: ("decline", ALONE),
        REFERRED_TOGETHER: ("refer", TOGETHER),
        DECLINED_TOGETHER: ("decline", TOGETHER),
    }
    log.append_all(
        [
            decision(n, f"sub-{n}", decision_id=decision_id, outcome=outcome, release=release)
            for n, (decision_id, (outcome, release)) in enumerate(outcomes.items())
        ]
    )


@pytest.fixture
def desk(tmp_path: Path, clock: ManualClock) -> Iterator[Desk]:
    with open_log(tmp_path, clock=clock) as log:
        fill(log)
        yield Desk(log, clock)


def refused(step: Callable[[], object], error: type[AboveboardError], words: str) -> None:
    with pytest.raises(error, match=words):
        step()


def test_a_claim_keeps_others_away_until_it_ends_or_is_given_back(desk: Desk) -> None:
    until, _ = desk.reviews.claim(REFERRED, actor="ada")
    assert until == timestamp(NOW + timedelta(minutes=30))
    refused(lambda: desk.reviews.claim(REFERRED, actor="bob"), Conflict, "at work")
    refused(lambda: desk.reviews.decide(REFERRED, APPROVE, actor="bob"), Conflict, "at work")
    refused(lambda: desk.reviews.release(REFERRED, actor="bob"), Conflict, "not yours")
    desk.clock.advance(minutes=20)
    until, _ = desk.reviews.claim(REFERRED, actor="ada")
    assert until == timestamp(NOW + timedelta(minutes=50))
    desk.reviews.release(REFERRED, actor="ada")
    desk.reviews.claim(REFERRED, actor="bob")
    desk.clock.advance(minutes=30)
    desk.reviews.claim(REFERRED, actor="ada")
    assert desk.steps(REFERRED) == ["decided", "claimed", "claimed", "released", "claimed", "claimed"]


def test_a_claim_outlives_the_process_and_holds_in_others(tmp_path: Path, clock: ManualClock) -> None:
    with open_log(tmp_path, clock=clock) as log:
        fill(log)
        Desk(log, clock).reviews.claim(REFERRED, actor="ada")
        with open_log(tmp_path, clock=clock, writer="other") as beside:
            refused(lambda: Desk(beside, clock).reviews.claim(REFERRED, actor="bob"), Conflict, "at work")
    with open_log(tmp_path, clock=clock) as log:
        again = Desk(log, clock)
        refused(lambda: again.reviews.claim(REFERRED, actor="bob"), Conflict, "at work")
        assert again.queue(state=State.CLAIMED) == [("1", State.CLAIMED)]


def test_of_many_who_claim_at_once_one_gets_the_case(tmp_path: Path, clock: ManualClock) -> None:
    with open_log(tmp_path, clock=clock) as first, open_log(tmp_path, clock=clock, writer="other") as second:
        fill(first)
        desks = [Desk(first, clock), Desk(second, clock)]
        got, start = [], threading.Barrier(8)

        def claim(number: int) -> None:
            start.wait()
            try:
                desks[number % 2].reviews.claim(REFERRED, actor=f"reviewer-{number}")
            except Conflict:
                return
            got.append(number)

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.publish()
        claims = first.find(Query(kind="review-claimed/1"), actor="lead", purpose="test")
        assert (len(got), len(claims)) == (1, 1)


def test_only_what_waits_can_be_claimed(desk: Desk) -> None:
    refused(lambda: desk.reviews.claim(DECLINED, actor="ada"), Conflict, "nobody waits")
    refused(lambda: desk.reviews.claim(NOWHERE, actor="ada"), NotFound, "no decision")
    desk.reviews.decide(REFERRED, APPROVE, actor="ada")
    refused(lambda: desk.reviews.claim(REFERRED, actor="bob"), Conflict, "decided this already")


def test_one_reviewer_decides_where_the_release_does_not_want_two(desk: Desk) -> None:
    done = desk.reviews.decide(REFERRED, DECLINE, actor="ada")
    assert (done.state, done.outcome, done.changed) == ("decided", "decline", True)
    refused(lambda: desk.reviews.decide(REFERRED, APPROVE, actor="bob"), Conflict, "already")
    refused(lambda: desk.reviews.confirm(REFERRED, YES, actor="bob"), Conflict, "no review is proposed")
    refused(lambda: desk.reviews.decide(DECLINED, Review("maybe", "?"), actor="ada"), RequestRefused, "outcome")
    card = Review("approve", "paid with 4111 1111 1111 1111")
    refused(lambda: desk.reviews.decide(DECLINED, card, actor="ada"), CardNumber, "card")
    assert desk.reviews.decide(DECLINED, APPROVE, actor="ada").changed  # nobody asked, and still a person may
    assert desk.steps(DECLINED) == ["decided", "reviewed"]


def test_with_four_eyes_nobody_overrides_the_model_alone(desk: Desk) -> None:
    proposed = desk.reviews.decide(REFERRED_TOGETHER, APPROVE, actor="ada")
    assert (proposed.state, proposed.outcome, proposed.proposed_outcome) == ("proposed", "refer", "approve")
    assert desk.queue(state=State.PROPOSED) == [("3", State.PROPOSED)]
    for step in (
        lambda: desk.reviews.confirm(REFERRED_TOGETHER, YES, actor="ada"),
        lambda: desk.reviews.confirm(REFERRED_TOGETHER, NO, actor="ada"),
        lambda: desk.reviews.confirm(REFERRED_TOGETHER, YES, actor="ADA "),
        lambda: desk.reviews.claim(REFERRED_TOGETHER, actor="ada"),
    ):
        refused(step, NotAuthorised, "four eyes")
    refused(lambda: desk.reviews.decide(REFERRED_TOGETHER, DECLINE, actor="bob"), Conflict, "proposed already")
    desk.reviews.claim(REFERRED_TOGETHER, actor="bob")
    refused(lambda: desk.reviews.confirm(REFERRED_TOGETHER, YES, actor="eve"), Conflict, "at work")
    done = desk.reviews.confirm(REFERRED_TOGETHER, YES, actor="bob")
    assert (done.state, done.outcome, done.changed) == ("decided", "approve", True)
    event = desk.records.history(REFERRED_TOGETHER, "lead", "test")[-1].event
    assert isinstance(event, events.ReviewDecided)
    assert (event.actor, event.proposed_by) == ("bob", "ada")
    assert desk.steps(REFERRED_TOGETHER) == ["decided", "proposed", "claimed", "reviewed"]


def test_a_second_reviewer_may_say_no_and_the_case_waits_again(desk: Desk) -> None:
    desk.reviews.decide(REFERRED_TOGETHER, APPROVE, actor="ada")
    rejected = desk.reviews.confirm(REFERRED_TOGETHER, NO, actor="bob")
    assert (rejected.state, rejected.outcome) == ("rejected", "refer")
    assert ("3", State.WAITING) in desk.queue()
    desk.reviews.decide(REFERRED_TOGETHER, DECLINE, actor="bob")
    assert desk.reviews.confirm(REFERRED_TOGETHER, YES, actor="ada").outcome == "decline"


def test_four_eyes_are_for_overriding_and_not_for_agreeing_with_the_model(desk: Desk) -> None:
    desk.reviews.contest(DECLINED_TOGETHER, Contest("wrong"), actor="desk")
    upheld = desk.reviews.decide(DECLINED_TOGETHER, DECLINE, actor="ada")
    assert (upheld.state, upheld.changed) == ("decided", False)
    desk.reviews.contest(DECLINED_TOGETHER, Contest("still wrong"), actor="desk")
    assert desk.reviews.decide(DECLINED_TOGETHER, APPROVE, actor="ada").state == "proposed"
    assert desk.reviews.confirm(DECLINED_TOGETHER, NO, actor="bob").outcome == "decline"


def test_who_contested_does_not_review(desk: Desk) -> None:
    desk.reviews.contest(DECLINED, Contest("wrong"), actor="ada", contested_by="ada")
    desk.reviews.contest(DECLINED, Contest("wrong again"), actor="bob", contested_by="bob")
    for actor in ("ada", "bob"):
        refused(lambda actor=actor: desk.reviews.claim(DECLINED, actor=actor), NotAuthorised, "contested")  # type: ignore[misc]
        refused(lambda actor=actor: desk.reviews.decide(DECLINED, APPROVE, actor=actor), NotAuthorised, "contested")  # type: ignore[misc]
    assert desk.reviews.decide(DECLINED, APPROVE, actor="eve").changed


def test_a_contest_after_a_review_opens_the_case_again(desk: Desk) -> None:
    desk.reviews.decide(REFERRED, DECLINE, actor="ada")
    assert ("1", State.WAITING) not in desk.queue()
    desk.clock.advance(days=3)
    desk.reviews.contest(REFERRED, Contest("wrong"), actor="desk")
    (case,) = [case for case in desk.cases.page(QueueFilter(), actor="lead").cases if case.decision_id == REFERRED]
    assert (case.cause, case.since) == ("contested", timestamp(NOW + timedelta(days=3)))
    desk.reviews.decide(REFERRED, APPROVE, actor="bob")
    recorded = desk.records.history(REFERRED, "lead", "test")
    told = history_of(recorded, desk.cases.open(REFERRED))
    assert (told.outcome, told.decided_by, told.open) == ("approve", "person", None)
    last = last_word(recorded)
    assert last is not None
    assert (last.outcome, last.changed) == ("approve", True)


def test_the_deadline_is_that_of_the_release_that_decided(desk: Desk) -> None:
    desk.log.append(decision(9, decision_id=id_of(9), outcome="refer", release=UNKNOWN))
    page = {case.decision_id: case for case in desk.cases.page(QueueFilter(), actor="lead").cases}
    assert page[REFERRED].due == timestamp(NOW + timedelta(days=30))
    assert page[REFERRED_TOGETHER].due == timestamp(NOW + timedelta(days=10))
    assert page[id_of(9)].due == timestamp(NOW + DEADLINE)
    desk.clock.advance(days=10, seconds=1)
    assert desk.queue(overdue=True) == [("3", State.WAITING)]
    assert desk.queue(overdue=False) == [("1", State.WAITING), ("9", State.WAITING)]
    desk.reviews.claim(REFERRED_TOGETHER, actor="ada")
    desk.log.take_in()
    counts = desk.cases.count()
    assert (counts[State.CLAIMED, True], counts[State.WAITING, False]) == (1, 2)
    desk.reviews.decide(REFERRED, APPROVE, actor="ada")
    assert desk.cases.count() == counts  # counted a moment ago
    desk.clock.advance(seconds=6)
    desk.log.take_in()
    assert desk.cases.count()[State.WAITING, False] == 1
    refused(lambda: desk.reviews.decide(id_of(9), APPROVE, actor="ada"), NotFound, "not here")


def test_pages_follow_by_cursor(desk: Desk) -> None:
    desk.log.append_all(
        [decision(n, f"sub-{n}", decision_id=id_of(n), outcome="refer", release=ALONE) for n in range(10, 31)]
    )
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = desk.cases.page(QueueFilter(limit=5, cursor=cursor), actor="lead")
        seen += [case.decision_id for case in page.cases]
        cursor, pages = page.next, pages + 1
    assert seen == [REFERRED, REFERRED_TOGETHER, *(id_of(n) for n in range(10, 31))]
    assert pages == 5
    assert desk.queue(model="another") == []
    refused(lambda: desk.queue(cursor="1.dec-x"), RequestRefused, "cursor")


def test_nothing_is_left_of_an_erased_person(desk: Desk) -> None:
    desk.reviews.contest(DECLINED, Contest("wrong"), actor="desk")
    desk.reviews.claim(DECLINED, actor="ada")
    desk.log.erase("sub-1", actor="dpo@bank.example", reason="request", override="court order 7")
    assert desk.queue() == [("1", State.WAITING), ("3", State.WAITING)]
    for step in (
        lambda: desk.reviews.contest(DECLINED, Contest("x"), actor="desk"),
        lambda: desk.reviews.claim(DECLINED, actor="ada"),
        lambda: desk.reviews.release(DECLINED, actor="ada"),
        lambda: desk.reviews.decide(DECLINED, APPROVE, actor="ada"),
        lambda: desk.reviews.confirm(DECLINED, YES, actor="ada"),
        lambda: desk.records.history(DECLINED, "lead", "test"),
    ):
        refused(step, NotFound, "no decision of that id")
