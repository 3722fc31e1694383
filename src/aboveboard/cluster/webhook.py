"""The webhook as a process: HTTPS, certificates that may be renewed under it, refusals for whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from anyio import to_thread
from cryptography import x509
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aboveboard.cluster.admission import Gatekeeper
from aboveboard.cluster.metrics import CONTENT_TYPE, AdmissionMetrics
from aboveboard.errors import AboveboardError, Misuse
from aboveboard.tls import Use, exchangeable

LARGEST_REVIEW = 8 * 1024 * 1024
"""Bytes: an object is at most 3 MiB to the API server, and an update holds two."""
DECIDE_SECONDS = 8
"""A little less than the ten seconds after which the API server gives up; its failure policy then refuses, too."""
RELOAD_SECONDS = 30

_log = logging.getLogger("aboveboard.cluster")


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """How the webhook is run."""

    certificate: Path
    key: Path
    host: str = "0.0.0.0"  # noqa: S104  the API server is another machine
    port: int = 8443
    reload_seconds: float = RELOAD_SECONDS


def application(
    gatekeeper: Gatekeeper,
    lifespan: Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]] | None = None,
    ready: Callable[[], bool] = lambda: True,
    metrics: AdmissionMetrics | None = None,
) -> Starlette:
    """Return the ASGI application: `POST /validate`, `/livez`, `/readyz` and `/metrics`.

    `ready` tells whether it can judge.
    """
    counted = metrics or AdmissionMetrics()

    async def validate(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_REVIEW:
                return _problem(413, f"a review has at most {LARGEST_REVIEW} bytes")
        try:
            async with asyncio.timeout(DECIDE_SECONDS):
                # A thread that has not come back by then is left to itself, and nobody waits for it.
                with counted.duration.time():
                    answer = await to_thread.run_sync(gatekeeper.answer, bytes(body), abandon_on_cancel=True)
                return JSONResponse(answer)
        except AboveboardError as error:
            return _problem(400, error.message)
        except TimeoutError:
            counted.broke()
            return _problem(503, "the decision took too long; it is asked again")
        except Exception:  # noqa: BLE001  the edge: whatever it is, it is a refusal
            # No answer is a refusal under failurePolicy Fail; the details concern us alone.
            _log.exception("a review could not be answered")
            counted.broke()
            return _problem(500, "the webhook made a mistake; its log says more")

    async def alive(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def judging(request: Request) -> Response:
        if not ready():
            return _problem(503, "the cluster's policy packs are not known")
        return JSONResponse({"status": "ok"})

    async def counts(request: Request) -> Response:
        return Response(counted.text(), headers={"Content-Type": CONTENT_TYPE})

    routes = [
        Route("/metrics", counts, methods=["GET"]),
        Route("/validate", validate, methods=["POST"]),
        Route("/livez", alive, methods=["GET"]),
        Route("/readyz", judging, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _problem(status: int, message: str) -> Response:
    return Response(json.dumps({"message": message}), status, media_type="application/json")


class Webhook(uvicorn.Server):
    """One HTTPS server. A renewed certificate is used for new connections without a restart."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        options: WebhookOptions,
        *,
        beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
        ready: Callable[[], bool] = lambda: True,
        metrics: AdmissionMetrics | None = None,
    ) -> None:
        """Make a server; `beside` is what runs for as long as it does."""
        self._metrics = metrics or AdmissionMetrics()
        for path in (options.certificate, options.key):
            if not path.is_file():
                raise Misuse(f"{path}: no such file", hint="mount the certificate there, or use --self-signed")
        self._options = options
        self._beside = beside
        config = uvicorn.Config(
            application(gatekeeper, self._reloading, ready, self._metrics),
            host=options.host,
            port=options.port,
            ssl_certfile=options.certificate,
            ssl_keyfile=options.key,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
        )
        super().__init__(config)

    @contextlib.asynccontextmanager
    async def _reloading(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._necessary(work)) for work in (self._reload, *self._beside)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _necessary(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception:
            _log.exception("the webhook cannot go on; it ends, and is started again")
            self.should_exit = True
            raise

    def _note_expiry(self) -> None:
        certificate = x509.load_pem_x509_certificate(self._options.certificate.read_bytes())
        self._metrics.certificate_ends(certificate.not_valid_after_utc)

    async def _reload(self) -> None:
        certificate, key = self._options.certificate, self._options.key
        seen = _stamp(certificate, key)
        use: Use | None = None
        self._note_expiry()
        while True:
            await asyncio.sleep(self._options.reload_seconds)
            now = _stamp(certificate, key)
            if now == seen or self.config.ssl is None:
                continue
            use = use or exchangeable(self.config.ssl)
            renewed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            try:
                renewed.load_cert_chain(certificate, key)
            except OSError as error:  # half of a renewal; the old pair still serves
                _log.warning("the certificate could not be read again: %s", error)
                continue
            use(renewed)
            self._note_expiry()
            seen = now
            _log.warning("the certificate was renewed")


def _stamp(*paths: Path) -> tuple[bytes, ...] | None:
    try:
        return tuple(path.read_bytes() for path in paths)
    except OSError:
        return None
