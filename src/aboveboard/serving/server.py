"""One decision server as a process: take the port, load a verified release, answer, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import importlib.util
import ipaddress
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import uvicorn
from prometheus_client.exposition import generate_latest
from starlette.applications import Starlette

from aboveboard.audit import AuditLog
from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError, Conflict, Misuse
from aboveboard.files import secret_bytes
from aboveboard.release import Keyring, ReleaseStore
from aboveboard.serving.access import Access, load_clients
from aboveboard.serving.control import TrackControl, load_tracks
from aboveboard.serving.gathered import families_of
from aboveboard.serving.http import DecisionEndpoint
from aboveboard.serving.identity import load_identity
from aboveboard.serving.lane import LaneProtocol
from aboveboard.serving.logs import logging_to
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.recorder import DEADLINE_SECONDS, LARGEST_BACKLOG, Recorder
from aboveboard.serving.routes import Routes
from aboveboard.serving.service import DecisionService
from aboveboard.serving.sibling import Failed, Line, Ready
from aboveboard.serving.standing import StandingFile
from aboveboard.serving.tracks import TrackPlan, Tracks
from aboveboard.serving.workers import Supervisor
from aboveboard.settings import Home

BACKLOG = 2048
CHECKPOINT_SECONDS = 1.0
MOST_WORKERS = 64
FOLLOW_SECONDS = 0.1
"""How often a process looks whether another has changed the tracks."""
DRAIN_SECONDS = 25
"""A little less than the 30 seconds Kubernetes grants between SIGTERM and SIGKILL."""


class Served(NamedTuple):
    """What a server that is ready has in service."""

    name: str
    """The model's."""
    digest: str
    """The champion's."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How one decision server is run."""

    release: str
    """The champion: a digest, or any other reference the release store knows."""
    challenger: str | None = None
    weight: float = 0
    """The challenger's share of subjects, in per cent."""
    shadows: tuple[str, ...] = ()
    clients: Path | None = None
    """API keys and roles; without them or an identity provider, only this machine is answered."""
    identity: Path | None = None
    """Whose tokens are believed, and what they allow."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any free port."""
    grpc_port: int = 0
    """Where the Open Inference Protocol is spoken over gRPC; 0 for nowhere."""
    certificate: Path | None = None
    """The server's certificate chain, PEM; with it, only TLS is spoken."""
    certificate_key: Path | None = None
    client_authority: Path | None = None
    """Whose certificates clients must have (mutual TLS), beside their keys."""
    origin: str = "aboveboard.local/log"
    """The name of the audit log on its checkpoints."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    drain_seconds: int = DRAIN_SECONDS
    largest_backlog: int = LARGEST_BACKLOG
    """Decisions on their way to the disk, beyond which more are answered 503."""
    deadline_seconds: float = DEADLINE_SECONDS
    """How long a decision may wait for the disk before its client is told to ask again."""
    keep_alive_seconds: int = 75
    """How long a connection may be quiet: longer than a load balancer's, so that it is never us who hang up first."""
    workers: int = 1
    """How many processes answer, each with a journal of its own: one for each core."""
    lane: bool = True
    """Whether decisions bypass ASGI (see lane.py); off, they are answered by the ASGI application alike."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST_WORKERS:
            raise Misuse(f"from 1 to {MOST_WORKERS} workers", hint="one for each core")
        if (self.certificate is None) != (self.certificate_key is None):
            raise Misuse("a certificate and its key go together", hint="name both")
        if self.client_authority is not None and self.certificate is None:
            raise Misuse("client certificates need TLS", hint="name the server's certificate and key, too")
        if self.grpc_port and importlib.util.find_spec("grpc") is None:
            raise Misuse("gRPC needs the package grpcio", hint="pip install 'aboveboard[grpc]'")

    @property
    def plan(self) -> TrackPlan:
        """Return the tracks to start with."""
        return TrackPlan(self.release, self.challenger, self.weight, list(self.shadows))


def serve(
    home: Home,
    options: ServerOptions,
    *,
    actor: str,
    clock: Clock,
    on_ready: Callable[[str, Served], None] = lambda url, served: None,
    timer: Callable[[], float] = time.perf_counter,
) -> None:
    """Run a decision server until SIGTERM or SIGINT; `on_ready` gets its URL and what it serves.

    With several workers, `clock` and `timer` are functions that another process can import. Raises `Conflict`
    where the port is taken, before anything is loaded; `NotFound` or `NotVerified` for a release that is not there
    or does not hold; `Misuse` for an address that is none, or one that others can reach while no clients are named;
    `WorkerLost` when a worker does not come up any more.
    """

    def announce(served: Served) -> None:
        on_ready(url_of(listener, tls=options.certificate is not None), served)

    if options.clients is not None:
        load_clients(options.clients)
    with logging_to(sys.stderr), listen(options.host, options.port) as listener:
        if options.grpc_port:
            with listen(options.host, options.grpc_port):
                pass  # it is free, which is better known before anything is loaded
        if options.workers == 1:
            _work(home, options, actor, clock, timer, listener, on_ready=announce)
            return
        address = listener.getsockname()
        listener.close()  # it has shown that nobody else has the port
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(share(listener.family, address)) for _ in range(options.workers)]
            url = url_of(listeners[0], tls=options.certificate is not None)
            Supervisor(
                _worker,
                (home, options, actor, clock, timer),
                listeners,
                lambda ready: on_ready(url, Served(ready.model, ready.release)),
            ).run()


def _worker(
    number: int,
    listener: socket.socket,
    connection: Connection,
    tracks: TrackPlan | None,
    home: Home,
    options: ServerOptions,
    actor: str,
    clock: Clock,
    timer: Callable[[], float],
) -> None:
    """Be one of several workers, in a process of its own."""
    # Between the start of the process and the server's own handlers nothing has been accepted yet.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, signal.SIG_DFL)
    line = Line(connection)
    if tracks is not None:
        options = replace(
            options,
            release=tracks.champion,
            challenger=tracks.challenger,
            weight=tracks.weight,
            shadows=tuple(tracks.shadows),
        )
    try:
        with logging_to(sys.stderr), listener:
            _work(home, options, actor, clock, timer, listener, line=line, publishes=number == 0)
    except AboveboardError as error:
        with contextlib.suppress(OSError):
            line.say(Failed(error))
        sys.exit(1)


def _work(
    home: Home,
    options: ServerOptions,
    actor: str,
    clock: Clock,
    timer: Callable[[], float],
    listener: socket.socket,
    *,
    on_ready: Callable[[Served], None] = lambda served: None,
    line: Line | None = None,
    publishes: bool = True,
) -> None:
    """Load, verify, answer, drain: what one process does."""
    records = load_clients(options.clients) if options.clients is not None else None
    tokens, keys = load_identity(options.identity, clock=clock) if options.identity is not None else (None, None)
    access = Access(records, anonymous=actor, timer=timer, tokens=tokens)
    if access.open and not is_loopback(listener):
        raise Misuse(
            f"{options.host} can be reached by other machines, and no client would have to say who it is",
            hint="name the clients and their keys with --clients, or listen on 127.0.0.1",
        )
    store = ReleaseStore(home.releases, keys=Keyring(home.keys), clock=clock)
    tracks = load_tracks(options.plan, store, {})
    token_key = secret_bytes(home.subject_key)
    with AuditLog.open(home.audit, keys=home.keys, origin=options.origin, clock=clock, writer="server") as log:
        node = Node(
            tracks,
            store,
            log,
            file=StandingFile(home.serving, tracks.champion.name),
            access=access,
            token_key=token_key,
            clock=clock,
            timer=timer,
            largest_backlog=options.largest_backlog,
            deadline=options.deadline_seconds,
            line=line,
            beside=lambda node: grpc_port(options, node),
        )
        if publishes:
            log.start(interval=options.checkpoint_seconds)
        if keys is not None:
            keys.start()
        # Everything loaded so far stays for good: the collector need not look at it again (a full collection
        # would stop the server for a tenth of a second).
        gc.collect()
        gc.freeze()
        # The loop shares the interpreter with the threads that seal and publish: it must not wait long for it.
        sys.setswitchinterval(0.001)

        def ready() -> None:
            champion = node.control.tracks.champion
            if line is not None:
                line.say(Ready(champion.name, champion.digest, tracks.plan()))
            on_ready(Served(champion.name, champion.digest))

        _Uvicorn(node, options, ready).run(sockets=[listener])


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
        clock: Clock,
        timer: Callable[[], float],
        largest_backlog: int = LARGEST_BACKLOG,
        deadline: float = DEADLINE_SECONDS,
        line: Line | None = None,
        beside: Callable[[Node], AbstractAsyncContextManager[None]] = lambda node: contextlib.nullcontext(),
    ) -> None:
        self.recorder: Recorder
        self.service: DecisionService
        self.metrics = Metrics(pending=lambda: self.recorder.pending, lag=lambda: self.recorder.lag())
        self.on_orphaned: Callable[[], None] = lambda: None
        """Called when the supervisor is gone."""
        self._registry = self.metrics.registry()
        self._line = line
        self._answering = False
        self.control = TrackControl(tracks, store=store, log=log, clock=clock, file=file, switch=self._switch)
        self.control.resume()
        self._log = log
        self._token_key = token_key
        self._clock = clock
        self._timer = timer
        self._largest_backlog = largest_backlog
        self._deadline = deadline
        self._beside = beside
        self.access = access
        routes = Routes(
            log=log,
            control=self.control,
            service=lambda: self.service,
            recorder=lambda: self.recorder,
            metrics=self.metrics,
            exposition=self._exposition,
            clock=clock,
            access=access,
        )
        self.application = DecisionEndpoint(
            lambda: self.service, access, self.metrics, routes.application(self._lifespan)
        )

    def _switch(self, tracks: Tracks) -> None:
        if self._answering:
            self.service.tracks = tracks

    async def _exposition(self) -> bytes:
        return await self._line.gathered() if self._line is not None else generate_latest(self._registry)

    async def _follow(self) -> None:
        """Take over what another process has put in service."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            if self.control.behind:
                await asyncio.to_thread(self.control.follow)

    @contextlib.asynccontextmanager
    async def _lifespan(self, application: Starlette) -> AsyncIterator[None]:
        """Take up the event loop; at the end, wait until everything handed to the journal is durable."""
        self.recorder = Recorder(
            self._log, timer=self._timer, largest_backlog=self._largest_backlog, deadline=self._deadline
        )
        self.service = DecisionService(
            self.control.tracks,
            self.recorder,
            token_key=self._token_key,
            clock=self._clock,
            timer=self._timer,
            metrics=self.metrics,
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
            await self.recorder.drained()
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            if self._line is not None:
                self._line.detach(families_of(self._registry))


def grpc_port(options: ServerOptions, node: Node) -> AbstractAsyncContextManager[None]:
    """Return what answers the Open Inference Protocol over gRPC beside HTTP, where that is asked for."""
    if not options.grpc_port:
        return contextlib.nullcontext()
    # Only here: whoever speaks no gRPC need not have it.
    from aboveboard.serving.oip_grpc import InferenceService, answering, credentials

    tls = None
    if options.certificate is not None and options.certificate_key is not None:
        authority = options.client_authority.read_bytes() if options.client_authority else None
        tls = credentials(options.certificate.read_bytes(), options.certificate_key.read_bytes(), authority)
    service = InferenceService(lambda: node.service.tracks, node.access, node.metrics)
    host = f"[{options.host}]" if ":" in options.host else options.host
    return answering(service, f"{host}:{options.grpc_port}", tls=tls, shared=options.workers > 1)


class _Uvicorn(uvicorn.Server):
    """uvicorn, told to say when it is ready and to stop being ready before it stops listening."""

    def __init__(self, node: Node, options: ServerOptions, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                node.application,
                loop="uvloop",
                http=LaneProtocol if options.lane else "httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                ssl_certfile=options.certificate,
                ssl_keyfile=options.certificate_key,
                ssl_ca_certs=str(options.client_authority) if options.client_authority else None,
                ssl_cert_reqs=ssl.CERT_REQUIRED if options.client_authority else ssl.CERT_NONE,
                timeout_keep_alive=options.keep_alive_seconds,
                timeout_graceful_shutdown=options.drain_seconds,
            )
        )
        self._node = node
        self._on_ready = on_ready
        node.on_orphaned = self._end
        try:
            self.config.load()
        except OSError as error:  # ssl.SSLError is one, too
            raise Misuse(
                f"the certificate or its key cannot be used: {error.strerror or error}",
                hint="give a PEM certificate chain and the key that belongs to it",
            ) from error

    def _end(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop on SIGTERM and SIGINT; unlike uvicorn, do not raise them again afterwards: the log is still open."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, then stop as uvicorn does: what was accepted is answered first."""
        self._node.metrics.ready = False
        await super().shutdown(sockets=sockets)


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a bound TCP socket. Raises `Conflict` when somebody has the port and `Misuse` for a wrong address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise Misuse(
            f"{host!r} is not an address of this machine", hint="use 127.0.0.1, or 0.0.0.0 for all"
        ) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"port {port} on {host} is in use",
                    hint="stop what uses it, or choose another: --port 0 finds one",
                ) from error
            if error.errno in (errno.EACCES, errno.EADDRNOTAVAIL):
                raise Misuse(f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another") from error
            raise
        yield listener


def share(family: int, address: tuple[str, int]) -> socket.socket:
    """Return a TCP socket bound beside others of ours: the kernel spreads connections over them by hash.

    One socket that all accept from would not do: whoever is awake takes every connection of a burst. Raises
    `Conflict` when somebody else has the port.
    """
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Conflict(f"port {address[1]} cannot be shared: {error.strerror}", hint="choose another") from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine can reach the listener."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return where a client on this machine reaches the server."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
