from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind, StatusCode

from aboveboard.audit import Acknowledgement
from aboveboard.serving.entries import DECIDE, INFER_CALL
from aboveboard.serving.service import Answer, StatedReason
from aboveboard.serving.tracing import RequestTrace, Tracing, is_failure
from aboveboard.serving.untraced import Trace

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOON_NS = int(NOON.timestamp()) * 10**9
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (b"traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01".encode())
UNSAMPLED = (b"traceparent", f"00-{TRACE_ID}-{SPAN_ID}-00".encode())
ANSWER = Answer(
    decision_id="dec-1",
    outcome="decline",
    score=0.25,
    reasons=[StatedReason("R01", "late payments")],
    model="loans",
    release="sha256:1",
    track="champion",
    receipt=Acknowledgement("server-1", 7, 0, "f00d"),
)


class Bench:
    """Tracing into memory, with a timer that is set by hand; the clock is the timer's, from noon."""

    def __init__(self, sampler: Sampler = DEFAULT_ON) -> None:
        self.now = 1_000.0
        self._spans = InMemorySpanExporter()
        self.tracing = Tracing(
            SimpleSpanProcessor(self._spans),
            timer=lambda: self.now,
            clock=lambda: NOON + timedelta(seconds=self.now - 1_000),
            sampler=sampler,
        )

    def begin(self, *headers: tuple[bytes, bytes]) -> Trace:
        return self.tracing.begin(headers, DECIDE)

    def begun(self, *headers: tuple[bytes, bytes]) -> RequestTrace:
        trace = self.begin(*headers)
        assert isinstance(trace, RequestTrace)
        return trace

    def spans(self) -> dict[str, ReadableSpan]:
        finished = self._spans.get_finished_spans()
        spans = {span.name: span for span in finished}
        assert len(spans) == len(finished)
        return spans


def attributes(span: ReadableSpan) -> Mapping[str, object]:
    return span.attributes or {}


