"""What the standard OpenTelemetry environment variables ask of the server: traces, or nothing.

Only the names and values that switch traces on are read here; how they are sampled, named and sent is read by the
OpenTelemetry SDK itself. https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from aboveboard.errors import Misuse

EXTRA: Final = "aboveboard[otel]"
PROTOCOL: Final = "http/protobuf"

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER_MODULE: Final = "opentelemetry.exporter.otlp.proto.http"


def traces_asked(environ: Mapping[str, str]) -> bool:
    """Tell whether traces are to be sent: an OTLP endpoint is named, or `OTEL_TRACES_EXPORTER` is `otlp`.

    `OTEL_SDK_DISABLED=true` and `OTEL_TRACES_EXPORTER=none` switch them off again; an empty value is as good as
    none. Raises `Misuse` for an exporter or a protocol that is not spoken here, for an endpoint that is no HTTP URL
    and where what sends traces is not installed: whoever asks for traces should not find out later that there are
    none.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoint = next((name for name in _ENDPOINTS if environ.get(name, "").strip()), None)
    if exporter == "none" or (not exporter and endpoint is None):
        return False
    if exporter not in ("", "otlp"):
        raise Misuse("OTEL_TRACES_EXPORTER names an exporter that is not here", hint="set it to otlp or none")
    protocol = next((value for name in _PROTOCOLS if (value := environ.get(name, "").strip())), PROTOCOL)
    if protocol != PROTOCOL:
        raise Misuse(
            "OTEL_EXPORTER_OTLP_PROTOCOL names a protocol that is not spoken here",
            hint=f"set it to {PROTOCOL}, which collectors take on port 4318",
        )
    if endpoint is not None and not _is_http(environ[endpoint].strip()):
        raise Misuse(f"{endpoint} is no HTTP URL", hint="for example http://localhost:4318")
    require_exporter()
    return True


def require_exporter() -> None:
    """Raise `Misuse` where what sends traces is not installed."""
    try:
        found = importlib.util.find_spec(_EXPORTER_MODULE) is not None
    except ModuleNotFoundError:  # nor is anything above it
        found = False
    if not found:
        raise Misuse("traces need the OpenTelemetry SDK and its OTLP exporter", hint=f"pip install '{EXTRA}'")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
