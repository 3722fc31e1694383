"""Traces of requests in OpenTelemetry's terms: what the caller began, continued here, stage by stage.

Whether a request is traced is decided when it begins; one that is not costs a look at its `traceparent`. One that is
collects plain moments on its way; the spans of its stages are made of them after it was answered, and sent by a
thread of the SDK's own. No span holds what a client says about a person: no features, subject, cohort or body, and
of the path only its pattern. Only the server imports this module, when traces are asked for; it needs the extra
`otel`.

W3C Trace Context: https://www.w3.org/TR/trace-context-2/. Attributes follow OpenTelemetry's conventions, as those of
`entries` do; what is ours begins with `aboveboard.`.
"""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from aboveboard import __version__
from aboveboard.clock import Clock
from aboveboard.errors import Misuse
from aboveboard.serving.entries import Entry

if TYPE_CHECKING:
    from aboveboard.serving.service import Answer

FLUSH_SECONDS: Final = 3.0
"""How long a server that stops waits for its last traces: with the time to drain, less than Kubernetes grants."""
SERVICE: Final = "aboveboard"
"""The name of the service, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` gives another."""
SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the conventions that all names follow."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOWHERE: Final = Context()
_W3C: Final = TraceContextTextMapPropagator()
# A valid context whose last bit says that the caller does not sample (section 3.2 of the recommendation).
_UNSAMPLED: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")

_log = logging.getLogger("aboveboard.serving")


