"""Probes and metrics of relay and collector over HTTP: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from aboveboard.serving.listening import listen
from aboveboard.streaming.progress import Progress

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger("aboveboard.streaming.health")
_TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"))


def application(registry: CollectorRegistry, progress: Progress) -> WSGIApplication:
    """Return the WSGI application.

    `/livez` is 200 while rounds end, well or not; `/readyz` while they work. Both are 503 otherwise, with a line
    that says why.
    """
    metrics = make_wsgi_app(registry)

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environment.get("PATH_INFO", "/")
        if path == "/metrics":
            found: Iterable[bytes] = metrics(environment, start)
            return found
        if path not in ("/livez", "/readyz"):
            start("404 Not Found", list(_TEXT))
            return [b"there are /livez, /readyz and /metrics\n"]
        well = progress.alive if path == "/livez" else progress.ready
        start("200 OK" if well else "503 Service Unavailable", list(_TEXT))
        if well:
            return [b"ok\n"]
        reason = (
            "the last round did not work" if progress.alive else f"no round ended for {progress.silent_for():.0f} s"
        )
        return [f"{reason}\n".encode()]

    return answer


@contextmanager
def answering(host: str, port: int, registry: CollectorRegistry, progress: Progress) -> Iterator[None]:
    """Answer in threads until the block ends. Raises `Conflict` where the port is taken, `Misuse` for an address."""
    with listen(host, port) as listener:
        server = _Server(listener.getsockname(), _Silent, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        server.server_name, server.server_port = listener.getsockname()[:2]
        server.setup_environ()
        server.set_app(application(registry, progress))
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note that a caller went away, or worse, for those who look for it."""
        _log.debug("a probe or scrape was not answered", exc_info=True)


class _Silent(WSGIRequestHandler):
    timeout = 10
    """Seconds a caller may take to say what it wants."""

    def log_message(self, *_: Any) -> None:
        """Say nothing of every probe."""
