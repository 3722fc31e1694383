"""A person looks at a decision: because the model referred it, or because somebody contested it.

The queue is what the log says: referred and contested decisions that nobody has decided yet. Only who is at work on
which is kept here, for half an hour at a time, so that two people do not take the same case.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

from aboveboard.audit import Acknowledgement, AuditLog, Query, events
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import Conflict, RequestRefused
from aboveboard.serving.cards import holds_card_number
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.refusals import CardNumber
from aboveboard.serving.requests import Label

LEASE: Final = timedelta(minutes=30)
DEADLINE: Final = timedelta(days=30)
"""After a completed application: 12 CFR 1002.9(a)(1)."""
LONGEST_QUEUE: Final = 1_000
"""Cases that one answer lists."""

Statement = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class Contest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/decisions/{id}/contest`: what the person has to say (GDPR art. 22(3))."""

    statement: Statement


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/decisions/{id}/review`: what a person decided, and why."""

    outcome: Label
    comment: Statement


class Case(msgspec.Struct, frozen=True):
    """One decision that waits for a person."""

    decision_id: str
    cause: str
    """`referred` by the model, or `contested`."""
    since: str
    due: str
    claimed_by: str | None = None


class Reviews:
    """The queue of one server. Its methods block: call them off the event loop."""

    def __init__(self, log: AuditLog, *, clock: Clock, read: Callable[[str, str, str], events.Decision]) -> None:
        self._log = log
        self._clock = clock
        self._read = read
        self._leases: dict[str, tuple[str, datetime]] = {}
        self._turn = threading.Lock()

    def queue(self, deployment: Deployment, *, actor: str) -> list[Case]:
        """Return what waits for a person, the longest waiting first."""
        referred = deployment.model.outcomes[1]
        found: dict[str, Case] = {}
        for cause, query in (
            ("referred", Query(kind="decision/1", outcome=referred, limit=LONGEST_QUEUE)),
            ("contested", Query(kind="review-requested/1", limit=LONGEST_QUEUE)),
        ):
            for entry in self._find(query, actor):
                if entry.decision_id is not None and entry.time is not None:
                    due = datetime.fromisoformat(entry.time) + DEADLINE
                    claimed = self._claimed_by(entry.decision_id)
                    case = Case(entry.decision_id, cause, entry.time, timestamp(due), claimed)
                    found.setdefault(entry.decision_id, case)
        for entry in self._find(Query(kind="review-decided/1", limit=10 * LONGEST_QUEUE), actor):
            found.pop(entry.decision_id or "", None)
        return sorted(found.values(), key=lambda case: case.since)

    def claim(self, decision_id: str, *, actor: str) -> str:
        """Reserve a case for `actor` and return until when. Raises `Conflict` while another has it."""
        with self._turn:
            self._refuse_claimed(decision_id, actor)
            until = self._clock() + LEASE
            self._leases[decision_id] = (actor, until)
            return timestamp(until)

    def contest(self, decision_id: str, contest: Contest, *, actor: str) -> Acknowledgement:
        """Record that the person concerned wants a human to look. Raises `NotFound`, `CardNumber`."""
        _refuse_card_number(contest.statement)
        decision = self._read(decision_id, actor, "contesting a decision")
        return self._log.append(
            events.ReviewRequested(
                time=timestamp(self._clock()),
                decision_id=decision_id,
                subject=decision.subject,
                statement=contest.statement,
                retention=decision.retention,
            )
        )

    def decide(self, decision_id: str, review: Review, deployment: Deployment, *, actor: str) -> dict[str, Any]:
        """Record what `actor` decided, and return it.

        Raises `RequestRefused` for an outcome that is none, `Conflict` when another person has the case or it is
        decided already, `NotFound`.
        """
        _refuse_card_number(review.comment)
        favourable, _, adverse = deployment.model.outcomes
        if review.outcome not in (favourable, adverse):
            raise RequestRefused("that is not an outcome of a review", hint=f"decide {favourable} or {adverse}")
        with self._turn:
            self._refuse_claimed(decision_id, actor)
            decision = self._read(decision_id, actor, "human review")
            if self._find(Query(kind="review-decided/1", decision_id=decision_id, limit=1), actor):
                raise Conflict("a person has decided this already", hint="contest it to have it looked at again")
            acknowledgement = self._log.append(
                events.ReviewDecided(
                    time=timestamp(self._clock()),
                    decision_id=decision_id,
                    subject=decision.subject,
                    actor=actor,
                    outcome=review.outcome,
                    changed=review.outcome != decision.outcome,
                    comment=review.comment,
                    retention=decision.retention,
                )
            )
            self._leases.pop(decision_id, None)
        return {
            "decision_id": decision_id,
            "outcome": review.outcome,
            "changed": review.outcome != decision.outcome,
            "receipt": acknowledgement.as_dict(),
        }

    def _find(self, query: Query, actor: str) -> list[Any]:
        self._log.publish()  # what is durable and not yet in the log belongs into the answer
        return list(self._log.find(query, actor=actor, purpose="human review"))

    def _claimed_by(self, decision_id: str) -> str | None:
        actor, until = self._leases.get(decision_id, (None, None))
        return actor if until is not None and until > self._clock() else None

    def _refuse_claimed(self, decision_id: str, actor: str) -> None:
        holder = self._claimed_by(decision_id)
        if holder not in (None, actor):
            raise Conflict("another reviewer is at work on this", hint="take another case, or wait half an hour")


def _refuse_card_number(text: str) -> None:
    if holds_card_number(text):
        raise CardNumber("the text holds a payment card number", hint="leave it out, or name its last four digits")
