"""A person looks at a decision: because the model referred it, or because somebody contested it.

Everything is what the log says: a claim, a proposal, a rejection and a decision are events, and who may do the next
step follows from those before. One step is taken at a time, among all processes that share the log: whoever has the
turn takes in what was recorded, checks, and records. A lock and no table of leases: nothing is kept beside the log
that could say otherwise, and what a crash interrupts has happened or has not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec

from aboveboard.audit import Acknowledgement, AuditLog, events
from aboveboard.audit.moments import milliseconds
from aboveboard.audit.review import Case
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import Conflict, NotAuthorised, NotFound, RequestRefused
from aboveboard.release.trust import folded
from aboveboard.serving.cards import holds_card_number
from aboveboard.serving.refusals import CardNumber
from aboveboard.serving.requests import Label
from aboveboard.serving.terms import ReviewTerms, Terms

LEASE: Final = timedelta(minutes=30)
PURPOSE: Final = "human review"

Statement = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class Contest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/decisions/{id}/contest`: what the person has to say (GDPR art. 22(3))."""

    statement: Statement


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/decisions/{id}/review`: what a person decided, and why."""

    outcome: Label
    comment: Statement


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/decisions/{id}/confirmation`: whether a second reviewer agrees with what was proposed, and why."""

    confirmed: bool
    comment: Statement


class Reviewed(msgspec.Struct, frozen=True):
    """What a reviewer's step has led to."""

    decision_id: str
    state: Literal["decided", "proposed", "rejected"]
    outcome: str
    """What holds now: until a proposal is confirmed, what the model decided."""
    changed: bool
    """Whether that is not what the model decided."""
    receipt: Acknowledgement
    proposed_outcome: str | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """What a step is taken from."""

    decision: events.Decision
    history: list[events.Event]
    case: Case | None
    moment: datetime

    @property
    def now(self) -> int:
        return milliseconds(timestamp(self.moment))

    def about(self) -> dict[str, Any]:
        """Return the fields that every event about this decision has."""
        return {
            "time": timestamp(self.moment),
            "decision_id": self.decision.decision_id,
            "subject": self.decision.subject,
            "retention": self.decision.retention,
        }


