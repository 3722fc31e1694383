"""Between the event loop and the journal: hand over without waiting, wake up once for a whole group commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aboveboard.audit import Acknowledgement, AuditLog
from aboveboard.errors import AboveboardError, Overloaded

Settled = Callable[[Acknowledgement | AboveboardError], None]
"""Called on the event loop when a record is durable, or when it is known that it will not be. After `Unconfirmed`
it is called once more, when that is known."""

LARGEST_BACKLOG: Final = 2_000
"""Records on their way to the disk. At a few thousand a second they are half a second's work: more would be late."""
DEADLINE_SECONDS: Final = 5.0
GATHERING_SECONDS: Final = 0.001
"""Of the order of what a sync takes: long enough to share one, too short to be noticed."""


class Unconfirmed(Overloaded):
    """The disk has not confirmed a decision in time; whether it will be in the log is not known yet."""

    code = "unconfirmed"


class _Record:
    """One event on its way to the disk."""

    __slots__ = ("event", "given_up", "settled", "since")

    def __init__(self, event: Any, settled: Settled, since: float) -> None:
        self.event = event
        self.settled = settled
        self.since = since
        self.given_up = False


class Recorder:
    """Hands events to the log's commit thread; runs on one event loop.

    What comes in is gathered until the loop has nothing else to do, and handed over together: the commit thread, once
    awake, competes with the loop for the interpreter, and every group costs a sync, so it is better woken once, for
    everything. Nobody waits longer than `GATHERING_SECONDS` for others to come.
    """

    def __init__(
        self,
        log: AuditLog,
        *,
        timer: Callable[[], float],
        largest_backlog: int = LARGEST_BACKLOG,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = log.channel(self._committed)
        self._timer = timer
        self._largest_backlog = largest_backlog
        self._deadline = deadline
        self._watch: asyncio.TimerHandle | None = None
        self._gathered: list[_Record] = []
        self._pending: deque[_Record] = deque()
        self.settled: float | None = None
        """When the last group became durable."""
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()

    @property
    def pending(self) -> int:
        """How many records were handed over and are not yet settled."""
        return len(self._pending)

    def lag(self) -> float:
        """Return the age in seconds of the oldest record that is not yet settled."""
        return self._timer() - self._pending[0].since if self._pending else 0.0

    def admit(self) -> None:
        """Raise `Overloaded` when the disk is so far behind that another record would be late."""
        if len(self._pending) >= self._largest_backlog:
            raise Overloaded("more decisions are asked for than the disk takes", hint="try again in a second")

    def submit(self, event: Any, settled: Settled) -> None:
        """Take an event for the journal; `settled` is called once, on the loop, also when the journal refuses it.

        When the deadline passes it gets `Unconfirmed`, and once more what came of it.
        """
        if not self._gathered:
            self._loop.call_soon(self._look_around, 0)
        record = _Record(event, settled, self._timer())
        self._gathered.append(record)
        self._pending.append(record)
        self._idle.clear()
        if self._watch is None:
            self._watch = self._loop.call_later(self._deadline, self._give_up)

    async def drained(self) -> None:
        """Wait until everything handed over is settled."""
        await self._idle.wait()

    def _look_around(self, gathered: int) -> None:
        """Hand over if nothing has come in since the last turn of the loop, when there were so many."""
        waiting = self._gathered
        if len(waiting) > gathered and self._timer() - waiting[0].since < GATHERING_SECONDS:
            self._loop.call_soon(self._look_around, len(waiting))
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        try:
            self._channel.submit_all([(record.event, record) for record in gathered])
        except AboveboardError as error:
            # The journal takes no more.
            for refused in gathered:
                self._pending.remove(refused)
                refused.settled(error)
            self._note_idle()

    def _committed(self, batch: list[tuple[Any, Acknowledgement | AboveboardError]]) -> None:
        """Runs in the commit thread, once for each group commit."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to answer
            self._loop.call_soon_threadsafe(self._settle, batch)

    def _settle(self, batch: list[tuple[_Record, Acknowledgement | AboveboardError]]) -> None:
        pending = self._pending
        self.settled = self._timer()
        for record, result in batch:
            # The journal keeps the order, so this is the oldest; were it ever not so, it is looked for.
            if pending[0] is record:
                pending.popleft()
            else:
                pending.remove(record)
            record.settled(result)
        self._note_idle()

    def _give_up(self) -> None:
        """Tell those who have waited too long; look again when the next may have."""
        self._watch = None
        late = self._timer() - self._deadline
        for record in list(self._pending):
            if record.since > late:
                self._watch = self._loop.call_later(max(record.since - late, 0.001), self._give_up)
                break
            if not record.given_up:
                record.given_up = True
                record.settled(
                    Unconfirmed(
                        "the disk did not confirm the decision in time",
                        hint="ask again, with the same idempotency key: the same decision is answered, once",
                    )
                )

    def _note_idle(self) -> None:
        if not self._pending:
            self._idle.set()
