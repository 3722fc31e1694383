"""Decisions by the batch; single ones take the short way through `lane` and `http`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from aboveboard.errors import AboveboardError, NotFound
from aboveboard.serving.access import Access, Role
from aboveboard.serving.entries import TRACE
from aboveboard.serving.exchange import client_of, json_response, whole_body
from aboveboard.serving.http import refuse
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.requests import Batch, decode
from aboveboard.serving.service import Answer, DecisionService
from aboveboard.serving.untraced import UNTRACED


class Deciding:
    """The handlers that decide."""

    def __init__(self, *, service: Callable[[], DecisionService], access: Access, metrics: Metrics) -> None:
        self._service = service
        self._access = access
        self._metrics = metrics

    async def single(self, request: Request) -> Response:
        """Stand for the path whose `POST` never comes here, so that other methods are answered correctly."""
        raise NotFound("decisions are made by POST")

    async def batch(self, request: Request) -> Response:
        """Decide each request by itself; one that is refused has its problem in its place."""
        client = client_of(request, self._access, Role.DECIDE)
        batch = decode(await whole_body(request), Batch)
        request.scope.get(TRACE, UNTRACED).note(batch_size=len(batch.requests))
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer | AboveboardError]] = []
        for body in batch.requests:
            future = loop.create_future()
            futures.append(future)
            service = self._service()
            # Whoever asks for alternatives gets the time for them, as if they had asked alone.
            await service.searching.lull()
            try:
                service.decide(bytes(body), future.set_result, client=client.name)
            except AboveboardError as error:
                future.set_result(error)
            await asyncio.sleep(0)  # others have their turn between two of these
        answers = [await future for future in futures]
        return json_response(
            {"answers": [refuse(a, self._metrics) if isinstance(a, AboveboardError) else a for a in answers]}
        )
