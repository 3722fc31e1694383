"""One round of work for all who want it done after they asked: nobody does alone what others wait for, too."""

from __future__ import annotations

import threading
from collections.abc import Callable


class SharedWork:
    """Calling it returns after `work` has been done once from beginning to end since the call. Blocks."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._running = False
        self._begun = 0
        self._done = 0

    def __call__(self) -> None:
        """Wait for the next round, or do it. Raises what `work` raises in one's own round."""
        with self._changed:
            wanted = self._begun + 1
            while self._running:
                self._changed.wait()
                if self._done >= wanted:
                    return
            self._running = True
            self._begun += 1
            number = self._begun
        done = False
        try:
            self._work()
            done = True
        finally:
            with self._changed:
                self._running = False
                if done:
                    self._done = number
                self._changed.notify_all()
