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
"""Called on the event loop when a record is durable, or when it is known that it will not be."""

LARGEST_BACKLOG: Final = 2_000
"""Records on their way to the disk. At a few thousand a second they are half a second's work: more would be late."""


class Recorder:
    """Hands events to the log's commit thread; runs on one event loop.

    What comes in during one turn of the loop is handed over at its end, together: the commit thread, once awake,
    competes with the loop for the interpreter, so it is better woken once, for everything.
    """

    def __init__(self, log: AuditLog, *, timer: Callable[[], float], largest_backlog: int = LARGEST_BACKLOG) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = log.channel(self._committed)
        self._timer = timer
        self._largest_backlog = largest_backlog
        self._gathered: list[tuple[Any, Settled]] = []
        self._since: deque[float] = deque()
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()

    @property
    def pending(self) -> int:
        """How many records were handed over and are not yet settled."""
        return len(self._since)

    def lag(self) -> float:
        """Return the age in seconds of the oldest record that is not yet settled."""
        return self._timer() - self._since[0] if self._since else 0.0

    def admit(self) -> None:
        """Raise `Overloaded` when the disk is so far behind that another record would be late."""
        if len(self._since) >= self._largest_backlog:
            raise Overloaded("more decisions are asked for than the disk takes", hint="try again in a second")

    def submit(self, event: Any, settled: Settled) -> None:
        """Take an event for the journal; `settled` is called once, on the loop, also when the journal refuses it."""
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((event, settled))
        self._since.append(self._timer())
        self._idle.clear()

    async def drained(self) -> None:
        """Wait until everything handed over is settled."""
        await self._idle.wait()

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        for number, (event, settled) in enumerate(gathered):
            try:
                self._channel.submit(event, settled)
            except AboveboardError as error:
                # The journal takes no more; what follows would fare no better.
                self._settle([(refused, error) for _, refused in gathered[number:]])
                return

    def _committed(self, batch: list[tuple[Any, Acknowledgement | AboveboardError]]) -> None:
        """Runs in the commit thread, once for each group commit."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to answer
            self._loop.call_soon_threadsafe(self._settle, batch)

    def _settle(self, batch: list[tuple[Settled, Acknowledgement | AboveboardError]]) -> None:
        for settled, result in batch:
            self._since.popleft()
            settled(result)
        if not self._since:
            self._idle.set()
