"""A decision on its way to a person: what each event makes of it. Pure; `review_queue` keeps the outcome.

A case is open from the decision that refers, or from the contest, until a person has decided; a contest after that
opens it again. The log's order is the order of events: whoever appends one has taken in all before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aboveboard.audit import events
from aboveboard.audit.moments import milliseconds

REFERRED_OUTCOMES: Final = frozenset({"refer", "challenge", "review"})
"""What a model says that leaves the decision to a person: the words for the middle outcome, of every purpose."""


class Cause(StrEnum):
    """Why a person is to decide."""

    REFERRED = "referred"
    """The model left it to a person."""
    CONTESTED = "contested"
    """The person concerned asked for it."""
    TAKEN_UP = "taken-up"
    """A reviewer proposed to decide otherwise, of their own accord."""


class State(StrEnum):
    """How far a case is."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    PROPOSED = "proposed"
    """A second reviewer must agree."""


@dataclass(frozen=True, slots=True)
class Case:
    """One decision that waits for a person. Moments are milliseconds since the epoch."""

    decision_id: str
    key_id: bytes
    """The key that the decision is sealed under."""
    model: str
    release: str
    cause: Cause
    since: int
    contested_by: tuple[str, ...] = ()
    """Who brought a contest, where that is known."""
    claimed_by: str | None = None
    claimed_until: int | None = None
    proposed_by: str | None = None
    proposed_outcome: str | None = None

    def holder(self, now: int) -> str | None:
        """Return who has the case at the moment `now`."""
        return self.claimed_by if self.claimed_until is not None and self.claimed_until > now else None

    def state(self, now: int) -> State:
        """Return how far the case is at the moment `now`."""
        if self.proposed_by is not None:
            return State.PROPOSED
        return State.CLAIMED if self.holder(now) is not None else State.WAITING


Found = tuple[events.Decision, bytes]
"""A decision, and the id of the key that it is sealed under."""

ReviewEvent = (
    events.ReviewRequested
    | events.ReviewClaimed
    | events.ReviewReleased
    | events.ReviewProposed
    | events.ReviewRejected
    | events.ReviewDecided
)


def refers(event: events.Event) -> bool:
    """Tell whether an event is a decision that leaves it to a person."""
    return isinstance(event, events.Decision) and event.outcome in REFERRED_OUTCOMES


def opened(found: Found, cause: Cause, time: str) -> Case:
    """Return the case that begins at `time` with a decision."""
    decision, key_id = found
    return Case(decision.decision_id, key_id, decision.model, decision.release, cause, milliseconds(time))


def advance(case: Case | None, event: ReviewEvent, decision: Callable[[], Found | None]) -> Case | None:
    """Return what `event` makes of a case; None where nobody waits for a person.

    `decision` is asked for where a case begins. When nobody can read the decision any more, none does.
    """
    match event:
        case events.ReviewDecided():
            return None
        case events.ReviewRequested():
            return _contested(case, event, decision)
        case events.ReviewProposed():
            case = case or _begun(decision(), Cause.TAKEN_UP, event.time)
            if case is None:
                return None
            return replace(
                case,
                claimed_by=None,
                claimed_until=None,
                proposed_by=event.actor,
                proposed_outcome=event.outcome,
            )
        case events.ReviewRejected():
            if case is None or case.cause is Cause.TAKEN_UP:
                return None
            return replace(case, claimed_by=None, claimed_until=None, proposed_by=None, proposed_outcome=None)
        case events.ReviewClaimed() if case is not None:
            if case.holder(milliseconds(event.time)) not in (None, event.actor):
                return case  # two claims at once: the log's order decides
            return replace(case, claimed_by=event.actor, claimed_until=milliseconds(event.until))
        case events.ReviewReleased() if case is not None and case.claimed_by == event.actor:
            return replace(case, claimed_by=None, claimed_until=None)
    return case


def _contested(case: Case | None, event: events.ReviewRequested, decision: Callable[[], Found | None]) -> Case | None:
    """Return the case as contested; one that is open already keeps its beginning, and so its deadline."""
    case = case or _begun(decision(), Cause.CONTESTED, event.time)
    if case is None:
        return None
    known = case.contested_by
    if event.actor is not None and event.actor not in known:
        known = (*known, event.actor)
    return replace(case, cause=Cause.CONTESTED, contested_by=known)


def _begun(found: Found | None, cause: Cause, time: str) -> Case | None:
    return None if found is None else opened(found, cause, time)
