"""Alternatives for those who ask for them with a decision: looked for beside the event loop, and within a time.

A search takes a millisecond for a few features, seconds for a large ensemble in which everything can be changed. It
runs in one thread, one search after the other, which lets go of the interpreter between steps: whoever asked for
nothing of the kind does not wait for it. When the time is over, the answer says so and goes out without; the notice,
which is not in a hurry, has them all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aboveboard.errors import AboveboardError
from aboveboard.serving.alternatives import NOT_IN_TIME, Alternatives, alternatives
from aboveboard.serving.idempotency import Unforeseen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aboveboard.serving.deployment import Deployment

SECONDS: Final = 0.08
"""From the decision until the answer goes on without. An answer is due in 100 ms: the rest is the disk's."""
PAUSE_SECONDS: Final = 0.00005
"""A sleep lets go of the interpreter, and lasts until others have taken it; one of no length would take it back."""

Told = Callable[[Alternatives | AboveboardError], None]

_log = logging.getLogger("aboveboard.serving")


class OutOfTime(Exception):
    """The time of a search is over."""


class Searching:
    """Looks for alternatives; belongs to one event loop."""

    def __init__(self, *, timer: Callable[[], float], seconds: float = SECONDS) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "alternatives")
        self._timer = timer
        self._seconds = seconds
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def ask(self, deployment: Deployment, row: NDArray[np.float64], locale: str, told: Told) -> None:
        """Call `told` once, on the loop, with the alternatives to an encoded row that was not favourable.

        When the time is over it gets `NOT_IN_TIME`, and an error where there was one.
        """
        deadline = self._timer() + self._seconds
        self._waiting += 1
        self._idle.clear()

        def settle(found: Alternatives | AboveboardError) -> None:
            if not watch.cancelled():
                watch.cancel()
                self._waiting -= 1
                if not self._waiting:
                    self._idle.set()
                told(found)

        def search() -> None:
            found = self._found(deployment, row, locale, deadline)
            with suppress(RuntimeError):  # the loop is closed: nobody is left to answer
                self._loop.call_soon_threadsafe(settle, found)

        watch = self._loop.call_later(self._seconds, settle, NOT_IN_TIME)
        self._thread.submit(search)

    async def lull(self) -> None:
        """Wait until nobody waits for a search, no longer than one may take."""
        if self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), self._seconds)

    async def close(self) -> None:
        """Wait until everybody who asked has been told, and end the thread."""
        await self._idle.wait()
        self._thread.shutdown(wait=False)

    def _found(
        self, deployment: Deployment, row: NDArray[np.float64], locale: str, deadline: float
    ) -> Alternatives | AboveboardError:
        def pause() -> None:
            if self._timer() >= deadline:
                raise OutOfTime
            time.sleep(PAUSE_SECONDS)

        try:
            pause()  # it may have waited too long for its turn
            return alternatives(deployment, row, locale, pause)
        except OutOfTime:
            return NOT_IN_TIME
        except AboveboardError as error:
            return error
        except Exception:  # noqa: BLE001  nobody may be left waiting
            _log.exception("unforeseen fault")
            return Unforeseen("the server made a mistake")
