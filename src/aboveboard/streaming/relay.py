"""The relay: every decision of the log, in its order, to a topic; at least once.

It follows the sequenced log by leaf number. A round reads a stretch, hands the events over, waits until the brokers
have them all, and only then moves its position; stopped in between, the same stretch is sent again. Rounds take
turns by a lock of the log's database, so that a second relay stands by and takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from aboveboard.audit import AuditLog, events
from aboveboard.streaming.cloudevent import CloudEvent, Message, cloud_event
from aboveboard.streaming.meters import RelayMeters
from aboveboard.streaming.position import Positions

ROUND: Final = 1_000
"""Entries in one round: what is sent again, at most, after a crash."""

Publish = Callable[[Sequence[Message]], None]
"""Returns once all are stored by the brokers. Raises `StorageFailed`; then some of them may be."""


class Relay:
    """Copies the decisions of one log to one topic."""

    def __init__(
        self,
        log: AuditLog,
        positions: Positions,
        publish: Publish,
        *,
        stream: str,
        form: Callable[[CloudEvent], Message],
        meters: RelayMeters,
        size: int = ROUND,
    ) -> None:
        self._log = log
        self._positions = positions
        self._publish = publish
        self._stream = stream
        self._form = form
        self._meters = meters
        self._size = size

    def round(self) -> bool:
        """Relay the next stretch; return whether there may be more. Raises what storage, log and brokers raise."""
        with self._log.turn(f"relay {self._stream}"):
            start = self._positions.read(self._stream)
            stretch = self._log.follow(start, self._size)
            decisions = [(index, event) for index, event in stretch.events if isinstance(event, events.Decision)]
            waiting = datetime.fromisoformat(stretch.events[0][1].time) if stretch.events else None
            self._meters.stands(start, stretch.sequenced, waiting)
            if stretch.end <= start:
                return False
            origin = self._log.origin
            self._publish([self._form(cloud_event(event, index, origin)) for index, event in decisions])
            if self._positions.move(self._stream, start, stretch.end):
                self._meters.moved(len(decisions), stretch.unreadable)
                self._meters.stands(stretch.end, stretch.sequenced, waiting if stretch.more else None)
            return stretch.more

    def rewind(self, index: int) -> None:
        """Go to entry `index`, from which everything is sent again, or for the first time."""
        with self._log.turn(f"relay {self._stream}"):
            self._positions.move(self._stream, self._positions.read(self._stream), index)
