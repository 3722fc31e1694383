"""uvicorn as the decision server runs it, and the inference protocol's gRPC port beside it."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import create_ssl_context

from aboveboard.errors import Misuse
from aboveboard.serving.connections import HeldProtocol
from aboveboard.serving.lane import LaneProtocol
from aboveboard.serving.listening import BACKLOG
from aboveboard.serving.node import Node
from aboveboard.serving.options import ServerOptions
from aboveboard.tls import exchangeable

if TYPE_CHECKING:
    from aboveboard.serving.oip_grpc import Port


class WebServer(uvicorn.Server):
    """uvicorn, told to say when it is ready and to stop being ready before it stops listening."""

    def __init__(self, node: Node, options: ServerOptions, grpc: GrpcPort, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                node.application,
                loop="uvloop",
                http=LaneProtocol if options.lane else HeldProtocol,
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
        self._grpc = grpc
        self._on_ready = on_ready
        node.on_orphaned = self._end
        try:
            self.config.load()
        except OSError as error:  # ssl.SSLError is one, too
            raise Misuse(
                f"the certificate or its key cannot be used: {error.strerror or error}",
                hint="give a PEM certificate chain and the key that belongs to it",
            ) from error
        self._use = exchangeable(self.config.ssl) if self.config.ssl is not None else None

    def renew_certificate(self) -> None:
        """Serve the certificate that is in the files now, to connections made from now on. Raises `OSError`."""
        config, certificate = self.config, self.config.ssl_certfile
        if self._use is not None and certificate is not None:
            self._use(
                create_ssl_context(
                    certificate,
                    config.ssl_keyfile,
                    config.ssl_keyfile_password,
                    config.ssl_version,
                    config.ssl_cert_reqs,
                    config.ssl_ca_certs,
                    config.ssl_ciphers,
                )
            )

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
        """Start as uvicorn does, then say so. Raises `Conflict` where somebody has the gRPC port."""
        self._grpc.take(self._node)
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, then stop as uvicorn does: what was accepted is answered first."""
        self._node.metrics.ready = False
        await super().shutdown(sockets=sockets)


class GrpcPort:
    """The inference protocol's gRPC port, where one is asked for: taken before uvicorn starts, answered meanwhile.

    uvicorn makes of an error in a lifespan a traceback in the log and an exit code of its own; so what can fail
    is done before.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._port: Port | None = None

    def take(self, node: Node) -> None:
        """Take the port, on the running event loop. Raises `Conflict`."""
        options = self._options
        if not options.grpc_port:
            return
        # Only here: whoever speaks no gRPC need not have it.
        from aboveboard.serving.oip_grpc import InferenceService, Port, credentials

        tls = None
        if options.certificate is not None and options.certificate_key is not None:
            tls = credentials(options.certificate, options.certificate_key, options.client_authority)
        service = InferenceService(lambda: node.service.tracks, node.access, node.metrics, node.tracing)
        host = f"[{options.host}]" if ":" in options.host else options.host
        self._port = Port(service, f"{host}:{options.grpc_port}", tls=tls, shared=options.workers > 1)

    @contextlib.asynccontextmanager
    async def answering(self, node: Node) -> AsyncIterator[None]:
        """Answer at the port, if there is one, until the block ends."""
        async with self._port.answering() if self._port is not None else contextlib.nullcontext():
            yield
