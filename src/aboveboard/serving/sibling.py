"""What a worker and its supervisor say to each other, and the worker's end of the line."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from aboveboard.errors import AboveboardError, Overloaded
from aboveboard.serving.gathered import Families
from aboveboard.serving.tracks import TrackPlan

REPORT_SECONDS: Final = 1.0
"""How often a worker reports its counts unasked: what one that is killed has counted since is lost to /metrics."""
ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker takes requests."""

    model: str
    release: str
    started: TrackPlan
    """What the options name, by digest: the same for every worker, whatever a name will stand for later."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker cannot start, or go on."""

    error: AboveboardError


@dataclass(frozen=True, slots=True)
class Counts:
    """A worker's counts, unasked or because of scrape `number`."""

    families: Families
    number: int = 0


@dataclass(frozen=True, slots=True)
class Scrape:
    """Somebody asks a worker for the counts of all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The supervisor wants a worker's counts."""

    number: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """The counts of all, for every scrape this worker has asked for."""

    text: bytes


class Line:
    """A worker's line to its supervisor. When it breaks, the supervisor is gone, and the worker ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[asyncio.Future[bytes]] = []
        self._reporting: asyncio.TimerHandle | None = None

    def say(self, message: Ready | Failed) -> None:
        """Tell the supervisor."""
        self._connection.send(message)

    def attach(self, counts: Callable[[], Families], on_broken: Callable[[], None]) -> None:
        """Listen, and report `counts` now and then; both functions are called on the running event loop."""
        loop = asyncio.get_running_loop()

        def listen() -> None:
            # In a thread: a loop that watches a descriptor makes it non-blocking, and messages would be torn.
            with contextlib.suppress(RuntimeError):  # the loop is closed
                try:
                    while True:
                        loop.call_soon_threadsafe(hear, self._connection.recv())
                except (EOFError, OSError):
                    loop.call_soon_threadsafe(on_broken)

        def hear(message: Wanted | Gathered) -> None:
            if isinstance(message, Wanted):
                self._tell(Counts(counts(), message.number))
                return
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(message.text)

        def report() -> None:
            self._tell(Counts(counts()))
            self._reporting = loop.call_later(REPORT_SECONDS, report)

        threading.Thread(target=listen, name="supervisor-line", daemon=True).start()
        report()

    def detach(self, counts: Families) -> None:
        """Report no more, and leave the last counts behind."""
        if self._reporting is not None:
            self._reporting.cancel()
        self._tell(Counts(counts))

    def _tell(self, message: Counts | Scrape) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone, and the thread that listens says so
            self._connection.send(message)

    async def gathered(self) -> bytes:
        """Return the counts of all workers in the Prometheus text format.

        Raises `Overloaded` where they do not come: a part of them would look like counters that fell.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            if len(self._waiting) == 1:
                self._tell(Scrape())
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError:
            raise Overloaded("the counts of the other workers did not come in time", hint="ask again") from None
        finally:
            if future in self._waiting:
                self._waiting.remove(future)
