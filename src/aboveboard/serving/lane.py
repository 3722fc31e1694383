"""A fast lane for decisions and predictions inside uvicorn's HTTP protocol.

`POST /v1/decisions` and `POST /v2/models/…/infer` are read and answered where the parser calls back, without an
ASGI task, queue and message for each request; everything else takes uvicorn's own way. bench/serving.py measures
both: a decision costs about three quarters of the processor time, a prediction half. Parsing, keep-alive, pipelining
order, flow control and draining stay uvicorn's.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from aboveboard.errors import AboveboardError
from aboveboard.serving.access import Role
from aboveboard.serving.connections import HeldProtocol
from aboveboard.serving.entries import DECIDE, INFER, INFER_VERSION, Entry
from aboveboard.serving.heads import LONGEST_HEAD, KnownHead, comes_again
from aboveboard.serving.http import DECISIONS_PATH, JSON_TYPE, Headers, fault, refuse, too_large
from aboveboard.serving.inference import served
from aboveboard.serving.oip import BINARY_TYPE, JSON_LENGTH_HEADER, ErrorDocument, Inferred, infer
from aboveboard.serving.problems import CONTENT_TYPE, ProblemDocument, extra_headers, in_one_line
from aboveboard.serving.requests import LARGEST_BODY
from aboveboard.serving.service import Answer
from aboveboard.serving.untraced import UNTRACED, Trace

_END = b"\r\n\r\n"
_PATH = DECISIONS_PATH.encode()
# Names as the spec allows them and digests as we write them; what is spelled otherwise goes uvicorn's way.
_INFER = re.compile(rb"/v2/models/([a-z0-9-]+)(?:/versions/(sha256:[0-9a-f]{64}))?/infer")
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_BINARY_OK = b"HTTP/1.1 200 OK\r\ncontent-type: " + BINARY_TYPE + b"\r\n%b: %d\r\n"
_STATUS = {
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
_encode = msgspec.json.Encoder().encode


def _is_json(headers: Headers) -> bool:
    """Tell whether a prediction is asked for in JSON alone, as most are; the binary form goes uvicorn's way."""
    names = [name for name, _ in headers]
    return b"content-type" in names and JSON_LENGTH_HEADER not in names


class _NoEvent:
    """Stands where uvicorn wakes an ASGI task; nobody waits here."""

    def set(self) -> None:
        """Do nothing."""


_NO_EVENT = _NoEvent()


class LaneCycle:
    """One request in the lane and its answer, with the attributes uvicorn's protocol looks at."""

    __slots__ = (
        "body",
        "client",
        "disconnected",
        "headers",
        "keep_alive",
        "message_event",
        "model",
        "more_body",
        "received",
        "response_complete",
        "started",
        "too_large",
        "trace",
    )

    def __init__(self, headers: list[tuple[bytes, bytes]], keep_alive: bool, model: re.Match[bytes] | None) -> None:
        self.headers = headers
        self.keep_alive = keep_alive
        self.model = model
        self.client = ""
        self.body: bytes | bytearray = bytearray()
        self.received = 0
        self.more_body = True
        self.started = False
        self.too_large = False
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NO_EVENT
        self.trace: Trace = UNTRACED

    @property
    def role(self) -> Role:
        """Return what a client must be allowed to do."""
        return Role.DECIDE if self.model is None else Role.PREDICT

    @property
    def entry(self) -> Entry:
        """Return where the request came in."""
        if self.model is None:
            return DECIDE
        return INFER if self.model.group(2) is None else INFER_VERSION