def milliseconds(span: ReadableSpan) -> tuple[float, float]:
    """Return when a span began and ended, after noon."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.start_time - NOON_NS) / 1e6, (span.end_time - NOON_NS) / 1e6


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.tracing.close()


def test_stages_follow_each_other_within_the_request(bench: Bench) -> None:
    trace = bench.begun()
    for stage, at in (("parse", 1_000.001), ("route", 1_000.002), ("score", 1_000.003), ("journal", 1_000.004)):
        trace.enter(stage, at)
    trace.leave(1_000.009)
    trace.decided(ANSWER)
    bench.now = 1_000.010
    trace.end(200)
    spans = bench.spans()
    server = spans.pop("POST /v1/decisions")
    assert {name: milliseconds(span) for name, span in spans.items()} == {
        "parse": pytest.approx((1, 2), abs=1e-3),
        "route": pytest.approx((2, 3), abs=1e-3),
        "score": pytest.approx((3, 4), abs=1e-3),
        "journal": pytest.approx((4, 9), abs=1e-3),
    }
    assert milliseconds(server) == pytest.approx((0, 10), abs=1e-3)
    context = server.get_span_context()
    assert context is not None
    for span in spans.values():
        assert span.parent is not None
        assert span.parent.span_id == context.span_id
        assert span.kind is SpanKind.INTERNAL
        assert (span.resource, span.instrumentation_scope) == (server.resource, server.instrumentation_scope)
    assert server.kind is SpanKind.SERVER
    assert server.parent is None
    assert attributes(server) == {
        "http.request.method": "POST",
        "http.route": "/v1/decisions",
        "url.path": "/v1/decisions",
        "http.response.status_code": 200,
        "aboveboard.model": "loans",
        "aboveboard.release": "sha256:1",
        "aboveboard.track": "champion",
        "aboveboard.decision_id": "dec-1",
        "aboveboard.outcome": "decline",
    }
    assert server.status.status_code is StatusCode.UNSET


def test_the_caller_s_trace_is_continued_with_its_state(bench: Bench) -> None:
    trace = bench.begun((b"host", b"x"), SAMPLED, (b"tracestate", b"a=1,b=2"), (b"tracestate", b"c=3"))
    trace.enter("parse")
    trace.end(200)
    for span in bench.spans().values():
        context = span.get_span_context()
        assert context is not None
        assert f"{context.trace_id:032x}" == TRACE_ID
        assert context.trace_state.to_header() == "a=1,b=2,c=3"
    parent = bench.spans()["POST /v1/decisions"].parent
    assert parent is not None
    assert f"{parent.span_id:016x}" == SPAN_ID
    assert parent.is_remote
    assert trace.ids["trace_id"] == TRACE_ID
    assert trace.ids["span_id"] != SPAN_ID


@pytest.mark.parametrize(
    ("sampler", "headers", "traced"),
    [
        (DEFAULT_ON, [], True),
        (DEFAULT_ON, [SAMPLED], True),
        (DEFAULT_ON, [UNSAMPLED], False),
        (DEFAULT_OFF, [], False),
        (DEFAULT_OFF, [SAMPLED], True),
        (DEFAULT_OFF, [UNSAMPLED], False),
        (ALWAYS_ON, [UNSAMPLED], True),
        (ALWAYS_OFF, [SAMPLED], False),
    ],
)
def test_the_sampler_decides_and_by_default_heeds_the_caller(
    sampler: Sampler, headers: list[tuple[bytes, bytes]], traced: bool
) -> None:
    assert Bench(sampler).begin(*headers).sampled is traced


@pytest.mark.parametrize("sampler", [ParentBasedTraceIdRatio(0.25), TraceIdRatioBased(0.25)])
@pytest.mark.parametrize("began_elsewhere", [False, True])
def test_a_share_of_traces_is_kept_by_their_ids(sampler: Sampler, began_elsewhere: bool) -> None:
    """What is kept is kept whole, and a quarter of it all: judging before beginning changes neither."""
    random, bench, kept = Random(7), Bench(sampler), []  # noqa: S311
    for _ in range(2_000):
        parent = (b"traceparent", f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01".encode())
        trace = bench.begin(*[parent] if began_elsewhere else [])
        if trace.sampled:
            kept.append(trace.ids["trace_id"])
            trace.end(200)
    assert len(set(kept)) == len(kept)
    if began_elsewhere and isinstance(sampler, ParentBasedTraceIdRatio):
        assert len(kept) == 2_000
    else:
        assert 400 < len(kept) < 600
        assert all(int(trace_id[16:], 16) < 2**62 for trace_id in kept)


def test_a_request_that_was_not_kept_says_nothing_about_the_next() -> None:
    bench, ids = Bench(TraceIdRatioBased(0.25)), []
    for _ in range(2_000):
        bench.begin()
        trace = bench.begin((b"traceparent", b"not valid"))
        if trace.sampled:
            ids.append(trace.ids["trace_id"])
    assert 400 < len(ids) < 600
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "parents",
    [
        [b""],
        [b"\xff\xfe"],
        [SAMPLED[1].upper()],
        [f"00-{'0' * 32}-{SPAN_ID}-00".encode()],
        [f"00-{TRACE_ID}-{'0' * 16}-00".encode()],
        [f"ff-{TRACE_ID}-{SPAN_ID}-00".encode()],
        [f"00-{TRACE_ID}-{SPAN_ID}-00-more".encode()],
        [UNSAMPLED[1], UNSAMPLED[1]],
    ],
)
def test_a_caller_s_header_that_is_not_valid_begins_a_trace_of_our_own(bench: Bench, parents: list[bytes]) -> None:
    bench.begun(*((b"traceparent", parent) for parent in parents)).end(200)
    (span,) = bench.spans().values()
    assert span.parent is None


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate"]), st.binary(max_size=80)), max_size=3))
def test_no_header_of_a_caller_can_do_harm(headers: list[tuple[bytes, bytes]]) -> None:
    Bench().begin(*headers)


def test_a_refusal_names_its_problem_in_the_stage_where_it_arose(bench: Bench) -> None:
    trace = bench.begun()
    trace.enter("parse")
    trace.enter("contract")
    trace.refused("request-refused")
    trace.end(422)
    spans = bench.spans()
    server = spans["POST /v1/decisions"]
    assert attributes(server)["error.type"] == attributes(spans["contract"])["error.type"] == "request-refused"
    assert "error.type" not in attributes(spans["parse"])
    assert server.status.status_code is StatusCode.UNSET  # the client's mistake, not the server's


def test_a_fault_of_the_server_is_an_error(bench: Bench) -> None:
    trace = bench.begun()
    trace.refused("storage-failed")
    trace.end(503)
    server = bench.spans()["POST /v1/decisions"]
    assert server.status.status_code is StatusCode.ERROR
    assert server.status.description is None
    assert attributes(server)["error.type"] == "storage-failed"


def test_a_failure_without_a_code_is_named_by_its_status(bench: Bench) -> None:
    bench.begun().end(500)
    assert attributes(bench.spans()["POST /v1/decisions"])["error.type"] == "500"


def test_what_runs_beside_the_stages_has_its_own_span(bench: Bench) -> None:
    trace = bench.begun()
    trace.enter("journal")
    bench.now = 1_000.002
    trace.beside("shadow", 1_000.001, release="sha256:2", outcome="approve")
    bench.now = 1_000.003
    trace.beside("refusing shadow", 1_000.002, error="request-refused", release="sha256:3")
    bench.now = 1_000.005
    trace.end(200)
    spans = bench.spans()
    assert milliseconds(spans["shadow"]) == pytest.approx((1, 2), abs=1e-3)
    assert attributes(spans["shadow"]) == {"aboveboard.release": "sha256:2", "aboveboard.outcome": "approve"}
    assert attributes(spans["refusing shadow"])["error.type"] == "request-refused"
    assert milliseconds(spans["journal"]) == pytest.approx((0, 5), abs=1e-3)
    assert "error.type" not in attributes(spans["POST /v1/decisions"])


def test_nothing_is_added_once_the_request_is_answered(bench: Bench) -> None:
    trace = bench.begun()
    trace.enter("journal")
    trace.refused("unconfirmed")
    trace.end(503)
    trace.leave()
    trace.decided(ANSWER)
    trace.end(200)
    spans = bench.spans()
    assert set(spans) == {"POST /v1/decisions", "journal"}
    assert attributes(spans["POST /v1/decisions"])["http.response.status_code"] == 503
    assert "aboveboard.outcome" not in attributes(spans["POST /v1/decisions"])


def test_a_call_is_named_and_judged_as_grpc_has_it(bench: Bench) -> None:
    for status in ("OK", "INVALID_ARGUMENT", "INTERNAL"):
        trace = bench.tracing.begin([], INFER_CALL)
        assert trace.sampled
        trace.end(status)
        span = bench.spans().popitem()[1]
        assert attributes(span)["rpc.response.status_code"] == status
        assert attributes(span)["rpc.system.name"] == "grpc"
        assert (span.status.status_code is StatusCode.ERROR) is (status == "INTERNAL") is is_failure(status)
        bench._spans.clear()


def test_the_address_is_that_of_the_server(bench: Bench) -> None:
    trace = bench.tracing.begin([(b"host", b"jane.doe"), SAMPLED], DECIDE, scheme="https", server=("10.0.0.7", 8080))
    assert trace.sampled
    trace.end(200)
    named = attributes(bench.spans()["POST /v1/decisions"])
    assert (named["url.scheme"], named["server.address"], named["server.port"]) == ("https", "10.0.0.7", 8080)


def test_log_lines_get_ids_as_the_standard_writes_them(bench: Bench) -> None:
    ids = bench.begun(SAMPLED).ids
    assert ids["trace_id"] == TRACE_ID
    assert len(ids["span_id"]) == 16
