"""Several workers behind one socket: start them, start again the one that ends, add up their counts, stop them all.

The supervisor binds the port, serves nothing itself and holds no model. A worker is a whole decision server with a
journal and a socket of its own on the shared port. The supervisor holds every socket, too: what comes in while a
worker is started again waits for it, and is not lost.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import multiprocessing
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

from aboveboard.errors import AboveboardError
from aboveboard.serving.gathered import Families, exposition, together, what_lasts
from aboveboard.serving.sibling import Counts, Failed, Gathered, Ready, Scrape, Wanted

FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 10.0
SETTLED_SECONDS: Final = 30.0
"""A worker that has lived so long has not died at its start: the next pause is short again."""
ATTEMPTS: Final = 5
"""So often in a row a worker may end before it is ready."""
SCRAPE_SECONDS: Final = 1.0
"""How long a worker may take to say what it has counted; then what it last said counts."""

_log = logging.getLogger("aboveboard.serving")

Target = Callable[..., None]
"""Called in a process of its own with the worker's number, the socket, its line and the tracks (None: as named)."""


class WorkerLost(AboveboardError):
    """A worker ended again and again before it was ready."""

    code = "worker-lost"


@dataclasses.dataclass(eq=False)
class _Worker:
    """One place for a worker, and the process that has it at present."""

    number: int
    process: Any = None
    line: Connection | None = None
    ready: bool = False
    born: float = 0.0
    failures: int = 0
    error: AboveboardError | None = None
    counts: Families = dataclasses.field(default_factory=list)


class Supervisor:
    """Runs a worker on each of `listeners` until it is told to stop; see `run`."""

    def __init__(
        self,
        target: Target,
        arguments: tuple[Any, ...],
        listeners: Sequence[socket.socket],
        on_ready: Callable[[Ready], None],
    ) -> None:
        self._target = target
        self._arguments = arguments
        self._listeners = listeners
        self._workers = [_Worker(number) for number in range(len(listeners))]
        self._on_ready = on_ready
        self._context = multiprocessing.get_context("spawn")
        self._first: Ready | None = None
        self._announced = False
        self._past: Families = []
        self._stopping = False
        self._failure: AboveboardError | None = None
        self._over: asyncio.Event
        self._scrape = 0
        self._awaited: set[int] = set()
        self._asking: set[int] = set()
        self._scrape_timer: asyncio.TimerHandle | None = None

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, and let every worker finish what it has accepted.

        The first worker comes up alone: what is wrong with the release or the options is then raised as it would
        be by a single server. Raises `WorkerLost` when one of them does not come up any more.
        """
        asyncio.run(self._run())
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._start(self._workers[0])
        try:
            await self._over.wait()
        finally:
            for worker in self._workers:
                if worker.process is not None:
                    worker.process.kill()

    def _start(self, worker: _Worker) -> None:
        if self._stopping:
            return
        loop = asyncio.get_running_loop()
        ours, theirs = self._context.Pipe()
        tracks = self._first.started if self._first is not None else None
        worker.process = self._context.Process(
            target=self._target,
            args=(worker.number, self._listeners[worker.number], theirs, tracks, *self._arguments),
            name=f"aboveboard-worker-{worker.number}",
        )
        worker.process.start()
        theirs.close()
        worker.line, worker.ready, worker.born, worker.error = ours, False, loop.time(), None
        loop.add_reader(ours.fileno(), self._hear, worker)
        loop.add_reader(worker.process.sentinel, self._ended, worker)

    def _hear(self, worker: _Worker) -> bool:
        """Take one message; return whether there may be more."""
        line = worker.line
        if line is None:
            return False
        try:
            message = line.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(line.fileno())  # `_ended` follows
            return False
        if isinstance(message, Ready):
            self._came_up(worker, message)
        elif isinstance(message, Failed):
            worker.error = message.error
        elif isinstance(message, Counts):
            worker.counts = message.families
            if message.number == self._scrape:
                self._awaited.discard(worker.number)
                self._answer_if_whole()
        elif isinstance(message, Scrape):
            self._gather(worker)
        return True

    def _came_up(self, worker: _Worker, ready: Ready) -> None:
        worker.ready = True
        if self._first is None:
            self._first = ready
            for other in self._workers[1:]:
                self._start(other)
        if not self._announced and all(other.ready for other in self._workers):
            self._announced = True
            self._on_ready(self._first)

    def _ended(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(worker.process.sentinel)
        line = worker.line
        if line is not None:
            while line.poll() and self._hear(worker):  # what it said last
                pass
            loop.remove_reader(line.fileno())
            line.close()
        worker.process.join()
        code, was_ready = worker.process.exitcode, worker.ready
        worker.process = worker.line = None
        worker.ready = False
        self._past = together([self._past, what_lasts(worker.counts)])
        worker.counts = []
        self._awaited.discard(worker.number)
        self._asking.discard(worker.number)
        self._answer_if_whole()
        if self._stopping:
            if code != 0 and was_ready and self._failure is None:
                self._failure = worker.error or WorkerLost(f"a worker ended with {code} instead of draining")
            self._end_if_all_have()
            return
        if was_ready and loop.time() - worker.born >= SETTLED_SECONDS:
            worker.failures = 0
        worker.failures += 1
        if not was_ready and (not self._announced or worker.failures >= ATTEMPTS):
            self._failure = worker.error or WorkerLost(
                f"a worker ended with {code} before it was ready", hint="the server's log says why"
            )
            self._stop()
            return
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (worker.failures - 1), LONGEST_PAUSE_SECONDS)
        _log.error("worker %d ended with %s and is started again in %.2f s", worker.number, code, pause)
        loop.call_later(pause, self._start, worker)

    def _gather(self, asking: _Worker) -> None:
        """Ask every worker what it has counted, unless that is being done already."""
        self._asking.add(asking.number)
        if self._scrape_timer is not None:
            return
        self._scrape += 1
        self._awaited = set()
        for worker in self._workers:
            if worker.ready and worker.line is not None:
                try:
                    worker.line.send(Wanted(self._scrape))
                    self._awaited.add(worker.number)
                except OSError:  # it is ending; what it last said counts
                    continue
        self._scrape_timer = asyncio.get_running_loop().call_later(SCRAPE_SECONDS, self._answer)
        self._answer_if_whole()

    def _answer_if_whole(self) -> None:
        if self._scrape_timer is not None and not self._awaited:
            self._answer()

    def _answer(self) -> None:
        if self._scrape_timer is not None:
            self._scrape_timer.cancel()
            self._scrape_timer = None
        text = exposition(together([self._past, *(worker.counts for worker in self._workers)]))
        asking, self._asking = self._asking, set()
        for number in asking:
            line = self._workers[number].line
            if line is not None:
                try:
                    line.send(Gathered(text))
                except OSError:
                    continue

    def _stop(self) -> None:
        """Close the door, and ask every worker to finish."""
        if self._stopping:
            return
        self._stopping = True
        for listener in self._listeners:
            listener.close()
        for worker in self._workers:
            if worker.process is not None:
                worker.process.terminate()
        self._end_if_all_have()

    def _end_if_all_have(self) -> None:
        if all(worker.process is None for worker in self._workers):
            self._over.set()