class LaneProtocol(HeldProtocol):
    """uvicorn's protocol with a lane of its own for decisions."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._heads = self._endpoint.heads
        self._quiet_since: float | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes: a whole request with a head that is known, or anything, which is then the parser's to read."""
        if self._within:
            super().data_received(data)
            return
        end = data.find(_END, 0, LONGEST_HEAD) + len(_END)
        known = self._heads.get(data[:end])
        if known is not None and len(data) == end + known.length and self._idle():
            self._quiet_since = None
            cycle = self.cycle = LaneCycle(known.headers, True, known.model)
            cycle.body = data[end:]
            cycle.more_body = False
            self._start_asgi_task(cycle, None)
            return
        completed = self._completed
        super().data_received(data)
        if known is None and not self._within and self._completed == completed + 1:
            self._learn(data, end)

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _learn(self, data: bytes, end: int) -> None:
        """Remember the head of the request that `data` was, if it was one for the lane and declares its length.

        Where the parser has read as many bytes of body as follow the first empty line, it has read the same head.
        """
        cycle = self.cycle
        if (
            type(cycle) is LaneCycle
            and cycle.keep_alive
            and cycle.received == len(data) - end
            and comes_again(cycle.headers)
        ):
            self._heads.learn(data[:end], KnownHead(cycle.headers, cycle.model, cycle.received))

    def on_message_begin(self) -> None:
        """Note that a request begins; its ASGI scope is made only if it needs one."""
        self._begin()
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Choose the lane for a decision or a prediction, and uvicorn's way for everything else."""
        if self._head_ends():
            return
        parser = self.parser
        model = None if self.url == _PATH else _INFER.fullmatch(self.url)
        if (
            (self.url != _PATH and (model is None or not _is_json(self.headers)))
            or parser.get_method() != b"POST"
            or self.expect_100_continue
            or parser.should_upgrade()
        ):
            url, headers, expected = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expected
            self.headers.extend(headers)
            super().on_headers_complete()
            return
        keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        cycle = LaneCycle(self.headers, keep_alive, model)
        existing, self.cycle = self.cycle, cycle
        if existing is None or existing.response_complete:
            self._start_asgi_task(cycle, None)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, None))

    def on_body(self, body: bytes) -> None:
        """Take a part of a body; one that is too large is answered at once and the connection closed."""
        cycle = self.cycle
        if type(cycle) is not LaneCycle:
            super().on_body(body)
        elif not cycle.too_large:
            cycle.body += body
            cycle.received += len(body)
            if len(cycle.body) > LARGEST_BODY:
                cycle.too_large = True
                cycle.body = b""
                if cycle.started:
                    self._refuse(cycle, too_large())

    def on_message_complete(self) -> None:
        """Answer, if it is this request's turn."""
        cycle = self.cycle
        if type(cycle) is not LaneCycle or self._without_offer is not None:
            super().on_message_complete()
            return
        self._within = False
        self._completed += 1
        cycle.more_body = False
        if cycle.started and not cycle.response_complete:
            self._answer(cycle)

    # Keep-alive: uvicorn sets a timer after each answer and cancels it at the next request. Here one timer looks
    # now and then how long the connection has been quiet.

    def on_response_complete(self) -> None:
        """Let the next request of this connection have its turn, or note since when it is quiet."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._quiet_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        self._quiet_since = None

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been quiet for too long."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        if self._quiet_since is None:
            self._look_again_in(self.timeout_keep_alive)
            return
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.transport.close()
        else:
            self._look_again_in(left)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer with the connection."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(max(seconds, 0.001), self.timeout_keep_alive_handler)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Begin a request whose turn has come: the one before it on this connection is answered."""
        if type(cycle) is not LaneCycle:
            super()._start_asgi_task(cycle, app)
            return
        cycle.started = True
        tracing = self._endpoint.tracing
        if tracing is not None:
            cycle.trace = tracing.begin(cycle.headers, cycle.entry, scheme=self.scheme, server=self.server)
        try:
            cycle.client = self._endpoint.admit(cycle.headers, cycle.role).name
        except AboveboardError as error:
            # The body, if it is still to come, is not worth reading.
            cycle.keep_alive = cycle.keep_alive and not cycle.more_body
            self._refuse(cycle, error)
            return
        if cycle.too_large:
            self._refuse(cycle, too_large())
        elif not cycle.more_body:
            self._answer(cycle)

    def _answer(self, cycle: LaneCycle) -> None:
        def reply(answer: Answer | AboveboardError) -> None:
            if isinstance(answer, AboveboardError):
                self._refuse(cycle, answer)
            else:
                cycle.trace.decided(answer)
                self._respond(cycle, _OK, _encode(answer))

        try:
            service = self._endpoint.service()
            if cycle.model is None:
                service.decide(bytes(cycle.body), reply, client=cycle.client, trace=cycle.trace)
            else:
                name, version = cycle.model.groups()
                deployment = served(service.tracks, name.decode(), version.decode() if version else None)
                cycle.trace.note(model=deployment.name, release=deployment.digest)
                self._infer(cycle, infer(deployment, bytes(cycle.body)))
        except AboveboardError as error:
            self._refuse(cycle, error)
        except Exception:  # noqa: BLE001  the edge: a client never sees a stack trace
            self._problem(cycle, fault(self._endpoint.metrics, cycle.trace))

    def _infer(self, cycle: LaneCycle, answer: Inferred) -> None:
        head = _OK if answer.json_length is None else _BINARY_OK % (JSON_LENGTH_HEADER, answer.json_length)
        self._respond(cycle, head, answer.body)

    def _refuse(self, cycle: LaneCycle, error: AboveboardError) -> None:
        self._problem(cycle, refuse(error, self._endpoint.metrics, cycle.trace))

    def _problem(self, cycle: LaneCycle, problem: ProblemDocument) -> None:
        document: Any = problem if cycle.model is None else ErrorDocument(in_one_line(problem))
        kind = CONTENT_TYPE.encode() if cycle.model is None else JSON_TYPE
        head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\n" % (
            problem.status,
            _STATUS.get(problem.status, b""),
            kind,
        )
        for name, value in extra_headers(problem).items():
            if name == "connection":
                cycle.keep_alive = False  # what is left of the body is not read
            else:
                head += f"{name}: {value}\r\n".encode()
        self._respond(cycle, head, _encode(document), problem.status)

    def _respond(self, cycle: LaneCycle, head: bytes, body: bytes, status: int = 200) -> None:
        cycle.response_complete = True
        transport = self.transport
        if not cycle.disconnected and not transport.is_closing():
            date = self._endpoint.date_header(self.server_state.default_headers)
            close = b"" if cycle.keep_alive else b"connection: close\r\n"
            transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, date, close, len(body), body))
            if not cycle.keep_alive:
                transport.close()
        cycle.trace.end(status)
        self.on_response_complete()
