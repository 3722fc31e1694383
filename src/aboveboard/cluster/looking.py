"""Which service is looked at when: reasons gather, a few services are looked at at a time, changes by people first.

Thousands of services cost one entry each here: no task, no timer of their own. However many become due at once, at
the restart of an operator or when a policy changed, the API server is asked by as many as are looked at abreast.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger("aboveboard.cluster")


class Looking:
    """A queue of services by uid. Of several moments for one service the earliest counts; it is looked at once."""

    def __init__(
        self, look: Callable[[str], Awaitable[float]], *, abreast: int, retry: float, timer: Callable[[], float]
    ) -> None:
        """Make a queue. `look` returns the seconds until the next look; should it raise, `retry` seconds pass."""
        self._look = look
        self._abreast = abreast
        self._retry = retry
        self._timer = timer
        self._due: dict[str, float] = {}
        self._moments: list[tuple[float, int, str]] = []
        self._first: set[str] = set()
        self._busy: set[str] = set()
        self._ready: asyncio.PriorityQueue[tuple[int, int, str]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._earlier = asyncio.Event()

    def wake(self, uid: str, *, after: float = 0, first: bool = False) -> None:
        """Have a service looked at in so many seconds, or sooner if it is due sooner; `first` goes before others."""
        moment = self._timer() + after
        if first:
            self._first.add(uid)
        if self._due.get(uid, moment) < moment:
            return
        self._due[uid] = moment
        heapq.heappush(self._moments, (moment, next(self._numbers), uid))
        if self._moments[0][0] == moment:
            self._earlier.set()

    def forget(self, uid: str) -> None:
        """Never look at it again."""
        self._due.pop(uid, None)
        self._first.discard(uid)

    def waiting(self) -> int:
        """Return how many services are due and wait for their turn."""
        return self._ready.qsize()

    async def run(self) -> None:
        """Look for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._abreast):
                group.create_task(self._work())
            while True:
                self._hand_out()
                self._earlier.clear()
                wait = self._moments[0][0] - self._timer() if self._moments else None
                try:
                    async with asyncio.timeout(wait):
                        await self._earlier.wait()
                except TimeoutError:
                    continue

    def _hand_out(self) -> None:
        now = self._timer()
        while self._moments and self._moments[0][0] <= now:
            moment, _, uid = heapq.heappop(self._moments)
            if uid in self._busy:
                continue  # whoever looks at it now hands it in again
            if self._due.get(uid) == moment:  # else there was an earlier moment, or it is gone
                self._due[uid] = float("-inf")  # until somebody looks, every further reason is this one
                self._ready.put_nowait((uid not in self._first, next(self._numbers), uid))

    async def _work(self) -> None:
        while True:
            _, _, uid = await self._ready.get()
            if self._due.pop(uid, None) is None:
                continue
            self._first.discard(uid)
            self._busy.add(uid)
            try:
                wait = await self._look(uid)
            except Exception:  # noqa: BLE001  one service must not stop the others, whatever it was
                _log.exception("a service could not be looked at")
                wait = self._retry
            finally:
                self._busy.discard(uid)
            meanwhile = self._due.pop(uid, None)
            if meanwhile is not None:  # something happened during the look, which may have come too late for it
                self.wake(uid, after=max(0.0, meanwhile - self._timer()))
            if wait >= 0:
                self.wake(uid, after=wait)