class Reviews:
    """The steps of a review. The methods block: call them off the event loop."""

    def __init__(self, log: AuditLog, *, clock: Clock, terms: Terms) -> None:
        self._log = log
        self._clock = clock
        self._terms = terms
        self._turn = threading.Lock()

    def contest(
        self, decision_id: str, contest: Contest, *, actor: str, contested_by: str | None = None
    ) -> Acknowledgement:
        """Record that the person concerned wants a human to look; `contested_by` brought it, where that is known.

        Raises `NotFound`, `CardNumber`.
        """
        _refuse_card_number(contest.statement)
        with self._step(decision_id, actor) as step:
            return self._log.append(
                events.ReviewRequested(**step.about(), statement=contest.statement, actor=contested_by)
            )

    def claim(self, decision_id: str, *, actor: str) -> tuple[str, Acknowledgement]:
        """Reserve a case for `actor`, or for longer, and return until when.

        Raises `NotFound`, `Conflict` while another has it or nobody waits for a person, `NotAuthorised`.
        """
        with self._step(decision_id, actor) as step:
            case = step.case
            if case is None:
                _refuse_closed(step)
            _refuse_party(case, actor)
            _refuse_claimed(case, actor, step.now)
            until = timestamp(step.moment + LEASE)
            return until, self._log.append(events.ReviewClaimed(**step.about(), actor=actor, until=until))

    def release(self, decision_id: str, *, actor: str) -> Acknowledgement:
        """Give a case back. Raises `NotFound`, and `Conflict` when `actor` does not have it."""
        with self._step(decision_id, actor) as step:
            if step.case is None or step.case.holder(step.now) != actor:
                raise Conflict(
                    "this case is not yours to give back", hint="a claim ends by itself after half an hour"
                )
            return self._log.append(events.ReviewReleased(**step.about(), actor=actor))

    def decide(self, decision_id: str, review: Review, *, actor: str) -> Reviewed:
        """Record what `actor` decided, or proposes where the release that decided wants four eyes.

        Raises `NotFound`, `RequestRefused` for an outcome that is none, `NotAuthorised` for a reviewer who is party
        to it, `Conflict` when another person has the case, a proposal waits, or it is decided already.
        """
        _refuse_card_number(review.comment)
        with self._step(decision_id, actor) as step:
            terms = self._terms.of(step.decision.release)
            if review.outcome not in (terms.favourable, terms.adverse):
                hint = f"decide {terms.favourable} or {terms.adverse}"
                raise RequestRefused("that is not an outcome of a review", hint=hint)
            if step.case is None and _decided(step) is not None:
                _refuse_closed(step)
            if step.case is not None:
                if step.case.proposed_by is not None:
                    raise Conflict(
                        "a review is proposed already",
                        hint="a second reviewer confirms or rejects it: …/confirmation",
                    )
                _refuse_party(step.case, actor)
                _refuse_claimed(step.case, actor, step.now)
            return self._decide(step, review, terms, actor)

    def confirm(self, decision_id: str, confirmation: Confirmation, *, actor: str) -> Reviewed:
        """Record that `actor`, the second reviewer, agrees with what the first proposed, or does not.

        Raises `NotFound`, `NotAuthorised` for the first reviewer and for parties to it, `Conflict` when nothing is
        proposed or another person has the case.
        """
        _refuse_card_number(confirmation.comment)
        with self._step(decision_id, actor) as step:
            case = step.case
            proposal = next((e for e in reversed(step.history) if isinstance(e, events.ReviewProposed)), None)
            if case is None or case.proposed_by is None or proposal is None:
                raise Conflict("no review is proposed", hint="decide with POST …/review")
            _refuse_party(case, actor)
            _refuse_claimed(case, actor, step.now)
            if not confirmation.confirmed:
                receipt = self._log.append(
                    events.ReviewRejected(**step.about(), actor=actor, comment=confirmation.comment)
                )
                stands = _standing(step)
                return Reviewed(decision_id, "rejected", stands, stands != step.decision.outcome, receipt)
            return self._close(step, proposal.outcome, confirmation.comment, actor, proposed_by=proposal.actor)

    def _decide(self, step: _Step, review: Review, terms: ReviewTerms, actor: str) -> Reviewed:
        if not terms.four_eyes or review.outcome == step.decision.outcome:
            return self._close(step, review.outcome, review.comment, actor)
        receipt = self._log.append(
            events.ReviewProposed(**step.about(), actor=actor, outcome=review.outcome, comment=review.comment)
        )
        stands = _standing(step)
        return Reviewed(
            step.decision.decision_id, "proposed", stands, stands != step.decision.outcome, receipt, review.outcome
        )

    def _close(
        self, step: _Step, outcome: str, comment: str, actor: str, *, proposed_by: str | None = None
    ) -> Reviewed:
        changed = outcome != step.decision.outcome
        receipt = self._log.append(
            events.ReviewDecided(
                **step.about(),
                actor=actor,
                outcome=outcome,
                changed=changed,
                comment=comment,
                proposed_by=proposed_by,
            )
        )
        return Reviewed(step.decision.decision_id, "decided", outcome, changed, receipt)

    @contextmanager
    def _step(self, decision_id: str, actor: str) -> Iterator[_Step]:
        """Have the turn, with all that was recorded about a decision. Raises `NotFound`."""
        # Threads queue up here, where waiting costs nothing, and one of them at the lock between processes.
        with self._turn, self._log.turn("reviews"):
            self._log.take_in()
            recorded = self._log.history(decision_id, actor=actor, purpose=PURPOSE)
            if not recorded or not isinstance(recorded[0].event, events.Decision):
                raise NotFound("no decision of that id", hint="the id is in the answer to POST /v1/decisions")
            decision = recorded[0].event
            case = self._log.queue.get(decision_id)
            yield _Step(decision, [item.event for item in recorded], case, self._clock())


def _decided(step: _Step) -> events.ReviewDecided | None:
    return next((event for event in reversed(step.history) if isinstance(event, events.ReviewDecided)), None)


def _standing(step: _Step) -> str:
    """Return the outcome that holds now."""
    decided = _decided(step)
    return step.decision.outcome if decided is None else decided.outcome


def _refuse_closed(step: _Step) -> NoReturn:
    if _decided(step) is not None:
        raise Conflict("a person has decided this already", hint="contest it to have it looked at again")
    raise Conflict("nobody waits for a person to decide this", hint="contest it, or decide without a claim")


def _refuse_party(case: Case, actor: str) -> None:
    """Raise `NotAuthorised` for who contested or proposed; names that fold alike are one person's."""
    who = folded(actor)
    if who in map(folded, case.contested_by):
        raise NotAuthorised(
            "who contested a decision does not review it", hint="another reviewer does", rule="independent-review"
        )
    if case.proposed_by is not None and who == folded(case.proposed_by):
        raise NotAuthorised(
            "four eyes: who proposed a review does not confirm it", hint="another reviewer does", rule="four-eyes"
        )


def _refuse_claimed(case: Case, actor: str, now: int) -> None:
    if case.holder(now) not in (None, actor):
        raise Conflict("another reviewer is at work on this", hint="take another case, or wait half an hour")


def _refuse_card_number(text: str) -> None:
    if holds_card_number(text):
        raise CardNumber("the text holds a payment card number", hint="leave it out, or name its last four digits")
