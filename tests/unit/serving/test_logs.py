from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import SpanProcessor

from aboveboard.errors import StorageFailed
from aboveboard.serving.entries import DECIDE
from aboveboard.serving.logs import logging_to
from aboveboard.serving.tracing import Tracing

log = logging.getLogger("aboveboard.serving")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_writes_one_object_a_line_from_warnings_up() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        log.info("nothing much")
        log.warning("%s: %s", "overloaded", "first\nsecond")
    log.warning("after the block")
    (line,) = lines(stream)
    assert (line["level"], line["logger"], line["message"]) == (
        "warning",
        "aboveboard.serving",
        "overloaded: first\nsecond",
    )
    assert str(line["time"]).endswith("Z")


def test_an_exception_is_written_without_the_values_in_its_message() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        try:
            int("Jane Doe")
        except ValueError:
            log.exception("unforeseen fault")
        try:
            raise StorageFailed("the disk is full")
        except StorageFailed:
            log.exception("no more")
    first, second = lines(stream)
    assert "Jane" not in stream.getvalue()
    assert first["error"] == "ValueError"
    assert "test_logs.py" in str(first["at"])
    assert second["detail"] == "the disk is full"


def test_a_line_about_a_traced_request_leads_to_its_trace() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        log.error("no more", extra={"trace_id": "0af7", "span_id": "b7ad"})
        log.error("no more")
    traced, other = lines(stream)
    assert (traced["trace_id"], traced["span_id"]) == ("0af7", "b7ad")
    assert "trace_id" not in other


def test_clients_cannot_fill_the_log_with_malformed_trace_headers(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    with logging_to(stream):
        headers = [(b"traceparent", b"0" * 600), (b"traceparent", b""), (b"tracestate", b"Jane=Doe,=," * 5)]
        parent = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        tracing = Tracing(SpanProcessor(), timer=lambda: 0.0, clock=lambda: datetime.now(UTC))
        for trace in ([headers[0]], headers, [parent, headers[2]]):
            assert tracing.begin(trace, DECIDE) is not None
        logging.getLogger("opentelemetry.sdk._shared_internal").warning("Queue full, dropping Span.")
    (line,) = lines(stream)
    assert line["message"] == "Queue full, dropping Span."
    assert len(caplog.records) == 1


def test_a_message_that_comes_again_and_again_is_written_once_a_second() -> None:
    stream = io.StringIO()

    def say(text: str, at: float) -> None:
        record = log.makeRecord(log.name, logging.ERROR, "http.py", 1, "%s: %s", ("storage-failed", text), None)
        record.created = at
        log.handle(record)

    with logging_to(stream):
        for moment in (100.0, 100.1, 100.9, 101.0, 101.5, 103.0):
            say("the database is away", moment)
        say("the disk is full", 103.0)
    found = [(line["message"], line.get("left_out")) for line in lines(stream)]
    assert found == [
        ("storage-failed: the database is away", None),
        ("storage-failed: the database is away", 2),
        ("storage-failed: the database is away", 1),
        ("storage-failed: the disk is full", None),
    ]
