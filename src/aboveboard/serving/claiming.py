"""Between the event loop and the claims: hand over without waiting, and make durable in groups.

What comes in during one turn of the loop is handed over at its end, together, as in `recorder.py`; while one group is
on its way to the disk the next one gathers. What became of a claim is not waited for, and written a little later.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError, StorageFailed
from aboveboard.serving.claims import Claim, Claims, Mark
from aboveboard.serving.presence import DatabasePresence, FilePresence, Presence

MARK_SECONDS: Final = 0.05
"""How long what became of a decision may wait to be noted: other workers who were asked the same wait for it."""
_LARGEST_GROUP = 512
_UPKEEP_SECONDS = 2.0
_NEXT_PURGE_SECONDS = 0.05

Claimed = Callable[[Claim, Claim | AboveboardError | None], None]
"""Called on the loop with a claim as it was made and with what stands in its way, the error, or None."""
Marked = Callable[[], None]


@contextlib.contextmanager
def open_claims(directory: Path, database: str | None = None) -> Iterator[tuple[Claims, Presence]]:
    """Yield the claims of an installation, and this process's presence among those who claim.

    They are in `directory`, for the processes of one machine; or where the log is, in the PostgreSQL database at a
    URL. Claims and log belong together: what a dead process has claimed, the log must know. Raises `StorageFailed`.
    """
    with contextlib.ExitStack() as stack:
        presence: Presence
        if database is None:
            claims = stack.enter_context(contextlib.closing(Claims.sqlite(directory / "idempotency.sqlite")))
            presence = FilePresence(directory / "present")
        else:
            claims = stack.enter_context(contextlib.closing(Claims.postgresql(database)))
            presence = DatabasePresence(claims.database)
        stack.callback(presence.end)
        yield claims, presence


class _Wanted(NamedTuple):
    claim: Claim
    told: Claimed


class _Noted(NamedTuple):
    mark: Mark
    claim: Claim
    told: Marked | None


class Claiming:
    """Makes claims and marks in a thread; belongs to one event loop, from its making until `close`."""

    def __init__(self, claims: Claims, presence: Presence, *, clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self._claims = claims
        self._presence = presence
        self._clock = clock
        self._gathered: list[_Wanted | _Noted] = []
        self._wanted: deque[_Wanted] = deque()
        self._urgent: deque[_Noted] = deque()
        self._noted: deque[_Noted] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._noted_since = 0.0
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._run, "claims"), (self._look_after, "claims-upkeep"))
        ]
        for thread in self._threads:
            thread.start()

    def claim(self, claim: Claim, told: Claimed) -> None:
        """Take a key; its owner is filled in. `told` is called once, on the loop."""
        self._gather(_Wanted(claim, told))

    def mark(self, mark: Mark, claim: Claim, told: Marked | None = None) -> None:
        """Note what became of a claim, `SETTLED` a little later, the rest at once; `told` is called when it is done.

        Where the database does not take it, it is tried again with the next; whoever waits is told all the same.
        """
        self._gather(_Noted(mark, claim, told))

    async def close(self) -> None:
        """Write what is still to be written, and stop."""
        self._hand_over()
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._closed.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _gather(self, item: _Wanted | _Noted) -> None:
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(item)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        with self._changed:
            first = not self._noted
            for item in gathered:
                if isinstance(item, _Wanted):
                    self._wanted.append(item)
                elif item.mark is Mark.SETTLED:
                    self._put_off([item])
                else:
                    self._urgent.append(item)
            if self._wanted or self._urgent or first:
                self._changed.notify()

    def _put_off(self, noted: Iterable[_Noted]) -> None:
        if not self._noted:
            self._noted_since = time.monotonic()
        self._noted.extend(noted)

    # -- in the threads

    def _run(self) -> None:
        while True:
            with self._changed:
                self._wait()
                closing = self._closing
                wanted = [self._wanted.popleft() for _ in range(min(len(self._wanted), _LARGEST_GROUP))]
                noted: list[_Noted] = []
                if self._urgent or self._marks_are_due() or (closing and not wanted):
                    noted += [*self._urgent, *self._noted]
                    self._urgent.clear()
                    self._noted.clear()
            if noted:
                self._note(noted)
            if wanted:
                self._take(wanted)
            elif closing:
                return

    def _wait(self) -> None:
        """Wait, holding the lock, until there is something to do."""
        while not (self._wanted or self._urgent or self._closing or self._marks_are_due()):
            left = self._noted_since + MARK_SECONDS - time.monotonic() if self._noted else None
            self._changed.wait(left)

    def _marks_are_due(self) -> bool:
        return bool(self._noted) and time.monotonic() >= self._noted_since + MARK_SECONDS

    def _take(self, wanted: list[_Wanted]) -> None:
        told: list[tuple[Claimed, Claim, Claim | AboveboardError | None]]
        try:
            owner = self._presence.renewed()
            claims = [item.claim._replace(owner=owner) for item in wanted]
            obstacles = self._claims.claim(claims, self._clock())
            calls = [item.told for item in wanted]
            told = list(zip(calls, claims, obstacles, strict=True))
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may be left waiting
            failure = _storage_failure(error)
            told = [(item.told, item.claim, failure) for item in wanted]
            # Whether the rows are there nobody knows; nothing is decided under them.
            with self._changed:
                self._put_off(_Noted(Mark.RELEASED, item.claim, None) for item in wanted)
        self._on_loop(lambda: [call(claim, obstacle) for call, claim, obstacle in told])

    def _note(self, noted: list[_Noted]) -> None:
        try:
            self._claims.mark((item.mark, item.claim) for item in noted)
        except Exception:  # noqa: BLE001  the thread must go on; what is not noted, the log knows
            with self._changed:
                self._put_off(item._replace(told=None) for item in noted)
        waiting = [item.told for item in noted if item.told is not None]
        if waiting:
            self._on_loop(lambda: [told() for told in waiting])

    def _look_after(self) -> None:
        """Delete what has expired, a little at a time, in a thread of its own: nobody's claim waits for it."""
        pause = _UPKEEP_SECONDS
        while not self._closed.wait(pause):
            pause = _UPKEEP_SECONDS
            with contextlib.suppress(AboveboardError):  # it is tried again
                if self._claims.purge(self._clock()):
                    pause = _NEXT_PURGE_SECONDS
                else:
                    self._claims.tidy()

    def _on_loop(self, call: Callable[[], Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear
            self._loop.call_soon_threadsafe(call)


def _storage_failure(error: Exception) -> AboveboardError:
    if isinstance(error, AboveboardError):
        return error
    failure = StorageFailed(f"idempotency keys cannot be kept: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
