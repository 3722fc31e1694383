"""Every route but the decision path: health, metrics, receipts, single decisions, outcomes, inference protocol."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from aboveboard.audit import AuditLog, Query, events
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError, NotFound, RequestRefused
from aboveboard.serving import oip, openapi
from aboveboard.serving.access import Access, Client, Role
from aboveboard.serving.control import Rollback, TrackChange, TrackControl, placed
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.http import check_content_type, fault, refuse, too_large
from aboveboard.serving.inference import served
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.notice import notice_page, write_notice
from aboveboard.serving.outcomes import parse_outcome
from aboveboard.serving.problems import CONTENT_TYPE, catalogue, extra_headers
from aboveboard.serving.recorder import Recorder
from aboveboard.serving.refusals import MethodNotAllowed
from aboveboard.serving.requests import LARGEST_BODY, LOCALE, Batch, decode
from aboveboard.serving.reviews import Contest, Review, Reviews
from aboveboard.serving.service import Answer, DecisionService

_DECISION_ID = re.compile(r"dec-[0-9a-z]{26}")

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


class Routes:
    """The handlers, over what one server shares."""

    def __init__(
        self,
        *,
        log: AuditLog,
        control: TrackControl,
        service: Callable[[], DecisionService],
        recorder: Callable[[], Recorder],
        metrics: Metrics,
        exposition: Callable[[], Awaitable[bytes]],
        clock: Clock,
        access: Access,
    ) -> None:
        self._log = log
        self._control = control
        self._service = service
        self._recorder = recorder
        self._metrics = metrics
        self._exposition = exposition
        self._clock = clock
        self._access = access
        self._reviews = Reviews(log, clock=clock, read=self._read)

    def application(self, lifespan: Lifespan) -> Starlette:
        """Return the ASGI application of these routes."""
        get, post = ["GET"], ["POST"]
        model = "/v2/models/{name}"
        version = model + "/versions/{version}"
        return Starlette(
            routes=[
                Route("/livez", self.alive, methods=get),
                Route("/healthz", self.alive, methods=get),
                Route("/readyz", self.ready, methods=get),
                Route("/metrics", self.metrics, methods=get),
                Route("/openapi.json", self.openapi, methods=get),
                Route("/problems/{code}", self.problem, methods=get),
                Route("/v1/decisions", self.decisions, methods=post),
                Route("/v1/decisions/batch", self.batch, methods=post),
                Route("/v1/decisions/{decision_id}", self.decision, methods=get),
                Route("/v1/decisions/{decision_id}/notice", self.notice, methods=get),
                Route("/v1/decisions/{decision_id}/contest", self.contest, methods=post),
                Route("/v1/decisions/{decision_id}/claim", self.claim, methods=post),
                Route("/v1/decisions/{decision_id}/review", self.review, methods=post),
                Route("/v1/reviews", self.reviews, methods=get),
                Route("/v1/receipts/{decision_id}", self.receipt, methods=get),
                Route("/v1/outcomes", self.outcome, methods=post),
                Route("/v1/tracks", self.tracks, methods=get),
                Route("/v1/tracks", self.change_tracks, methods=["PUT"]),
                Route("/v1/tracks/rollback", self.roll_back, methods=post),
                Route("/v2", self.v2_server, methods=get),
                Route("/v2/health/live", self.v2_live, methods=get),
                Route("/v2/health/ready", self.v2_ready, methods=get),
                Route("/v2/models", self.v2_models, methods=get),
                *[Route(path, self.v2_model, methods=get) for path in (model, version)],
                *[Route(f"{path}/ready", self.v2_model_ready, methods=get) for path in (model, version)],
                *[Route(f"{path}/infer", self.v2_infer, methods=post) for path in (model, version)],
            ],
            exception_handlers={
                AboveboardError: self._refused,
                HTTPException: self._http_exception,
                Exception: self._unexpected,
            },
            lifespan=lifespan,
        )

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
        return Response(await self._exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def openapi(self, request: Request) -> Response:
        """Answer the description of this interface."""
        return json_response(openapi.document())

    async def problem(self, request: Request) -> Response:
        """Answer what a problem's code means."""
        found = catalogue().get(request.path_params["code"])
        if found is None:
            raise NotFound("no such problem", hint="the codes are listed under /openapi.json")
        return json_response(found)

    async def decisions(self, request: Request) -> Response:
        """Stand for the path whose `POST` never comes here, so that other methods are answered correctly."""
        raise NotFound("decisions are made by POST")

    async def batch(self, request: Request) -> Response:
        """Decide each request by itself; one that is refused has its problem in its place."""
        client = self._client(request, Role.DECIDE)
        batch = decode(await whole_body(request), Batch)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer | AboveboardError]] = []
        for body in batch.requests:
            future = loop.create_future()
            futures.append(future)
            try:
                self._service().decide(bytes(body), future.set_result, client=client.name)
            except AboveboardError as error:
                future.set_result(error)
            await asyncio.sleep(0)  # others have their turn between two of these
        answers = [await future for future in futures]
        return json_response(
            {"answers": [refuse(a, self._metrics) if isinstance(a, AboveboardError) else a for a in answers]}
        )

    async def decision(self, request: Request) -> Response:
        """Answer one decision with what it was made from; that it was read is logged."""
        client = self._client(request, Role.READ)
        decision_id = decision_id_of(request)
        purpose = request.query_params.get("purpose", "").strip()
        if not purpose or len(purpose) > 200:
            raise RequestRefused(
                "a purpose is needed to read what is held about a person",
                hint="add ?purpose=…; it is recorded with the access (GDPR art. 5(1)(b))",
            )
        event = await run_in_threadpool(self._read, decision_id, client.name, purpose)
        return Response(msgspec.json.encode(event), media_type="application/json")

    def _client(self, request: Request, role: Role) -> Client:
        authorization = request.headers.get("authorization")
        client = self._access.client(authorization.encode() if authorization is not None else None)
        client.require(role)
        return client

    def _read(self, decision_id: str, actor: str, purpose: str) -> events.Decision:
        event = self._log.read(self._index_of(decision_id, actor, purpose), actor=actor, purpose=purpose)
        if not isinstance(event, events.Decision):  # the query asked for this kind
            raise NotFound("no decision of that id")
        return event

    def _index_of(self, decision_id: str, actor: str, purpose: str) -> int:
        query = Query(decision_id=decision_id, kind="decision/1", limit=1)
        found = self._log.find(query, actor=actor, purpose=purpose)
        if not found:
            self._log.publish()  # it may be durable in the journal and not yet in the log
            found = self._log.find(query, actor=actor, purpose=purpose)
        if not found:
            raise NotFound("no decision of that id", hint="the id is in the answer to POST /v1/decisions")
        return found[0].index

    async def notice(self, request: Request) -> Response:
        """Answer what the person concerned is told about an adverse decision, as JSON or as a page to print."""
        client = self._client(request, Role.READ)
        decision_id, locale = decision_id_of(request), request.query_params.get("locale", "en")
        if LOCALE.fullmatch(locale) is None:
            raise RequestRefused("locale is not a BCP 47 language tag", hint="for example en, de-AT or zh")
        event = await run_in_threadpool(self._read, decision_id, client.name, "notice to the person concerned")
        deployment = self._in_service(event.release)
        notice = await run_in_threadpool(write_notice, event, deployment, locale)
        if "text/html" in request.headers.get("accept", ""):
            page = await run_in_threadpool(notice_page, notice)
            return Response(page, media_type="text/html", headers={"content-language": notice.language})
        return json_response(notice, headers={"content-language": notice.language})

    async def contest(self, request: Request) -> Response:
        """Record that the person concerned wants a human to look at a decision."""
        client = self._client(request, Role.DECIDE)
        contest = decode(await whole_body(request), Contest)
        decision_id = decision_id_of(request)
        acknowledgement = await run_in_threadpool(self._reviews.contest, decision_id, contest, actor=client.name)
        return json_response({"decision_id": decision_id, "receipt": acknowledgement.as_dict()}, status=201)

    async def claim(self, request: Request) -> Response:
        """Reserve a case for half an hour."""
        client = self._client(request, Role.REVIEW)
        decision_id = decision_id_of(request)
        until = await run_in_threadpool(self._reviews.claim, decision_id, actor=client.name)
        return json_response({"decision_id": decision_id, "claimed_by": client.name, "until": until})

    async def review(self, request: Request) -> Response:
        """Record what a person decided instead of the model."""
        client = self._client(request, Role.REVIEW)
        review = decode(await whole_body(request), Review)
        decided = await run_in_threadpool(
            self._reviews.decide,
            decision_id_of(request),
            review,
            self._control.tracks.champion,
            actor=client.name,
        )
        return json_response(decided, status=201)

    async def reviews(self, request: Request) -> Response:
        """Answer what waits for a person."""
        client = self._client(request, Role.REVIEW)
        cases = await run_in_threadpool(self._reviews.queue, self._control.tracks.champion, actor=client.name)
        return json_response({"cases": cases})

    def _in_service(self, release: str) -> Deployment:
        for deployment in self._control.tracks.deployments():
            if deployment.digest == release:
                return deployment
        raise NotFound(
            "the release that decided is not in service here any more",
            hint="start a server with it, or make it a shadow, and ask again",
        )

    async def receipt(self, request: Request) -> Response:
        """Answer the receipt of a decision: anyone can verify it, with the log's public key, without this server."""
        client = self._client(request, Role.DECIDE)
        receipt = await run_in_threadpool(
            self._log.receipt,
            decision_id_of(request),
            actor=client.name,
            purpose=request.query_params.get("purpose", "receipt for the client")[:200],
        )
        return Response(receipt.to_json(), media_type="application/json")

    async def outcome(self, request: Request) -> Response:
        """Record what became of a decision."""
        client = self._client(request, Role.DECIDE)
        report = parse_outcome(await whole_body(request))
        moment = self._clock()
        decision = await run_in_threadpool(self._read, report.decision_id, client.name, "joining an outcome")
        settled: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        event = events.OutcomeRecorded(
            time=timestamp(moment),
            decision_id=report.decision_id,
            subject=decision.subject,
            label=report.label,
            observed=report.observed,
            retention=decision.retention,
        )
        self._recorder().submit(event, lambda result: None if settled.done() else settled.set_result(result))
        result = await settled
        if isinstance(result, AboveboardError):
            raise result
        self._metrics.outcomes[report.label] = self._metrics.outcomes.get(report.label, 0) + 1
        return json_response(
            {"decision_id": report.decision_id, "label": report.label, "receipt": result.as_dict()}, status=201
        )

    async def tracks(self, request: Request) -> Response:
        """Answer which releases are in service."""
        return json_response(self._tracks_document())

    async def change_tracks(self, request: Request) -> Response:
        """Put other releases in service; each is verified first, and the change is logged first."""
        client = self._client(request, Role.OPERATE)
        change = decode(await whole_body(request), TrackChange)
        await run_in_threadpool(self._control.change, change.tracks, actor=client.name)
        return json_response(self._tracks_document())

    async def roll_back(self, request: Request) -> Response:
        """Put back what was in service before the last change."""
        client = self._client(request, Role.OPERATE)
        rollback = decode(await whole_body(request), Rollback)
        await run_in_threadpool(self._control.roll_back, actor=client.name, reason=rollback.reason)
        return json_response(self._tracks_document())

    def _tracks_document(self) -> dict[str, Any]:
        tracks = self._control.tracks
        return {
            "model": tracks.champion.name,
            "tracks": [{"release": r, "track": t, "weight": w} for r, t, w in placed(tracks)],
        }

    async def v2_server(self, request: Request) -> Response:
        """Answer the inference protocol's server metadata."""
        return json_response(oip.server_metadata())

    async def v2_live(self, request: Request) -> Response:
        """Answer that the server lives."""
        return json_response({"live": True})

    async def v2_ready(self, request: Request) -> Response:
        """Answer whether the server is ready; the protocol's text says `live` here, its clients read `ready`."""
        ready = self._metrics.ready
        return json_response({"ready": ready}, status=200 if ready else 503)

    async def v2_models(self, request: Request) -> Response:
        """Answer the names of the models."""
        return json_response({"models": [self._control.tracks.champion.name]})

    async def v2_model(self, request: Request) -> Response:
        """Answer a model's metadata."""
        return json_response(oip.model_metadata(self._model(request)))

    async def v2_model_ready(self, request: Request) -> Response:
        """Answer whether a model is ready."""
        deployment = self._model(request)
        ready = self._metrics.ready
        return json_response({"name": deployment.name, "ready": ready}, status=200 if ready else 503)

    async def v2_infer(self, request: Request) -> Response:
        """Answer scores."""
        self._client(request, Role.DECIDE)
        deployment = self._model(request)
        declared = request.headers.get(oip.JSON_LENGTH_HEADER.decode())
        kind = request.headers.get("content-type")
        # Triton's client declares no type at all, and binary data are whatever their client calls them.
        body = await whole_body(request, json=kind is not None and declared is None)
        answer = oip.infer(deployment, body, declared.encode() if declared is not None else None)
        if answer.json_length is None:
            return Response(answer.body, media_type="application/json")
        headers = {oip.JSON_LENGTH_HEADER.decode(): str(answer.json_length)}
        return Response(answer.body, media_type=oip.BINARY_TYPE.decode(), headers=headers)

    def _model(self, request: Request) -> Deployment:
        return served(self._control.tracks, request.path_params["name"], request.path_params.get("version"))

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, AboveboardError)  # noqa: S101  Starlette's signature is wider than its dispatch
        problem = refuse(error, self._metrics)
        if request.url.path.startswith("/v2"):
            return json_response(
                oip.ErrorDocument(problem.detail), status=problem.status, headers=extra_headers(problem)
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
        return json_response(fault(self._metrics), status=500, media_type=CONTENT_TYPE)


def decision_id_of(request: Request) -> str:
    """Return the decision id in a path. Raises `NotFound` for what cannot be one, without looking for it."""
    decision_id: str = request.path_params["decision_id"]
    if _DECISION_ID.fullmatch(decision_id) is None:
        raise NotFound("no decision of that id", hint="the id is in the answer to POST /v1/decisions")
    return decision_id


async def whole_body(request: Request, *, json: bool = True) -> bytes:
    """Return a body within the size limit, by default one that must be declared to be JSON.

    Raises `TooLarge`, `UnsupportedMediaType` and `RequestRefused`.
    """
    if json:
        content_type = request.headers.get("content-type")
        check_content_type(content_type.encode() if content_type is not None else None)
    parts = bytearray()
    try:
        async for part in request.stream():
            parts += part
            if len(parts) > LARGEST_BODY:
                raise too_large()
    except ClientDisconnect:
        raise RequestRefused("the request ended before its body did") from None
    return bytes(parts)


def json_response(
    content: Any,
    *,
    status: int = 200,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response with `content` as JSON."""
    return Response(msgspec.json.encode(content), status, headers=dict(headers or {}), media_type=media_type)
