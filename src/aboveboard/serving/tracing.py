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
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from aboveboard import __version__
from aboveboard.clock import Clock
from aboveboard.errors import Misuse
from aboveboard.serving.entries import Entry
from aboveboard.serving.untraced import UNTRACED, Fact, Trace

if TYPE_CHECKING:
    from aboveboard.serving.service import Answer

FLUSH_SECONDS: Final = 3.0
"""How long a server that stops waits for its last traces: with the time to drain, less than Kubernetes grants."""
SERVICE: Final = "aboveboard"
"""The name of the service, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` gives another."""
SCOPE: Final = "aboveboard.serving"
"""Whose spans they are."""
SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the conventions that all names follow."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOWHERE: Final = Context()
_W3C: Final = TraceContextTextMapPropagator()
# A valid context whose last bit says that the caller does not sample (section 3.2 of the recommendation).
_UNSAMPLED: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")

_log = logging.getLogger("aboveboard.serving")


class _ChosenIds(RandomIdGenerator):
    """Random ids, unless the one of the next new trace was chosen before it begins."""

    def __init__(self) -> None:
        self.chosen: int | None = None

    def generate_trace_id(self) -> int:
        """Return the id that was chosen, once, or a random one."""
        chosen, self.chosen = self.chosen, None
        return super().generate_trace_id() if chosen is None else chosen


class Tracing:
    """Decides which requests are traced, and hands their spans to a processor; runs on one event loop."""

    def __init__(
        self,
        processor: SpanProcessor,
        *,
        timer: Callable[[], float],
        clock: Clock,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
    ) -> None:
        """`sampler` is what the environment names unless given, and so are limits for spans."""
        self._ids = _ChosenIds()
        self._provider = TracerProvider(sampler, resource, shutdown_on_exit=False, id_generator=self._ids)
        self._provider.add_span_processor(processor)
        self._processor = processor
        self._tracer = self._provider.get_tracer(SCOPE, __version__, SCHEMA)
        self._scope = InstrumentationScope(SCOPE, __version__, SCHEMA)
        self._sampler = self._provider.sampler
        # Of these, all that can be named in the environment never sample what the caller does not.
        self._heeds_caller = isinstance(self._sampler, ParentBased)
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
            return cls(BatchSpanProcessor(OTLPSpanExporter()), timer=timer, clock=clock, resource=resource)
        except (ValueError, RuntimeError, ImportError, OSError) as error:
            raise Misuse(f"traces cannot be sent as OTEL_… says: {error}", hint="mend the variable") from error

    def begin(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        entry: Entry,
        *,
        scheme: str | None = None,
        server: tuple[str, int | None] | None = None,
    ) -> Trace:
        """Return the trace of a request that begins now, `UNTRACED` where it is not sampled.

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
                return UNTRACED
            carrier = {"traceparent": [parent.decode("latin-1")]}
            if states is not None:
                carrier["tracestate"] = [state.decode("latin-1") for state in states]
            context = _W3C.extract(carrier, _NOWHERE)
        elif not self._samples(entry):
            return UNTRACED
        began, moment = self._timer(), (self._clock() - _EPOCH) // _MICROSECOND * 1_000
        span = self._tracer.start_span(
            entry.name, context, SpanKind.SERVER, attributes=entry.attributes, start_time=moment
        )
        if not span.is_recording():
            return UNTRACED
        facts: dict[str, AttributeValue] = {}
        if scheme is not None:
            facts["url.scheme"] = scheme
        if server is not None:
            facts["server.address"] = server[0]
            if server[1]:
                facts["server.port"] = server[1]
        return RequestTrace(span, self._hand_on, self._timer, moment - int(began * 1e9), facts)

    def _hand_on(
        self, parent: SpanContext, name: str, began: int, ended: int, attributes: Mapping[str, AttributeValue]
    ) -> None:
        """Hand on a span that is over: made as a tracer makes it in the end, for a fifth of what that costs."""
        context = SpanContext(
            parent.trace_id, self._ids.generate_span_id(), False, parent.trace_flags, parent.trace_state
        )
        self._processor.on_end(
            ReadableSpan(
                name,
                context,
                parent,
                self._provider.resource,
                attributes,
                start_time=began,
                end_time=ended,
                instrumentation_scope=self._scope,
            )
        )

    def _samples(self, entry: Entry) -> bool:
        """Tell whether a trace of our own is sampled, for a third of what it costs to begin one that is not."""
        trace_id = self._ids.generate_trace_id()
        judged = self._sampler.should_sample(_NOWHERE, trace_id, entry.name, SpanKind.SERVER, entry.attributes)
        if judged.decision is Decision.DROP:
            return False
        self._ids.chosen = trace_id
        return True

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


class RequestTrace(Trace):
    """One traced request: moments and facts on its way, spans once it is answered.

    Moments are those of the timer the trace began with. After `end`, nothing is taken any more.
    """

    __slots__ = ("_ended", "_error", "_facts", "_hand_on", "_offset", "_open", "_since", "_span", "_stages", "_timer")

    def __init__(
        self,
        span: Span,
        hand_on: Callable[[SpanContext, str, int, int, Mapping[str, AttributeValue]], None],
        timer: Callable[[], float],
        offset: int,
        facts: dict[str, AttributeValue],
    ) -> None:
        self._span = span
        self._hand_on = hand_on
        self._timer = timer
        self._offset = offset
        """Nanoseconds from the timer's beginning to the epoch."""
        self._facts = facts
        self._stages: list[_Stage] = []
        self._open = ""
        self._since = 0.0
        self._error = ""
        self._ended = False

    sampled = True

    @property
    def ids(self) -> dict[str, str]:
        """Return the ids that lead from a log line to this trace, by the names OpenTelemetry has for them there."""
        context = self._span.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    @property
    def explaining(self) -> Callable[[], None]:
        """Return what begins the stage `reasons`."""
        return partial(self.enter, "reasons")

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

    def beside(self, name: str, began: float, *, error: str = "", **facts: Fact) -> None:
        """Note what was done beside the stages, from `began` until now, and the code of what went wrong in it."""
        named = {f"aboveboard.{fact}": value for fact, value in facts.items()}
        self._stages.append(_Stage(name, began, self._timer(), {**named, "error.type": error} if error else named))

    def note(self, **facts: Fact) -> None:
        """Note facts about the request as a whole, as attributes that begin with `aboveboard.`."""
        self._facts |= {f"aboveboard.{fact}": value for fact, value in facts.items()}

    def decided(self, answer: Answer) -> None:
        """Note what was decided, by which release on which track."""
        self.note(
            model=answer.model,
            release=answer.release,
            track=answer.track,
            decision_id=answer.decision_id,
            outcome=answer.outcome,
        )

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
        span, facts, failed = self._span, self._facts, is_failure(status)
        facts["http.response.status_code" if isinstance(status, int) else "rpc.response.status_code"] = status
        error = self._error or (str(status) if failed else "")
        if self._open:
            self._stages.append(_Stage(self._open, self._since, now, {"error.type": error} if error else {}))
        if error:
            facts["error.type"] = error
        context = span.get_span_context()
        for name, began, ended, attributes in self._stages:
            self._hand_on(context, name, self._at(began), self._at(ended), attributes)
        span.set_attributes(facts)
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
