"""A collector of traces for tests: takes OTLP over HTTP as any other does, and keeps what it got."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Received:
    """One span as it came over the wire."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    """Empty where there is none."""
    state: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector(ThreadingHTTPServer):
    """Takes `POST /v1/traces`; `paused` makes it take requests and answer none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paused = threading.Event()
        self.asked = 0
        self.bodies: list[bytes] = []
        self.spans: list[Received] = []
        self._over = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        for resource_spans in request.resource_spans:
            resource = _plain(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                self.spans += [_received(span, resource) for span in scope_spans.spans]

    def until(self, condition: Callable[[list[Received]], bool], *, seconds: float = 20) -> list[Received]:
        """Return the spans once a condition holds of them."""
        for _ in range(int(seconds / 0.05)):
            if condition(self.spans):
                return self.spans
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s; there are {[span.name for span in self.spans]}")

    def one(self, name: str) -> Received:
        """Return the only span of a name, once it has come."""
        (span,) = (span for span in self.until(lambda spans: any(s.name == name for s in spans)) if span.name == name)
        return span

    def children(self, parent: Received) -> dict[str, Received]:
        """Return the spans below another by their names; each may be there once."""
        found = [span for span in self.spans if span.parent_id == parent.span_id]
        by_name = {span.name: span for span in found}
        assert len(by_name) == len(found)
        return by_name

    def wait(self) -> None:
        """Wait while paused; whoever asked may go away meanwhile."""
        while self.paused.is_set() and not self._over.wait(0.05):
            pass

    def shutdown(self) -> None:
        self._over.set()
        super().shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Collector
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the parent has it
        pass

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/x-protobuf"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        self.server.wait()
        self.server.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        answer = ExportTraceServiceResponse().SerializeToString()
        with contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector until the block ends."""
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()


def _received(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        failed=span.status.code == 2,
        attributes=_plain(span.attributes),
        resource=resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
