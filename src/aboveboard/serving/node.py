"""Everything one server process shares, wired together, and its life from the first request to the last."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import generate_latest
from starlette.applications import Starlette

from aboveboard.audit import AuditLog
from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError
from aboveboard.release import ReleaseStore
from aboveboard.serving.access import Access
from aboveboard.serving.claims import Claims, KeyDigests
from aboveboard.serving.control import TrackControl
from aboveboard.serving.gathered import families_of
from aboveboard.serving.http import AsgiApp, DecisionEndpoint
from aboveboard.serving.idempotency import OnceEverywhere
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.presence import Presence
from aboveboard.serving.publication import PublicationLag
from aboveboard.serving.recorder import DEADLINE_SECONDS, LARGEST_BACKLOG, Recorder
from aboveboard.serving.retelling import Retelling
from aboveboard.serving.routes import Routes
from aboveboard.serving.service import Answer, DecisionService
from aboveboard.serving.sibling import Line
from aboveboard.serving.standing import StandingFile
from aboveboard.serving.tracks import Tracks

if TYPE_CHECKING:
    from aboveboard.serving.tracing import Tracing

FOLLOW_SECONDS: Final = 0.1
"""How often a process looks whether another has changed the tracks."""
LOOK_SECONDS: Final = 1.0
"""How often it looks whether another has destroyed an erased person's key, and how far the log is published."""


class Node:
    """Everything one server process shares, wired together."""

    def __init__(
        self,
        tracks: Tracks,
        store: ReleaseStore,
        log: AuditLog,
        *,
        file: StandingFile,
        access: Access,
        token_key: bytes,
        claims: Claims,
        presence: Presence,
        clock: Clock,
        timer: Callable[[], float],
        largest_backlog: int = LARGEST_BACKLOG,
        deadline: float = DEADLINE_SECONDS,
        line: Line | None = None,
        beside: Callable[[Node], AbstractAsyncContextManager[None]] = lambda node: contextlib.nullcontext(),
        tracing: Tracing | None = None,
    ) -> None:
        self.recorder: Recorder
        self.service: DecisionService
        self.metrics = Metrics(pending=lambda: self.recorder.pending, lag=lambda: self.recorder.lag())
        self.on_orphaned: Callable[[], None] = lambda: None
        """Called when the supervisor is gone."""
        self._registry = self.metrics.registry()
        self._line = line
        self._answering = False
        self._lag = PublicationLag()
        self._published: float | None = None
        self.control = TrackControl(tracks, store=store, log=log, clock=clock, file=file, switch=self._switch)
        self.control.resume()
        self._log = log
        self._token_key = token_key
        self._claims = claims
        self._presence = presence
        self._retelling = Retelling(log, store, lambda: self.control.tracks)
        self._clock = clock
        self._timer = timer
        self._largest_backlog = largest_backlog
        self._deadline = deadline
        self._beside = beside
        self.access = access
        self.tracing = tracing
        routes = Routes(
            log=log,
            control=self.control,
            service=lambda: self.service,
            metrics=self.metrics,
            exposition=self._exposition,
            clock=clock,
            access=access,
        )
        routed = routes.application(self._lifespan)
        rest: AsgiApp = routed
        if tracing is not None:
            # Only here: whoever sends no traces need not have what makes them.
            from aboveboard.serving.traced_routes import TracedRoutes

            rest = TracedRoutes(routed, tracing)
        self.application = DecisionEndpoint(lambda: self.service, access, self.metrics, rest, tracing)

    def _switch(self, tracks: Tracks) -> None:
        if self._answering:
            self.service.tracks = tracks

    async def _exposition(self) -> bytes:
        return await self._line.gathered() if self._line is not None else generate_latest(self._registry)

    async def _follow(self) -> None:
        """Take over what other processes have put in service, destroyed and published."""
        looked = self._timer()
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            if self.control.behind:
                await asyncio.to_thread(self.control.follow)
            if self._timer() - looked >= LOOK_SECONDS:
                looked = self._timer()
                with contextlib.suppress(AboveboardError):  # whoever writes next is told
                    await asyncio.to_thread(self._log.forget_erased)
                    latest = await asyncio.to_thread(self._log.latest)
                    self._published = datetime.fromisoformat(latest.time).timestamp() if latest is not None else None
                now = self._clock().timestamp()
                settled = self.recorder.settled
                decided = now - (self._timer() - settled) if settled is not None else None
                self.metrics.publication_lag = self._lag.at(now, decided=decided, published=self._published)

    def _once(self) -> OnceEverywhere[Answer]:
        return OnceEverywhere(
            self._claims,
            self._presence,
            KeyDigests(self._token_key, self.control.tracks.champion.name),
            self._retelling.answer,
            timer=self._timer,
            clock=self._clock,
            replayed=self._count_replay,
            largest_backlog=self._largest_backlog,
            deadline=self._deadline,
        )

    def _count_replay(self) -> None:
        self.metrics.replayed += 1

    @contextlib.asynccontextmanager
    async def _lifespan(self, application: Starlette) -> AsyncIterator[None]:
        """Take up the event loop; at the end, wait until everything handed to the journal is durable."""
        self.recorder = Recorder(
            self._log, timer=self._timer, largest_backlog=self._largest_backlog, deadline=self._deadline
        )
        once = self._once()
        self.service = DecisionService(
            self.control.tracks,
            self.recorder,
            token_key=self._token_key,
            clock=self._clock,
            timer=self._timer,
            metrics=self.metrics,
            once=once,
        )
        self._answering = True
        self.metrics.ready = True
        following = asyncio.create_task(self._follow())
        if self._line is not None:
            self._line.attach(lambda: families_of(self._registry), lambda: self.on_orphaned())
        try:
            async with self._beside(self):
                yield
        finally:
            self.metrics.ready = False
            await once.drained()
            await self.service.searching.close()
            await self.recorder.drained()
            await once.close()
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            if self._line is not None:
                self._line.detach(families_of(self._registry))
