"""Single decisions, found in the log again; whoever looks leaves a trace of it there."""

from __future__ import annotations

from aboveboard.audit import AuditLog, Query, events
from aboveboard.errors import NotFound


class Records:
    """Reads decisions back. Its methods block: call them off the event loop."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def read(self, decision_id: str, actor: str, purpose: str) -> events.Decision:
        """Return a decision; the access is logged. Raises `NotFound`, also for one whose person was erased."""
        event = self._log.read(self._index_of(decision_id, actor, purpose), actor=actor, purpose=purpose)
        if not isinstance(event, events.Decision):  # the query asked for this kind
            raise NotFound("no decision of that id")
        return event

    def _index_of(self, decision_id: str, actor: str, purpose: str) -> int:
        query = Query(decision_id=decision_id, kind="decision/1", limit=1)
        found = self._log.find(query, actor=actor, purpose=purpose)
        if not found:
            self._log.publish()  # it may be durable in the journal and not yet in the log
            found = self._log.find(query, actor=actor, purpose=purpose)
        if not found:
            raise NotFound("no decision of that id", hint="the id is in the answer to POST /v1/decisions")
        return found[0].index
