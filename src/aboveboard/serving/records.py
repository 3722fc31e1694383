"""Single decisions, found in the log again with what followed; whoever looks leaves a trace of it there."""

from __future__ import annotations

from collections.abc import Callable

from aboveboard.audit import AuditLog, events
from aboveboard.audit.reading import Recorded
from aboveboard.errors import NotFound


class Records:
    """Reads decisions back. Its methods block: call them off the event loop.

    `take_in` brings what is durable into the log's index.
    """

    def __init__(self, log: AuditLog, *, take_in: Callable[[], object]) -> None:
        self._log = log
        self._take_in = take_in

    def read(self, decision_id: str, actor: str, purpose: str) -> events.Decision:
        """Return a decision; the access is logged. Raises `NotFound`, also for one whose person was erased."""
        found = self._log.history(decision_id, actor=actor, purpose=purpose)
        if not found:
            return decision_of(self.history(decision_id, actor, purpose))
        return decision_of(found)

    def history(self, decision_id: str, actor: str, purpose: str) -> list[Recorded]:
        """Return a decision and all that followed, up to now; the access is logged. Raises `NotFound` as `read`."""
        self._take_in()
        found = self._log.history(decision_id, actor=actor, purpose=purpose)
        if not found:
            raise NotFound("no decision of that id", hint="the id is in the answer to POST /v1/decisions")
        return found


def decision_of(recorded: list[Recorded]) -> events.Decision:
    """Return the decision that a history begins with."""
    decision = recorded[0].event
    assert isinstance(decision, events.Decision)  # noqa: S101  a history begins with its decision
    return decision
