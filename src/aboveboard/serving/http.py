"""The ASGI application: the decision path by hand, because every microsecond counts there; the rest by Starlette."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aboveboard.errors import AboveboardError, RequestRefused
from aboveboard.serving.access import Access, Client, Role
from aboveboard.serving.entries import DECIDE
from aboveboard.serving.heads import KnownHeads
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.problems import CONTENT_TYPE, ProblemDocument, extra_headers, problem_of, unexpected
from aboveboard.serving.refusals import TooLarge, UnsupportedMediaType
from aboveboard.serving.requests import LARGEST_BODY
from aboveboard.serving.service import Answer, DecisionService
from aboveboard.serving.untraced import UNTRACED, Trace

if TYPE_CHECKING:
    from aboveboard.serving.tracing import Tracing

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON_TYPE: Final = b"application/json"
DECISIONS_PATH: Final = "/v1/decisions"

_log = logging.getLogger("aboveboard.serving")


class ClientGone(Exception):
    """The connection closed before the request was whole."""


class DecisionEndpoint:
    """`POST /v1/decisions`, and everything else handed on."""

    def __init__(
        self,
        service: Callable[[], DecisionService],
        access: Access,
        metrics: Metrics,
        rest: AsgiApp,
        tracing: Tracing | None = None,
    ) -> None:
        self.service = service
        self.metrics = metrics
        self.tracing = tracing
        self.heads = KnownHeads()
        self._access = access
        self._rest = rest
        self._dated: Headers = []
        self._date = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http" or scope["path"] != DECISIONS_PATH or scope["method"] != "POST":
            await self._rest(scope, receive, send)
            return
        trace, status = UNTRACED, 200
        if self.tracing is not None:
            trace = self.tracing.begin(scope["headers"], DECIDE, scheme=scope["scheme"], server=scope["server"])
        try:
            client = self.admit(scope["headers"])
            body = await read_body(receive)
            answered: asyncio.Future[Answer | AboveboardError] = asyncio.get_running_loop().create_future()

            def reply(answer: Answer | AboveboardError) -> None:
                if not answered.done():
                    answered.set_result(answer)

            self.service().decide(body, reply, client=client.name, trace=trace)
            answer = await answered
            if isinstance(answer, AboveboardError):
                raise answer
        except AboveboardError as error:
            problem = refuse(error, self.metrics, trace)
            status = problem.status
            await send_problem(send, problem)
        except ClientGone:
            return
        except Exception:  # noqa: BLE001  the edge: a client never sees a stack trace
            problem = fault(self.metrics, trace)
            status = problem.status
            await send_problem(send, problem)
        else:
            trace.decided(answer)
            await respond(send, 200, JSON_TYPE, msgspec.json.encode(answer))
        trace.end(status)

    def admit(self, headers: Headers, role: Role = Role.DECIDE) -> Client:
        """Return who asks, from the headers of a request that takes a role.

        Raises `NotAuthenticated`, `NotAuthorised`, `TooManyRequests`, `UnsupportedMediaType` and, where a length is
        declared, `TooLarge`.
        """
        kind = authorization = None
        for name, value in headers:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                check_length(value)
            elif name == b"authorization":
                authorization = value
        client = self._access.client(authorization)
        client.require(role)
        check_content_type(kind)
        return client

    def date_header(self, headers: Headers) -> bytes:
        """Return what uvicorn adds to every response, the date, as header lines; its list is new each second."""
        if headers is not self._dated:
            self._dated = headers
            self._date = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._date


def refuse(error: AboveboardError, metrics: Metrics, trace: Trace = UNTRACED) -> ProblemDocument:
    """Count a refusal and return what the client is told; what is our own fault is written down."""
    metrics.refuse(error.code)
    problem = problem_of(error)
    trace.refused(problem.code)
    if problem.status >= 500:
        _log.error("%s: %s", error.code, error.message, extra=trace.ids)
    return problem


def fault(metrics: Metrics, trace: Trace = UNTRACED) -> ProblemDocument:
    """Write down the exception being handled, which nothing foresaw, and return what the client is told."""
    metrics.refuse("internal")
    _log.exception("unforeseen fault", extra=trace.ids)
    problem = unexpected()
    trace.refused(problem.code)
    return problem


def check_length(value: bytes) -> None:
    """Raise `TooLarge` for a declared length beyond the limit, before anything is read."""
    if not value.isdigit():
        raise RequestRefused("the content length is not a number")
    if len(value) > 12 or int(value) > LARGEST_BODY:
        raise too_large()


def check_content_type(value: bytes | None) -> None:
    """Raise `UnsupportedMediaType` unless the body is said to be JSON; a charset, if any, must be UTF-8."""
    if value == JSON_TYPE:
        return
    kind, _, parameters = (value or b"").lower().partition(b";")
    charset = parameters.strip().replace(b'"', b"")
    if kind.strip() != JSON_TYPE or charset not in (b"", b"charset=utf-8"):
        raise UnsupportedMediaType("the body is not declared to be JSON", hint="send Content-Type: application/json")


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request. Raises `TooLarge` and `ClientGone`."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise too_large()
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large() -> TooLarge:
    """Return the refusal of a body beyond the limit."""
    return TooLarge(f"the body is larger than {LARGEST_BODY:,} bytes", hint="send fewer or smaller requests at once")


async def respond(send: Send, status: int, content_type: bytes, body: bytes, *more: tuple[bytes, bytes]) -> None:
    """Send a whole response."""
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_problem(send: Send, problem: ProblemDocument) -> None:
    """Send a problem document; an overloaded or failing server says when to come back."""
    more = [(name.encode(), value.encode()) for name, value in extra_headers(problem).items()]
    await respond(send, problem.status, CONTENT_TYPE.encode(), msgspec.json.encode(problem), *more)
