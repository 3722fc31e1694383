"""Every route but the decision path: which handler answers where, and how what goes wrong is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aboveboard.audit import AuditLog
from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError, NotFound
from aboveboard.serving import oip
from aboveboard.serving.access import Access
from aboveboard.serving.cases import Cases
from aboveboard.serving.control import TrackControl
from aboveboard.serving.deciding import Deciding
from aboveboard.serving.entries import TRACE
from aboveboard.serving.exchange import json_response
from aboveboard.serving.http import fault, refuse
from aboveboard.serving.joining import Joining
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.oip_rest import InferenceRest
from aboveboard.serving.operations import Operations
from aboveboard.serving.problems import CONTENT_TYPE, extra_headers, in_one_line
from aboveboard.serving.reading import Reading
from aboveboard.serving.records import Records
from aboveboard.serving.refusals import MethodNotAllowed
from aboveboard.serving.reporting import Reporting
from aboveboard.serving.reviewing import Reviewing
from aboveboard.serving.reviews import Reviews
from aboveboard.serving.service import DecisionService
from aboveboard.serving.shared_work import SharedWork
from aboveboard.serving.terms import Terms
from aboveboard.serving.untraced import UNTRACED

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


class Routes:
    """The route table, over what one server shares."""

    def __init__(
        self,
        *,
        log: AuditLog,
        control: TrackControl,
        service: Callable[[], DecisionService],
        metrics: Metrics,
        exposition: Callable[[], Awaitable[bytes]],
        clock: Clock,
        access: Access,
    ) -> None:
        take_in = SharedWork(log.take_in)
        records = Records(log, take_in=take_in)
        terms = Terms(control)
        reviews = Reviews(log, clock=clock, terms=terms)
        cases = Cases(log, take_in=take_in, clock=clock, terms=terms)
        self._metrics = metrics
        self._deciding = Deciding(service=service, access=access, metrics=metrics)
        self._reading = Reading(log=log, records=records, control=control, access=access)
        self._reviewing = Reviewing(reviews=reviews, cases=cases, records=records, access=access)
        self._reporting = Reporting(joining=Joining(log, clock=clock), metrics=metrics, access=access)
        self._operations = Operations(
            control=control, metrics=metrics, gathered=exposition, cases=cases, access=access
        )
        self._inference = InferenceRest(control=control, metrics=metrics, access=access)

    def application(self, lifespan: Lifespan) -> Starlette:
        """Return the ASGI application of these routes."""
        application = Starlette(
            routes=[*self._v1(), *self._operational(), *self._v2()],
            exception_handlers={
                AboveboardError: self._refused,
                HTTPException: self._http_exception,
                Exception: self._unexpected,
            },
            lifespan=lifespan,
        )
        application.router.redirect_slashes = False  # to a place that the client's Host header names
        return application

    def _v1(self) -> list[Route]:
        deciding, reading, reviewing = self._deciding, self._reading, self._reviewing
        decision = "/v1/decisions/{decision_id}"
        get, post = ["GET"], ["POST"]
        return [
            Route("/v1/decisions", deciding.single, methods=post),
            Route("/v1/decisions/batch", deciding.batch, methods=post),
            Route(decision, reading.decision, methods=get),
            Route(f"{decision}/notice", reading.notice, methods=get),
            Route("/v1/receipts/{decision_id}", reading.receipt, methods=get),
            Route(f"{decision}/contest", reviewing.contest, methods=post),
            Route(f"{decision}/claim", reviewing.claim, methods=post),
            Route(f"{decision}/claim", reviewing.release, methods=["DELETE"]),
            Route(f"{decision}/review", reviewing.history, methods=get),
            Route(f"{decision}/review", reviewing.decide, methods=post),
            Route(f"{decision}/confirmation", reviewing.confirm, methods=post),
            Route("/v1/reviews", reviewing.queue, methods=get),
            Route("/v1/outcomes", self._reporting.outcome, methods=post),
            Route("/v1/outcomes/batch", self._reporting.batch, methods=post),
        ]

    def _operational(self) -> list[Route]:
        operations = self._operations
        get, post, put = ["GET"], ["POST"], ["PUT"]
        return [
            Route("/livez", operations.alive, methods=get),
            Route("/healthz", operations.alive, methods=get),
            Route("/readyz", operations.ready, methods=get),
            Route("/metrics", operations.metrics, methods=get),
            Route("/openapi.json", operations.openapi, methods=get),
            Route("/problems/{code}", operations.problem, methods=get),
            Route("/v1/tracks", operations.tracks, methods=get),
            Route("/v1/tracks", operations.change_tracks, methods=put),
            Route("/v1/tracks/rollback", operations.roll_back, methods=post),
        ]

    def _v2(self) -> list[Route]:
        inference = self._inference
        get, post = ["GET"], ["POST"]
        model = "/v2/models/{name}"
        both = (model, model + "/versions/{version}")
        return [
            Route("/v2", inference.server, methods=get),
            Route("/v2/health/live", inference.live, methods=get),
            Route("/v2/health/ready", inference.ready, methods=get),
            Route("/v2/models", inference.models, methods=get),
            *[Route(path, inference.model, methods=get) for path in both],
            *[Route(f"{path}/ready", inference.model_ready, methods=get) for path in both],
            *[Route(f"{path}/infer", inference.infer, methods=post) for path in both],
        ]

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, AboveboardError)  # noqa: S101  Starlette's signature is wider than its dispatch
        problem = refuse(error, self._metrics, request.scope.get(TRACE, UNTRACED))
        if request.url.path.startswith("/v2"):
            return json_response(
                oip.ErrorDocument(in_one_line(problem)), status=problem.status, headers=extra_headers(problem)
            )
        return json_response(problem, status=problem.status, media_type=CONTENT_TYPE, headers=extra_headers(problem))

    async def _http_exception(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  as above
        if error.status_code == 405:
            response = await self._refused(request, MethodNotAllowed("this path does not have that method"))
            response.headers["allow"] = (error.headers or {}).get("Allow", "")
            return response
        return await self._refused(request, NotFound("no such path", hint="see /openapi.json"))

    async def _unexpected(self, request: Request, error: Exception) -> Response:
        problem = fault(self._metrics, request.scope.get(TRACE, UNTRACED))
        return json_response(problem, status=500, media_type=CONTENT_TYPE)
