"""Where requests come in, as their traces name it.

Names follow OpenTelemetry's conventions for HTTP servers (https://opentelemetry.io/docs/specs/semconv/http/http-spans/)
and gRPC (https://opentelemetry.io/docs/specs/semconv/rpc/grpc/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

TRACE: Final = "aboveboard.trace"
"""Where the trace of a request is in its ASGI scope, if it is traced."""


class Entry(NamedTuple):
    """A place where requests come in: the name of their spans, and what is the same for all of them."""

    name: str
    attributes: Mapping[str, str]


def http_entry(method: str, route: str) -> Entry:
    """Return the entry of an HTTP route.

    The path is given as its pattern too: what a client writes in the place of a variable is not ours to pass on.
    """
    return Entry(f"{method} {route}", {"http.request.method": method, "http.route": route, "url.path": route})


def rpc_entry(method: str) -> Entry:
    """Return the entry of a gRPC method, by its full name."""
    return Entry(method, {"rpc.system.name": "grpc", "rpc.method": method})


DECIDE: Final = http_entry("POST", "/v1/decisions")
INFER: Final = http_entry("POST", "/v2/models/{name}/infer")
INFER_VERSION: Final = http_entry("POST", "/v2/models/{name}/versions/{version}/infer")
INFER_CALL: Final = rpc_entry("inference.GRPCInferenceService/ModelInfer")
