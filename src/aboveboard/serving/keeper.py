"""The log keeper: a process beside the workers that publishes the audit log, so that no decision waits for it.

Workers make decisions durable in their journals. Putting those in order, growing the tree, signing checkpoints,
indexing and carrying out due erasures is the keeper's work: in the same process it would hold the interpreter for
tens of milliseconds at a time, and a decision that waits for a reader of the log waits too long.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from aboveboard.audit import AuditLog
from aboveboard.errors import AboveboardError
from aboveboard.serving.logs import logging_to
from aboveboard.serving.process import call_this_process

FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 10.0
LAST_SECONDS: Final = 9.0
"""How long to wait for the last publication when the server stops; what is not published then, the next one does. A
little less than a pod is granted after its drain."""

COMMAND: Final = "log-keeper"
NICENESS: Final = 5
"""Where processors are scarce, decisions go first."""

OpenLog = Callable[[], AuditLog]
"""Opens the log in another process, so it must be importable there: a function, or a `partial` of one."""

_log = logging.getLogger("aboveboard.serving")


class Keeper:
    """Keeps one keeper process running, from `start` until `stop`."""

    def __init__(self, open_log: OpenLog, interval: float) -> None:
        self._arguments = (open_log, interval)
        self._context = multiprocessing.get_context("spawn")
        self._told, self._tell = self._context.Pipe(duplex=False)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the keeper, and start it again whenever it ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="keeper-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the keeper publish what has come in, and wait until it has."""
        self._tell.close()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS + 1)
        self._told.close()

    def _watch(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._tell.closed:
            ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(
                target=_keep, args=(ours, *self._arguments), name="aboveboard-log-keeper", daemon=True
            )
            process.start()
            ours.close()
            with theirs:
                ended = wait([process.sentinel, self._told])
            process.join(LAST_SECONDS)  # the line is closed: it publishes once more and ends
            if process.is_alive():
                # Its disk or database hangs. The interpreter would wait for it at the end, and the server not stop.
                _log.error("the log keeper does not end, and is killed; the next server publishes what it leaves")
                process.kill()
                process.join()
            if self._told in ended:
                return
            _log.error("the log keeper ended with %s and is started again in %.2f s", process.exitcode, pause)
            if wait([self._told], pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _keep(line: Connection, open_log: OpenLog, interval: float) -> None:
    """Publish until the line to whoever started this is closed, by them or because they are gone."""
    # A terminal sends Ctrl-C to the whole group: whoever started this decides when it is over.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    call_this_process(COMMAND)
    os.nice(NICENESS)
    with logging_to(sys.stderr):
        try:
            with open_log() as log:
                log.start(interval)
                _report(line, log, interval)
        except AboveboardError as error:
            _log.error("the log keeper cannot keep the log: %s: %s", error.code, error.message)
            sys.exit(1)


def _report(line: Connection, log: AuditLog, interval: float) -> None:
    """Wait until the line is closed; say when publishing fails, and when it works again."""
    failing = False
    while not _closed(line, max(interval, 1.0)):
        failure: Any = log.publish_failure
        if failure is not None and not failing:
            _log.error("the log is not being published: %s: %s", failure.code, failure.message)
        elif failure is None and failing:
            _log.warning("the log is being published again")
        failing = failure is not None


def _closed(line: Connection, seconds: float) -> bool:
    try:
        return line.poll(seconds) and not line.recv_bytes()
    except (EOFError, OSError):
        return True
