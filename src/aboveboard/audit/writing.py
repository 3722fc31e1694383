"""Writing to the log: who waits until an event is durable, and who is told afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aboveboard.audit.committer import Acknowledgement, Committer, Deliver, Settled
from aboveboard.audit.events import Event
from aboveboard.audit.journal import JournalWriter
from aboveboard.audit.opening import Options
from aboveboard.audit.vault import Vault
from aboveboard.errors import AboveboardError, Misuse, Overloaded, StorageFailed


class Channel:
    """A place to submit events from, with one call to `deliver` for each group that became durable."""

    def __init__(self, writer: Writer, deliver: Deliver) -> None:
        self._writer = writer
        self._deliver = deliver

    def submit(self, event: Event, tag: Any) -> None:
        """Queue `event` and return at once. Raises `Overloaded` or `StorageFailed`."""
        self.submit_all([(event, tag)])

    def submit_all(self, tagged: Iterable[tuple[Event, Any]]) -> None:
        """Queue events with their tags, all or none, and return at once. Raises as `submit` does."""
        admitted, deliver = self._writer.admitted, self._deliver
        self._writer.committer.submit([(admitted(event), deliver, tag) for event, tag in tagged])


class Writer:
    """The writing half of a log. Its journal is opened, and its thread started, with the first use."""

    def __init__(self, open_journal: Callable[[], JournalWriter], vault: Vault, options: Options) -> None:
        self._open_journal = open_journal
        self._vault = vault
        self._options = options
        self._committer: Committer | None = None
        self._opening = threading.Lock()

    def close(self) -> None:
        """Make durable what is queued, and stop."""
        if self._committer is not None:
            self._committer.close()
            self._committer = None

    @property
    def committer(self) -> Committer:
        """The thread that makes events durable, started with the first use."""
        if (committer := self._committer) is not None:
            return committer
        with self._opening:
            if self._committer is None:
                options = self._options
                self._committer = Committer(
                    self._open_journal(),
                    self._vault,
                    capacity=options.queue_capacity,
                    largest_group=options.largest_group,
                    retry_seconds=options.retry_seconds,
                )
            return self._committer

    def admitted(self, event: Event) -> Event:
        """Return `event` if it may be in this log at all. Raises `Misuse` for a confidential one in a general log."""
        if getattr(event, "CONFIDENTIAL", False) and self._options.readers is None:
            raise Misuse("this event belongs into a confidential log", hint="open one: aboveboard.audit.confidential")
        return event

    def append_all(self, events: Sequence[Event]) -> list[Acknowledgement]:
        """Return once all `events` are durable; raises the first error there is, as `AuditLog.append` does."""
        outcomes: list[Acknowledgement | AboveboardError | None] = [None] * len(events)
        remaining = len(events)
        done = threading.Event()

        def deliver(settled: list[Settled]) -> None:
            nonlocal remaining
            for position, outcome in settled:
                outcomes[position] = outcome
            remaining -= len(settled)
            if remaining == 0:
                done.set()

        channel = Channel(self, deliver)
        deadline = time.monotonic() + self._options.append_timeout
        for position, event in enumerate(events):
            self._submit_when_there_is_room(channel, event, position, deadline)
        if events and not done.wait(max(0.0, deadline - time.monotonic())):
            raise StorageFailed("the disk has not taken the event in time", hint="check the disk")
        acknowledgements = []
        for outcome in outcomes:
            if isinstance(outcome, AboveboardError):
                raise outcome
            if outcome is not None:
                acknowledgements.append(outcome)
        return acknowledgements

    @staticmethod
    def _submit_when_there_is_room(channel: Channel, event: Event, tag: int, deadline: float) -> None:
        """Submit an event, waiting for a full queue to empty until `deadline`. Raises `Overloaded` then."""
        while True:
            try:
                return channel.submit(event, tag)
            except Overloaded:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.002)
