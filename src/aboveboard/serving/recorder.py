"""Between the event loop and the journal: hand over without waiting, wake up once for a whole group commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from aboveboard.audit import Acknowledgement, AuditLog
from aboveboard.errors import AboveboardError

Settled = Callable[[Acknowledgement | AboveboardError], None]
"""Called on the event loop when a record is durable, or when it is known that it will not be."""


class Recorder:
    """Hands events to the log's commit thread; runs on one event loop."""

    def __init__(self, log: AuditLog, *, timer: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = log.channel(self._committed)
        self._timer = timer
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

    def submit(self, event: Any, settled: Settled) -> None:
        """Hand an event to the journal; `settled` is called once, on the loop, and never after this raised.

        Raises `Overloaded` when the journal's queue is full and `StorageFailed` while the disk refuses.
        """
        self._channel.submit(event, settled)
        self._since.append(self._timer())
        self._idle.clear()

    async def drained(self) -> None:
        """Wait until everything handed over is settled."""
        await self._idle.wait()

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
