"""Publishing in the background: every so often, on after any failure, and once more at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from aboveboard.errors import AboveboardError, StorageFailed


class Background:
    """A thread that does one round of work every so often, and remembers why the last one failed, if it did."""

    def __init__(self, work: Callable[[], object], last: Callable[[], object]) -> None:
        """Do `work` in every round, and `last` before stopping."""
        self._work = work
        self._last = last
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: AboveboardError | None = None

    def start(self, interval: float) -> None:
        """Begin, unless it runs already; wait `interval` seconds between rounds."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, args=(interval,), name="audit-publish", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the round that is under way, and the last work."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, interval: float) -> None:
        while not self._stop.wait(interval):
            try:
                self._work()
                self.failure = None
            except AboveboardError as error:
                self.failure = error
            except Exception as error:  # noqa: BLE001 - the thread must go on; whoever watches is told
                self.failure = StorageFailed(f"publishing failed: {type(error).__name__}: {error}")
        with suppress(AboveboardError):
            self._last()
