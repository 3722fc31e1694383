"""What each event makes of a case."""

from __future__ import annotations

from typing import Any

from aboveboard.audit import events
from aboveboard.audit.moments import milliseconds
from aboveboard.audit.review import REFERRED_OUTCOMES, Case, Cause, Found, State, advance, opened, refers
from aboveboard.models.outcome import OUTCOMES
from tests.audit_cases import decision

T = [f"2026-11-21T{hour:02}:00:00.000Z" for hour in range(24)]
KEY = b"k" * 16
FOUND: Found = (decision(1), KEY)


def review(kind: type[Any], hour: int, **fields: Any) -> Any:
    return kind(time=T[hour], decision_id="dec-000001", subject="sub-a", **fields)


def after(*happened: Any, case: Case | None = None, found: Found | None = FOUND) -> Case | None:
    for event in happened:
        case = advance(case, event, lambda: found)
    return case


REFERRED = opened(FOUND, Cause.REFERRED, T[0])
CONTEST = review(events.ReviewRequested, 1, statement="wrong", actor="desk")


def claim(hour: int, actor: str, until: int) -> Any:
    return review(events.ReviewClaimed, hour, actor=actor, until=T[until])


def test_the_words_for_a_referral_are_the_middle_outcomes_of_every_purpose() -> None:
    assert {words.referred for words in OUTCOMES.values()} == REFERRED_OUTCOMES
    assert not REFERRED_OUTCOMES & {word for words in OUTCOMES.values() for word in (words.favourable, words.adverse)}
    assert refers(decision(1, outcome="refer"))
    assert not refers(decision(1, outcome="decline"))


def test_a_contest_opens_a_case_and_keeps_the_earlier_deadline_of_one_that_is_open() -> None:
    contested = after(CONTEST)
    assert contested is not None
    assert (contested.cause, contested.since, contested.key_id) == (Cause.CONTESTED, milliseconds(T[1]), KEY)
    both = after(CONTEST, review(events.ReviewRequested, 2, statement="and again", actor="x"), case=REFERRED)
    assert both is not None
    assert (both.cause, both.since, both.contested_by) == (Cause.CONTESTED, milliseconds(T[0]), ("desk", "x"))


def test_nothing_opens_about_a_decision_that_nobody_can_read() -> None:
    assert after(CONTEST, found=None) is None
    assert after(review(events.ReviewProposed, 1, actor="a", outcome="approve", comment="c"), found=None) is None


def test_a_claim_holds_until_its_time_is_over_or_it_is_given_back() -> None:
    held = after(claim(1, "ada", 3), case=REFERRED)
    assert held is not None
    assert (held.holder(milliseconds(T[2])), held.state(milliseconds(T[2]))) == ("ada", State.CLAIMED)
    assert (held.holder(milliseconds(T[3])), held.state(milliseconds(T[3]))) == (None, State.WAITING)
    assert after(review(events.ReviewReleased, 2, actor="ada"), case=held) == REFERRED
    assert after(review(events.ReviewReleased, 2, actor="bob"), case=held) == held


def test_of_two_claims_the_first_in_the_log_holds() -> None:
    assert after(claim(1, "ada", 3), claim(2, "bob", 4), case=REFERRED) == after(claim(1, "ada", 3), case=REFERRED)
    later = after(claim(1, "ada", 3), claim(3, "bob", 4), case=REFERRED)
    renewed = after(claim(1, "ada", 3), claim(2, "ada", 5), case=REFERRED)
    assert later is not None
    assert renewed is not None
    assert (later.claimed_by, renewed.claimed_until) == ("bob", milliseconds(T[5]))


def test_a_proposal_waits_for_a_second_reviewer_whose_no_puts_the_case_back() -> None:
    proposal = review(events.ReviewProposed, 2, actor="ada", outcome="approve", comment="c")
    proposed = after(claim(1, "ada", 3), proposal, case=REFERRED)
    assert proposed is not None
    assert proposed.state(milliseconds(T[2])) is State.PROPOSED
    assert (proposed.proposed_by, proposed.proposed_outcome, proposed.claimed_by) == ("ada", "approve", None)
    assert after(review(events.ReviewRejected, 3, actor="bob", comment="no"), case=proposed) == REFERRED


def test_what_a_reviewer_took_up_of_their_own_accord_ends_with_the_no() -> None:
    taken_up = after(review(events.ReviewProposed, 2, actor="ada", outcome="decline", comment="c"))
    assert taken_up is not None
    assert taken_up.cause is Cause.TAKEN_UP
    assert after(review(events.ReviewRejected, 3, actor="bob", comment="no"), case=taken_up) is None


def test_a_decision_closes_and_a_contest_opens_again() -> None:
    decided = review(events.ReviewDecided, 4, actor="ada", outcome="approve", changed=True, comment="c")
    assert after(decided, case=REFERRED) is None
    again = after(CONTEST, decided, review(events.ReviewRequested, 5, statement="still wrong"))
    assert again is not None
    assert (again.since, again.contested_by) == (milliseconds(T[5]), ())


def test_a_claim_on_what_does_not_wait_changes_nothing() -> None:
    assert after(claim(1, "ada", 3)) is None
    assert after(review(events.ReviewReleased, 1, actor="ada")) is None
