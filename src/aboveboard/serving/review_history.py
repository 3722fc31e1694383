"""The way of one decision, from the model to the last word of a person: pure, from what the log holds about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aboveboard.audit import events
from aboveboard.audit.reading import Recorded
from aboveboard.serving.cases import WaitingCase

StepName = Literal["decided", "contested", "claimed", "released", "proposed", "rejected", "reviewed"]


class ReviewStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step on the way."""

    step: StepName
    time: str
    index: int
    """Which entry of the log it is."""
    actor: str | None = None
    outcome: str | None = None
    text: str | None = None
    """What the person concerned states, or why a reviewer decides so."""
    until: str | None = None


class ReviewHistory(msgspec.Struct, frozen=True):
    """`GET /v1/decisions/{id}/review`."""

    decision_id: str
    model: str
    release: str
    outcome: str
    """What holds now."""
    decided_by: Literal["model", "person"]
    open: WaitingCase | None
    """The case, while a person is to decide."""
    steps: list[ReviewStep]


class PersonDecided(msgspec.Struct, frozen=True):
    """The last word of a person about a decision."""

    decided: str
    outcome: str
    changed: bool
    """Whether it is not what the model decided."""


def history_of(recorded: Sequence[Recorded], case: WaitingCase | None) -> ReviewHistory:
    """Return the way of the decision that `recorded` begins with; `case` is the open one."""
    decision = recorded[0].event
    assert isinstance(decision, events.Decision)  # noqa: S101  a history begins with its decision
    last = last_word(recorded)
    return ReviewHistory(
        decision_id=decision.decision_id,
        model=decision.model,
        release=decision.release,
        outcome=decision.outcome if last is None else last.outcome,
        decided_by="model" if last is None else "person",
        open=case,
        steps=[step for item in recorded if (step := _step(item)) is not None],
    )


def last_word(recorded: Sequence[Recorded]) -> PersonDecided | None:
    """Return what a person has decided last, if one has."""
    for item in reversed(recorded):
        if isinstance(event := item.event, events.ReviewDecided):
            return PersonDecided(event.time, event.outcome, event.changed)
    return None


def _step(item: Recorded) -> ReviewStep | None:
    match item.event:
        case events.Decision() as event:
            return ReviewStep("decided", event.time, item.index, outcome=event.outcome)
        case events.ReviewRequested() as event:
            return ReviewStep("contested", event.time, item.index, event.actor, text=event.statement)
        case events.ReviewClaimed() as event:
            return ReviewStep("claimed", event.time, item.index, event.actor, until=event.until)
        case events.ReviewReleased() as event:
            return ReviewStep("released", event.time, item.index, event.actor)
        case events.ReviewProposed() as event:
            return ReviewStep("proposed", event.time, item.index, event.actor, event.outcome, event.comment)
        case events.ReviewRejected() as event:
            return ReviewStep("rejected", event.time, item.index, event.actor, text=event.comment)
        case events.ReviewDecided() as event:
            return ReviewStep("reviewed", event.time, item.index, event.actor, event.outcome, event.comment)
    return None