class Tracing:
    """Decides which requests are traced, and sends their traces."""

    def __init__(self, provider: TracerProvider, *, timer: Callable[[], float], clock: Clock) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("aboveboard.serving", __version__, SCHEMA)
        # Of these, all that can be named in the environment never sample what the caller does not.
        self._heeds_caller = isinstance(provider.sampler, ParentBased)
        self._timer = timer
        self._clock = clock

    @classmethod
    def from_environment(cls, *, timer: Callable[[], float], clock: Clock) -> Tracing:
        """Return what the standard environment variables describe; a thread that sends is started.

        Call it in the process that answers. Raises `Misuse` for settings that cannot be.
        """
        resource = Resource({"service.version": __version__, "service.instance.id": str(uuid.uuid4())})
        resource = resource.merge(Resource.create())
        if str(resource.attributes["service.name"]).startswith("unknown_service"):  # what the SDK says where none is
            resource = resource.merge(Resource({"service.name": SERVICE}))
        try:
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except (ValueError, RuntimeError, ImportError, OSError) as error:
            raise Misuse(f"traces cannot be sent as OTEL_… says: {error}", hint="mend the variable") from error
        return cls(provider, timer=timer, clock=clock)

    def begin(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        entry: Entry,
        *,
        scheme: str | None = None,
        server: tuple[str, int | None] | None = None,
    ) -> RequestTrace | None:
        """Return the trace of a request that begins now, or None where it is not sampled.

        `headers` have lower-case names; `server` is the address and port it came in at.
        """
        parent = states = None
        for name, value in headers:
            if name == b"traceparent":
                parent = value if parent is None else b""  # two contradict each other
            elif name == b"tracestate":
                states = [value] if states is None else [*states, value]
        context = _NOWHERE
        if parent is not None:
            if self._heeds_caller and _UNSAMPLED.fullmatch(parent) is not None:
                return None
            carrier = {"traceparent": [parent.decode("latin-1")]}
            if states is not None:
                carrier["tracestate"] = [state.decode("latin-1") for state in states]
            context = _W3C.extract(carrier, _NOWHERE)
        began, moment = self._timer(), (self._clock() - _EPOCH) // _MICROSECOND * 1_000
        span = self._tracer.start_span(
            entry.name, context, SpanKind.SERVER, attributes=entry.attributes, start_time=moment
        )
        if not span.is_recording():
            return None
        if scheme is not None:
            span.set_attribute("url.scheme", scheme)
        if server is not None:
            span.set_attribute("server.address", server[0])
            if server[1]:
                span.set_attribute("server.port", server[1])
        return RequestTrace(span, self._tracer, self._timer, moment - int(began * 1e9))

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what is left, for no longer than `seconds`; what a collector has not taken by then is lost."""
        # The SDK waits for half a minute, and for a collector that hangs longer still.
        ending = threading.Thread(target=self._provider.shutdown, name="traces-ending", daemon=True)
        ending.start()
        ending.join(seconds)
        if ending.is_alive():
            _log.warning("the collector of traces does not answer; the last traces are lost")


class _Stage(NamedTuple):
    name: str
    began: float
    ended: float
    attributes: Mapping[str, AttributeValue]


class RequestTrace:
    """One traced request: moments and facts on its way, spans once it is answered.

    Moments are those of the timer the trace began with. After `end`, nothing is taken any more.
    """

    __slots__ = ("_ended", "_error", "_offset", "_open", "_since", "_span", "_stages", "_timer", "_tracer")

    def __init__(self, span: Span, tracer: Tracer, timer: Callable[[], float], offset: int) -> None:
        self._span = span
        self._tracer = tracer
        self._timer = timer
        self._offset = offset
        """Nanoseconds from the timer's beginning to the epoch."""
        self._stages: list[_Stage] = []
        self._open = ""
        self._since = 0.0
        self._error = ""
        self._ended = False

    @property
    def ids(self) -> dict[str, str]:
        """Return the ids that lead from a log line to this trace, by the names OpenTelemetry has for them there."""
        context = self._span.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def enter(self, stage: str, at: float | None = None) -> None:
        """Begin a stage, which ends the one before it."""
        now = self._timer() if at is None else at
        self.leave(now)
        self._open, self._since = stage, now

    def leave(self, at: float | None = None) -> None:
        """End the stage that is open, if one is."""
        if self._open:
            self._stages.append(_Stage(self._open, self._since, self._timer() if at is None else at, {}))
            self._open = ""

    def beside(self, name: str, began: float, *, error: str = "", **facts: AttributeValue) -> None:
        """Note what was done beside the stages, from `began` until now, and the code of what went wrong in it."""
        named = {f"aboveboard.{fact}": value for fact, value in facts.items()}
        self._stages.append(_Stage(name, began, self._timer(), {**named, "error.type": error} if error else named))

    def note(self, **facts: AttributeValue) -> None:
        """Note facts about the request as a whole, as attributes that begin with `aboveboard.`."""
        if not self._ended:  # the SDK warns of every one that comes too late
            self._span.set_attributes({f"aboveboard.{fact}": value for fact, value in facts.items()})

    def decided(self, answer: Answer) -> None:
        """Note what was decided, by which release on which track."""
        self.note(model=answer.model, release=answer.release, track=answer.track)
        self.note(decision_id=answer.decision_id, outcome=answer.outcome)

    def refused(self, code: str) -> None:
        """Note the code of the problem the client gets instead of an answer; the open stage is where it arose."""
        self._error = code

    def routed(self, entry: Entry) -> None:
        """Note the entry of a request for which it was not known at its beginning."""
        self._span.update_name(entry.name)
        self._span.set_attributes(entry.attributes)

    def end(self, status: int | str) -> None:
        """End the trace of a request that was answered with a status of HTTP or, as a text, of gRPC."""
        if self._ended:
            return
        self._ended = True
        now = self._timer()
        span, failed = self._span, is_failure(status)
        if isinstance(status, int):
            span.set_attribute("http.response.status_code", status)
        else:
            span.set_attribute("rpc.response.status_code", status)
        error = self._error or (str(status) if failed else "")
        if self._open:
            self._stages.append(_Stage(self._open, self._since, now, {"error.type": error} if error else {}))
        context = set_span_in_context(span, _NOWHERE)
        for name, began, ended, attributes in self._stages:
            child = self._tracer.start_span(name, context, attributes=attributes, start_time=self._at(began))
            child.end(self._at(ended))
        if error:
            span.set_attribute("error.type", error)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(self._at(now))

    def _at(self, moment: float) -> int:
        return self._offset + int(moment * 1e9)


_GRPC_FAILURES: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


def is_failure(status: int | str) -> bool:
    """Tell whether a status is the server's fault, as the conventions for HTTP and gRPC servers have it."""
    return status >= 500 if isinstance(status, int) else status in _GRPC_FAILURES
