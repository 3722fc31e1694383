"""Group commit: one thread seals what has gathered, makes it durable, and tells everybody at once.

It waits for nothing but work: as soon as one group is on the medium it takes whatever has come in meanwhile. So a
lone writer waits for one sync, and a thousand writers share one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

import msgspec

from aboveboard.audit.events import Event
from aboveboard.audit.journal import JournalWriter
from aboveboard.audit.sealing import seal
from aboveboard.audit.segment import Sealed
from aboveboard.audit.vault import Vault
from aboveboard.errors import AboveboardError, Overloaded, StorageFailed


class Acknowledgement(msgspec.Struct, frozen=True):
    """The word that an event is durable: where it stands in its journal, and what the log will commit to."""

    writer: str
    batch: int
    ordinal: int
    commitment: str
    """SHA-256 over salt and record, in hex."""

    def as_dict(self) -> dict[str, Any]:
        """Return the acknowledgement as a JSON-ready document."""
        return msgspec.structs.asdict(self)


Settled = tuple[Any, Acknowledgement | AboveboardError]
Deliver = Callable[[list[Settled]], None]


LONGEST_TURN_SECONDS: Final = 0.02
"""How long an erasure may have to wait for sealing that goes on and on."""


class _Turn:
    """The vault held for sealing over several groups: taking it for each cost more than sealing the group."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._held: ExitStack | None = None
        self._ends = 0.0

    @property
    def left(self) -> float | None:
        """How many seconds are left, at least 0, or None when nothing is held."""
        return None if self._held is None else max(0.0, self._ends - time.monotonic())

    def take(self) -> None:
        """Hold the vault, unless it is held already. Raises what `Vault.sealing` does."""
        if self.left == 0:
            self.give_back()
        if self._held is None:
            held = ExitStack()
            held.enter_context(self._vault.sealing())
            self._held, self._ends = held, time.monotonic() + LONGEST_TURN_SECONDS

    def give_back(self) -> None:
        """Let erasures have the vault. Raises `StorageFailed` when the database is gone; it is given back anyway."""
        held, self._held = self._held, None
        if held is not None:
            held.close()


class Committer:
    """A bounded queue in front of a journal, and the thread that empties it."""

    def __init__(
        self, journal: JournalWriter, vault: Vault, *, capacity: int, largest_group: int, retry_seconds: float
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._turn = _Turn(vault)
        self._capacity = capacity
        self._largest_group = largest_group
        self._retry_seconds = retry_seconds
        self._queue: deque[tuple[Event, Deliver, Any]] = deque()
        self._changed = threading.Condition()
        self._idle = False
        self._closing = False
        self._failure: StorageFailed | None = None
        self._thread = threading.Thread(target=self._run, name=f"audit-commit-{journal.name}", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> StorageFailed | None:
        """Why the journal refuses work at present, if it does."""
        return self._failure

    @property
    def depth(self) -> int:
        """How many events wait to be made durable."""
        return len(self._queue)

    def submit(self, work: Sequence[tuple[Event, Deliver, Any]]) -> None:
        """Queue events, all or none; their `deliver` is called from the commit thread with `(tag, outcome)`, once
        per group.

        Raises `Overloaded` when the queue is full and `StorageFailed` while the journal has not recovered.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if self._closing:
                raise Overloaded("the audit log is closing")
            if len(self._queue) + len(work) > self._capacity:
                raise Overloaded(
                    f"{self._capacity} events already wait for the audit log's disk",
                    hint="try again later; the disk or the machine is too slow for this load",
                )
            self._queue.extend(work)
            if self._idle:
                self._changed.notify()

    def close(self) -> None:
        """Make everything queued durable, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._journal.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing and self._failure is None and self._turn.left != 0:
                    self._idle = True
                    self._changed.wait(self._turn.left)
                self._idle = False
                if self._failure is not None and not self._closing:
                    self._changed.wait(self._retry_seconds)
                if self._closing and (not self._queue or self._failure is not None):
                    break
                take = min(len(self._queue), self._largest_group)
                group = [self._queue.popleft() for _ in range(take)]
            if self._failure is not None:
                self._try_to_recover()
            elif group:
                self._commit(group)
            else:
                self._end_turn()
        self._end_turn()

    def _commit(self, group: Sequence[tuple[Event, Deliver, Any]]) -> None:
        outcomes: list[Acknowledgement | AboveboardError]
        try:
            self._turn.take()
            sealed = seal([event for event, _, _ in group], self._vault)
            entries = [item for item in sealed if isinstance(item, Sealed)]
            outcomes = self._written(sealed, entries)
        except AboveboardError as error:
            outcomes = self._fail(error, len(group))
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            outcomes = self._fail(StorageFailed(f"the audit log failed: {type(error).__name__}: {error}"), len(group))
        _deliver(group, outcomes)

    def _end_turn(self) -> None:
        with suppress(AboveboardError):  # whoever writes next is told
            self._turn.give_back()

    def _written(self, sealed: Sequence[Sealed | AboveboardError], entries: Sequence[Sealed]) -> list[Any]:
        written = self._journal.write(entries) if entries else None
        outcomes: list[Acknowledgement | AboveboardError] = []
        name, offset = self._journal.name, 0
        for item in sealed:
            if isinstance(item, Sealed) and written is not None:
                ordinal = written.first_ordinal + offset
                outcomes.append(Acknowledgement(name, written.batch, ordinal, item.commitment.hex()))
                offset += 1
            elif isinstance(item, AboveboardError):
                outcomes.append(item)
        return outcomes

    def _fail(self, error: AboveboardError, count: int) -> list[Acknowledgement | AboveboardError]:
        """Tell the group, and everybody who has queued behind it, that the journal took nothing."""
        self._end_turn()
        failure = (
            error
            if isinstance(error, StorageFailed)
            else StorageFailed(f"the audit log cannot seal: {error.message}", hint=error.hint, **error.facts)
        )
        with self._changed:
            self._failure = failure
            waiting = list(self._queue)
            self._queue.clear()
        _deliver(waiting, [failure] * len(waiting))
        return [failure] * count

    def _try_to_recover(self) -> None:
        try:
            self._journal.recover()
        except StorageFailed as error:
            self._failure = error
            return
        except Exception as error:  # noqa: BLE001 - the thread must go on trying
            self._failure = StorageFailed(f"the journal cannot recover: {type(error).__name__}: {error}")
            return
        with self._changed:
            self._failure = None


def _deliver(
    group: Sequence[tuple[Event, Deliver, Any]], outcomes: Sequence[Acknowledgement | AboveboardError]
) -> None:
    """Call every distinct `deliver` once, with what happened to its events."""
    by_deliver: dict[Deliver, list[Settled]] = {}
    for (_, deliver, tag), outcome in zip(group, outcomes, strict=True):
        by_deliver.setdefault(deliver, []).append((tag, outcome))
    for deliver, settled in by_deliver.items():
        with suppress(Exception):  # a caller's mistake must not stop the log
            deliver(settled)
