"""Bytes into the server's HTTP protocol and the answers out of it, with the lane or without, in one process.

Everything is real but the socket and what decides: a decision is answered with a digest of its body, a moment later
as the journal would, so that an answer tells which bytes the server took for the body.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from aboveboard.audit import AuditLog
from aboveboard.clock import system_clock
from aboveboard.serving.access import Access
from aboveboard.serving.connections import HeldProtocol
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.http import DecisionEndpoint
from aboveboard.serving.lane import LaneProtocol
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.problems import problem_of
from aboveboard.serving.refusals import NotHttp
from aboveboard.serving.requests import parse_decision
from aboveboard.serving.routes import Routes
from aboveboard.serving.tracks import Tracks

NO_HTTP = (
    400,
    msgspec.json.encode(problem_of(NotHttp("this is no HTTP request", hint="HTTP/1.1 is spoken here"))),
)
"""What is answered to bytes that the parser does not take for a request."""
TURNS = 200
"""So often the loop may turn until a request is answered; none takes a tenth of that."""


class Echo(msgspec.Struct, frozen=True):
    """Stands for a decision: what it was made from."""

    subject: str
    body_sha256: str


class Deciding:
    """Stands for the decision service."""

    def __init__(self, tracks: Tracks) -> None:
        self.tracks = tracks
        self.waiting = 0

    def decide(self, body: bytes, reply: Callable[[Any], None], **_: Any) -> None:
        request = parse_decision(body)
        self.waiting += 1

        def answer() -> None:
            self.waiting -= 1
            reply(Echo(request.subject, hashlib.sha256(body).hexdigest()))

        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, answer)


class Wire(asyncio.Transport):
    """A connection whose other end only listens."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.paused = False
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


@dataclass(frozen=True)
class Answered:
    """What came back: statuses with bodies, in order, and whether the server hung up."""

    answers: list[tuple[int, bytes]]
    closed: bool


class Front:
    """The HTTP side of one server, over a deployment and a log."""

    def __init__(self, deployment: Deployment, log: AuditLog) -> None:
        access = Access(None, anonymous="tester", timer=lambda: 0.0)
        metrics = Metrics(pending=lambda: 0, lag=lambda: 0.0)
        metrics.ready = True
        self.deciding = Deciding(Tracks(deployment))
        control: Any = self.deciding
        service: Any = self.deciding
        routes = Routes(
            log=log,
            control=control,  # of it, only the tracks are read here
            service=lambda: service,
            metrics=metrics,
            exposition=_nothing,
            clock=system_clock,
            access=access,
        )
        self._endpoint = DecisionEndpoint(lambda: service, access, metrics, routes.application(_no_lifespan))
        self._configs = {
            lane: uvicorn.Config(
                self._endpoint,
                http=LaneProtocol if lane else HeldProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
            )
            for lane in (True, False)
        }
        for config in self._configs.values():
            config.load()

    async def exchange(self, chunks: Sequence[bytes], *, lane: bool) -> Answered:
        """Send bytes over a new connection, in these pieces, and return what comes back."""
        config = self._configs[lane]
        state = ServerState()
        make: Any = config.http_protocol_class
        protocol = make(config=config, server_state=state, app_state={}, _loop=asyncio.get_running_loop())
        wire = Wire()
        protocol.connection_made(wire)
        for chunk in chunks:
            await self._settle(state, lambda: not wire.paused)
            if wire.closed:
                break
            protocol.data_received(chunk)
        await self._settle(state, lambda: True)
        protocol.connection_lost(None)
        await self._settle(state, lambda: True)
        return Answered(answers_in(wire.written), wire.closed)

    async def _settle(self, state: ServerState, ready: Callable[[], bool]) -> None:
        quiet = 0
        for _ in range(TURNS):
            await asyncio.sleep(0)
            # A request whose body is still to come has a task that waits for it: quiet is when nothing else turns.
            quiet = quiet + 1 if not self.deciding.waiting else 0
            if quiet > 12 and (ready() or quiet > 60):
                return


def answers_in(written: bytes) -> list[tuple[int, bytes]]:
    """Return the answers in what a server wrote; each must be whole."""
    answers: list[tuple[int, bytes]] = []
    while written:
        head, separator, rest = written.partition(b"\r\n\r\n")
        assert separator, written
        lines = head.lower().split(b"\r\n")
        assert lines[0].startswith(b"http/1.1 "), written
        status = int(lines[0].split()[1])
        if status == 100:
            written = rest
            continue
        headers = dict(line.split(b": ", 1) for line in lines[1:])
        length = int(headers.get(b"content-length", len(rest)))
        assert len(rest) >= length, written
        answers.append((status, rest[:length]))
        written = rest[length:]
    return answers


def hold_alike(with_lane: Answered, without: Answered) -> None:
    """Hold both ways to the same answers; one that hangs up earlier has said nothing else until then.

    At bytes that are no HTTP uvicorn hangs up at once, whether what came before them is answered or not.
    """
    told = [
        ([answer for answer in found.answers if answer != NO_HTTP], found.closed) for found in (with_lane, without)
    ]
    (shorter, closed), (longer, _) = sorted(told, key=lambda one: len(one[0]))
    assert longer[: len(shorter)] == shorter
    assert len(shorter) == len(longer) or closed
    for found in (with_lane, without):
        assert NO_HTTP not in found.answers[:-1]


async def _nothing() -> bytes:
    return b""


@asynccontextmanager
async def _no_lifespan(application: Starlette) -> AsyncIterator[None]:
    yield
