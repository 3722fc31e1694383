"""One decision server as a process: take the port, load a verified release, answer, drain, stop."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple

from aboveboard.audit import AuditLog, location
from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError, Misuse
from aboveboard.files import secret_bytes
from aboveboard.release import Keyring, ReleaseStore
from aboveboard.serving.access import Access, load_clients
from aboveboard.serving.claiming import open_claims
from aboveboard.serving.control import load_tracks
from aboveboard.serving.identity import load_identity
from aboveboard.serving.keeper import Keeper
from aboveboard.serving.listening import is_loopback, listen, share, url_of
from aboveboard.serving.logs import logging_to
from aboveboard.serving.node import Node
from aboveboard.serving.options import ServerOptions
from aboveboard.serving.process import call_this_process
from aboveboard.serving.rotation import rotation
from aboveboard.serving.sibling import Failed, Line, Ready
from aboveboard.serving.standing import StandingFile
from aboveboard.serving.tracks import TrackPlan
from aboveboard.serving.web import GrpcPort, WebServer
from aboveboard.serving.workers import Supervisor
from aboveboard.settings import Home

if TYPE_CHECKING:
    from aboveboard.serving.tracing import Tracing


class Served(NamedTuple):
    """What a server that is ready has in service."""

    name: str
    """The model's."""
    digest: str
    """The champion's."""


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

    `clock` is a function that another process can import; with several workers, so is `timer`. Raises `Conflict`
    where the port is taken, before anything is loaded; `NotFound` or `NotVerified` for a release that is not there
    or does not hold; `Misuse` for an address that is none, or one that others can reach while no clients are named;
    `WorkerLost` when a worker does not come up any more.
    """

    def announce(served: Served) -> None:
        keeper.start()  # not before: it would take processor time from those who are being waited for
        on_ready(url, served)

    if options.clients is not None:
        load_clients(options.clients)
    keeper = Keeper(partial(open_log, home, options, clock, writer="keeper"), options.checkpoint_seconds)
    with logging_to(sys.stderr), listen(options.host, options.port) as listener, keeper:
        if options.grpc_port:
            with listen(options.host, options.grpc_port):
                pass  # it is free, which is better known before anything is loaded
        url = url_of(listener, tls=options.certificate is not None)
        if options.workers == 1:
            _work(home, options, actor, clock, timer, listener, on_ready=announce)
            return
        address = listener.getsockname()
        listener.close()  # it has shown that nobody else has the port
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(share(listener.family, address)) for _ in range(options.workers)]
            Supervisor(
                _worker,
                (home, options, actor, clock, timer),
                listeners,
                lambda ready: announce(Served(ready.model, ready.release)),
            ).run()


def open_log(home: Home, options: ServerOptions, clock: Clock, *, writer: str) -> AuditLog:
    """Open the log of a server for one of its processes; `writer` names that process's journal."""
    return location.open_log(home, options.log, origin=options.origin, clock=clock, writer=writer)


@contextlib.contextmanager
def traces(options: ServerOptions, clock: Clock, timer: Callable[[], float]) -> Iterator[Tracing | None]:
    """Yield what traces requests, where that is asked for; send what is left at the end."""
    if not options.traces:
        yield None
        return
    # Only here: whoever sends no traces need not have what makes them.
    from aboveboard.serving.tracing import Tracing

    tracing = Tracing.from_environment(timer=timer, clock=clock)
    try:
        yield tracing
    finally:
        tracing.close()


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
    call_this_process(f"worker-{number}")
    line = Line(connection)
    if tracks is not None:
        options = replace(
            options,
            release=tracks.champion,
            challenger=tracks.challenger,
            weight=tracks.weight,
            shadows=tuple(tracks.shadows),
            arms=tuple(tracks.arms),
        )
    try:
        with logging_to(sys.stderr), listener:
            _work(home, options, actor, clock, timer, listener, line=line)
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
    database = location.database_url(options.log.database) if options.log.database is not None else None
    with (
        traces(options, clock, timer) as tracing,
        open_log(home, options, clock, writer="server") as log,
        open_claims(home.serving, database) as (claims, presence),
    ):
        log.begin()  # a journal that takes nothing is better known before anybody asks
        grpc = GrpcPort(options)
        node = Node(
            tracks,
            store,
            log,
            file=StandingFile(home.serving, tracks.champion.name, kept_by=options.tracks_by),
            access=access,
            token_key=token_key,
            claims=claims,
            presence=presence,
            clock=clock,
            timer=timer,
            largest_backlog=options.largest_backlog,
            deadline=options.deadline_seconds,
            line=line,
            beside=grpc.answering,
            tracing=tracing,
        )
        if keys is not None:
            keys.start()
        # Everything loaded so far stays for good: the collector need not look at it again (a full collection
        # would stop the server for a tenth of a second).
        gc.collect()
        gc.freeze()
        # The loop shares the interpreter with the thread that seals: it must not wait long for it.
        sys.setswitchinterval(0.001)

        def ready() -> None:
            champion = node.control.tracks.champion
            if line is not None:
                line.say(Ready(champion.name, champion.digest, tracks.plan()))
            on_ready(Served(champion.name, champion.digest))

        server = WebServer(node, options, grpc, ready)
        with rotation(options, access, keys, server.renew_certificate, clock=clock):
            server.run(sockets=[listener])
