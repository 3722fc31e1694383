"""What those who run the server ask: whether it lives, its counts, its interface, which releases are in service."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aboveboard.errors import AboveboardError, NotFound
from aboveboard.serving import openapi
from aboveboard.serving.access import Access, Role
from aboveboard.serving.cases import Cases, case_family
from aboveboard.serving.control import Rollback, TrackChange, TrackControl, placed
from aboveboard.serving.exchange import client_of, json_response, whole_body
from aboveboard.serving.gathered import exposition
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.problems import catalogue
from aboveboard.serving.requests import decode


class Operations:
    """The handlers for those who run the server."""

    def __init__(
        self,
        *,
        control: TrackControl,
        metrics: Metrics,
        gathered: Callable[[], Awaitable[bytes]],
        cases: Cases,
        access: Access,
    ) -> None:
        self._control = control
        self._metrics = metrics
        self._gathered = gathered
        self._cases = cases
        self._access = access

    async def alive(self, request: Request) -> Response:
        """Answer that the event loop turns."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Answer whether requests are taken; a load balancer stops sending them while not."""
        ready = self._metrics.ready
        status = {"status": "ready" if ready else "not ready", "release": self._control.tracks.champion.digest}
        return json_response(status, status=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Answer the counts in the Prometheus text format."""
        text = await self._gathered()
        # All workers find the same in the log: whoever is asked says it, and nobody adds it up.
        with contextlib.suppress(AboveboardError):  # the counts above are told all the same
            counts = await run_in_threadpool(self._cases.count)
            text += exposition([case_family(self._control.tracks.champion.name, counts)])
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def openapi(self, request: Request) -> Response:
        """Answer the description of this interface."""
        return json_response(openapi.document())

    async def problem(self, request: Request) -> Response:
        """Answer what a problem's code means."""
        found = catalogue().get(request.path_params["code"])
        if found is None:
            raise NotFound("no such problem", hint="the codes are listed under /openapi.json")
        return json_response(found)

    async def tracks(self, request: Request) -> Response:
        """Answer which releases are in service."""
        return json_response(self._tracks_document())

    async def change_tracks(self, request: Request) -> Response:
        """Put other releases in service; each is verified first, and the change is logged first."""
        client = client_of(request, self._access, Role.OPERATE)
        change = decode(await whole_body(request), TrackChange)
        await run_in_threadpool(self._control.change, change.tracks, actor=client.name)
        return json_response(self._tracks_document())

    async def roll_back(self, request: Request) -> Response:
        """Put back what was in service before the last change."""
        client = client_of(request, self._access, Role.OPERATE)
        rollback = decode(await whole_body(request), Rollback)
        await run_in_threadpool(self._control.roll_back, actor=client.name, reason=rollback.reason)
        return json_response(self._tracks_document())

    def _tracks_document(self) -> dict[str, Any]:
        tracks = self._control.tracks
        return {
            "model": tracks.champion.name,
            "tracks": [{"release": r, "track": t, "weight": w} for r, t, w in placed(tracks)],
        }
