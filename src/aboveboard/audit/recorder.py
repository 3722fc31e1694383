"""The audit log inside an asyncio server: await durability without a thread per request."""

from __future__ import annotations

import asyncio

from aboveboard.audit.committer import Acknowledgement, Settled
from aboveboard.audit.events import Event
from aboveboard.audit.log import AuditLog
from aboveboard.errors import AboveboardError


class AsyncRecorder:
    """Appends events from the running event loop, waking it once per group commit."""

    def __init__(self, log: AuditLog) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = log.channel(self._deliver)

    async def append(self, event: Event) -> Acknowledgement:
        """Return once `event` is durable; raises as `AuditLog.append` does, `Overloaded` and a known failure at once.

        A caller that is cancelled does not take the event back: it may be in the log.
        """
        future: asyncio.Future[Acknowledgement] = self._loop.create_future()
        self._channel.submit(event, future)
        return await future

    def _deliver(self, settled: list[Settled]) -> None:
        # A loop that has closed meanwhile has nobody left who waits.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, settled)


def _resolve(settled: list[Settled]) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, AboveboardError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
