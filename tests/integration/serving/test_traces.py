"""Traces of a real server, as a real collector gets them."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tritonclient.utils import InferenceServerException

from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, ask_all, launch, running
from tests.otlp_server import Collector, Received, collecting

DECIDE = "POST /v1/decisions"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-01"
STAGES = ["parse", "route", "contract", "score", "journal"]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        yield collector


def unfavourable(released: Released) -> dict[str, Any]:
    """Return a request that will not get what it asks for, so that there are reasons."""
    model = released.models[0]
    for client in released.clients:
        row = model.encoding.encode(client["features"])
        if model.score(row.reshape(1, -1))[0] < model.approve_at:
            return client
    raise AssertionError("everybody gets what they ask for")


def of_trace(spans: list[Received], trace_id: str) -> list[Received]:
    return [span for span in spans if span.trace_id == trace_id]


@pytest.mark.parametrize("lane", [True, False])
def test_a_client_s_own_trace_goes_on_through_every_stage(
    released: Released, home: Home, collector: Collector, lane: bool
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    request = unfavourable(released)
    first, second = released.digests
    with running(home, release=first, shadows=[second], traces=True, lane=lane) as server:
        with server.client() as client, provider.get_tracer("client").start_as_current_span("apply") as span:
            headers: dict[str, str] = {"tracestate": "bank=1"}
            TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
            before = time.time_ns()
            answer = client.post("/v1/decisions", json=request, headers=headers)
            after = time.time_ns()
        assert answer.status_code == 200
        assert not {"traceparent", "tracestate", "traceresponse"} & set(answer.headers)
        ours = collector.one(DECIDE)
        port = server.port
    context = span.get_span_context()
    assert (ours.trace_id, ours.parent_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert ours.kind == 2  # a server's
    assert ours.state == "bank=1"
    assert not ours.failed
    decision = answer.json()
    assert ours.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/decisions",
        "http.response.status_code": 200,
        "url.path": "/v1/decisions",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": port,
        "aboveboard.model": decision["model"],
        "aboveboard.release": first,
        "aboveboard.track": "champion",
        "aboveboard.decision_id": decision["decision_id"],
        "aboveboard.outcome": decision["outcome"],
    }
    children = collector.children(ours)
    assert set(children) == {*STAGES, "reasons", "shadow"}
    assert children["shadow"].attributes["aboveboard.release"] == second
    stages = [children[name] for name in ("parse", "route", "contract", "score", "reasons", "journal")]
    for earlier, later in itertools.pairwise(stages):
        assert earlier.ended == later.began
    slack = 1_000_000  # two clocks: the wall's, and the one that only goes forward
    assert before - slack <= ours.began <= stages[0].began
    assert stages[-1].ended <= after + slack  # it was answered after that, and the trace ended after the answer
    assert stages[-1].ended <= ours.ended
    assert all(span.began <= span.ended for span in collector.spans)
    assert ours.resource["service.name"] == "aboveboard"
    assert ours.resource["service.instance.id"]


def test_who_calls_decides_whether_a_request_is_traced(
    released: Released, home: Home, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    with running(home, release=released.digests[0], traces=True) as server, server.client() as client:
        for parent in ("", SAMPLED[:-1] + "0", SAMPLED):
            headers = {"traceparent": parent} if parent else {}
            assert client.post("/v1/decisions", json=released.clients[0], headers=headers).status_code == 200
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    assert collector.one(DECIDE).parent_id == SAMPLED.split("-")[2]


@pytest.mark.parametrize("lane", [True, False])
def test_a_refusal_is_traced_up_to_where_it_arose(
    released: Released, home: Home, collector: Collector, lane: bool
) -> None:
    request = released.clients[0]
    wrong = {**request, "features": {**request["features"], "LIMIT_BAL": "Jane Doe"}}
    with running(home, release=released.digests[0], traces=True, lane=lane) as server, server.client() as client:
        for content, kind, status in (
            (b"{", "application/json", 400),
            (json.dumps(wrong).encode(), "application/json", 422),
            (b"{}", "text/plain", 415),
        ):
            headers = {"traceparent": f"00-{status:032x}-{status:016x}-01", "content-type": kind}
            answer = client.post("/v1/decisions", content=content, headers=headers)
            assert answer.status_code == status
            (ours,) = collector.until(
                lambda spans: bool(of_trace(spans, f"{status:032x}"))  # noqa: B023  called here and now
            ) and [span for span in of_trace(collector.spans, f"{status:032x}") if span.name == DECIDE]
            assert ours.attributes["error.type"] == answer.json()["code"]
            assert ours.attributes["http.response.status_code"] == status
            assert not ours.failed
            refused = {name for name, span in collector.children(ours).items() if "error.type" in span.attributes}
            assert refused == {400: {"parse"}, 422: {"contract"}, 415: set()}[status]


def test_a_failing_disk_is_an_error_and_the_log_line_leads_to_the_trace(
    released: Released, home: Home, collector: Collector
) -> None:
    process = launch(home, release=released.digests[0], port=0, traces=True, deadline_seconds=0.0)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        for _ in range(20):
            answer = httpx.post(
                f"{url}/v1/decisions", json=released.clients[0], headers={"traceparent": SAMPLED}, timeout=30
            )
            if answer.status_code == 503:
                break
        assert answer.json()["code"] == "unconfirmed"
        process.terminate()
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
    finally:
        process.kill()
        process.communicate()
    (ours, *_) = [span for span in collector.spans if span.failed]
    assert ours.attributes["error.type"] == "unconfirmed"
    assert collector.children(ours)["journal"].attributes["error.type"] == "unconfirmed"
    line = next(line for line in map(json.loads, log.splitlines()) if line.get("span_id") == ours.span_id)
    assert line["trace_id"] == TRACE_ID
    assert line["message"].startswith("unconfirmed: ")


def test_a_repeated_request_is_known_by_its_decision(released: Released, home: Home, collector: Collector) -> None:
    request = {**released.clients[0], "idempotency_key": "once"}
    with running(home, release=released.digests[0], traces=True) as server, server.client() as client:
        answers = [client.post("/v1/decisions", json=request).json() for _ in range(2)]
    assert answers[0] == answers[1]
    first, again = sorted((s for s in collector.spans if s.name == DECIDE), key=lambda span: span.began)
    assert first.attributes["aboveboard.decision_id"] == again.attributes["aboveboard.decision_id"]
    assert {"parse", "idempotency", "score", "journal"} < set(collector.children(first))
    assert set(collector.children(again)) == {"parse", "idempotency"}


def test_predictions_batches_and_readers_have_a_span_each(
    released: Released, home: Home, collector: Collector
) -> None:
    row = released.clients[0]["features"]
    tensors = [{"name": name, "shape": [1], "datatype": "INT64", "data": [row[name]]} for name in row]
    version = f"/v2/models/credit-default/versions/{released.digests[0]}/infer"
    with running(home, release=released.digests[0], traces=True) as server, server.client() as client:
        assert client.post("/v2/models/credit-default/infer", json={"inputs": tensors}).status_code == 200
        assert client.post(version, json={"inputs": tensors}).status_code == 200
        # Without a declared type it takes uvicorn's way.
        body = json.dumps({"inputs": tensors})
        assert client.post("/v2/models/credit-default/infer", content=body).status_code == 200
        assert client.post("/v2/models/Jane-Doe/infer", json={"inputs": tensors}).status_code == 404
        batch = client.post("/v1/decisions/batch", json={"requests": released.clients[:3]})
        decision_id = batch.json()["answers"][0]["decision_id"]
        assert client.get(f"/v1/decisions/{decision_id}?purpose=complaint+by+Jane").status_code == 200
        assert client.get("/v1/decisions/Jane-Doe?purpose=x").status_code == 404
        assert client.request("PURGE", "/v1/Jane-Doe").status_code == 404
        for probe in ("/livez", "/readyz", "/metrics", "/v2/health/ready", "/v2/models/credit-default/ready"):
            assert client.get(probe).status_code == 200
    counted: dict[str, int] = {}
    for span in collector.spans:
        assert not span.parent_id
        counted[span.name] = counted.get(span.name, 0) + 1
    assert counted == {
        "POST /v2/models/{name}/infer": 3,
        "POST /v2/models/{name}/versions/{version}/infer": 1,
        "POST /v1/decisions/batch": 1,
        "GET /v1/decisions/{decision_id}": 2,
        "HTTP": 1,
    }
    inferred = [span for span in collector.spans if span.attributes.get("aboveboard.model") == "credit-default"]
    assert len(inferred) == 3
    assert collector.one("POST /v1/decisions/batch").attributes["aboveboard.batch_size"] == 3
    assert collector.one("HTTP").attributes["http.request.method"] == "_OTHER"
    codes = {span.attributes.get("error.type") for span in collector.spans}
    assert codes == {None, "not-found"}
    assert not any(b"Jane" in body for body in collector.bodies)


def test_a_grpc_call_continues_its_caller_s_trace(released: Released, home: Home, collector: Collector) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inputs = []
    for name, value in released.clients[0]["features"].items():
        tensor = tritonclient.grpc.InferInput(name, [1], "INT64")
        tensor.set_data_from_numpy(np.array([value], np.int64))
        inputs.append(tensor)
    with running(home, release=released.digests[0], grpc_port=port, traces=True):
        client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
        client.infer("credit-default", inputs, headers={"traceparent": SAMPLED})
        with pytest.raises(InferenceServerException, match="no such model"):
            client.infer("no-such-model", inputs)
        client.close()
    calls = {span.attributes["rpc.response.status_code"]: span for span in collector.spans}
    assert set(calls) == {"OK", "NOT_FOUND"}
    assert calls["OK"].name == "inference.GRPCInferenceService/ModelInfer"
    assert (calls["OK"].trace_id, calls["OK"].parent_id) == (TRACE_ID, SAMPLED.split("-")[2])
    assert calls["OK"].attributes["rpc.system.name"] == "grpc"
    assert calls["OK"].attributes["aboveboard.release"] == released.digests[0]
    assert calls["NOT_FOUND"].attributes["error.type"] == "not-found"


def test_every_worker_sends_its_own_under_the_name_it_was_given(
    released: Released, home: Home, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "loans")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=loans-0,deployment.environment.name=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with running(home, release=released.digests[0], workers=2, traces=True) as server:
        answers = asyncio.run(ask_all(server.port, released.clients[:100], connections=16))
    decisions = [span for span in collector.spans if span.name == DECIDE]
    assert {span.attributes["aboveboard.decision_id"] for span in decisions} == {a["decision_id"] for a in answers}
    assert len({span.resource["service.instance.id"] for span in decisions}) == 2
    for span in decisions:
        assert (span.resource["service.name"], span.resource["k8s.pod.name"]) == ("loans", "loans-0")


def test_nothing_about_a_person_is_in_any_byte_that_is_sent(
    released: Released, home: Home, collector: Collector
) -> None:
    key = "abk_" + "k" * 24
    clients = home.root / "clients.json"
    record = {"name": "loans-backend", "key_sha256": hashlib.sha256(key.encode()).hexdigest(), "roles": ["decide"]}
    clients.write_text(json.dumps({"clients": [record]}))
    clients.chmod(0o600)
    request = unfavourable(released)
    secrets: dict[str, Any] = {
        **request,
        "subject": "Jane-Doe-1234",
        "idempotency_key": "application-of-Jane",
        "features": {**request["features"], "LIMIT_BAL": 918_273, "BILL_AMT1": 564_738},
    }
    with running(home, release=released.digests[0], traces=True, clients=str(clients)) as server:
        answers = []
        for body in (secrets, {**secrets, "subject": 7, "name": "Jane Doe"}):
            for headers in ({}, {"authorization": f"Bearer {key}", "user-agent": "Jane's telephone", "host": "jane"}):
                url = f"{server.url}/v1/decisions"
                answers.append(httpx.post(url, json=body, headers=headers, timeout=30))
        httpx.post(f"{url}?name=Jane", json=secrets, timeout=30)
    assert [answer.status_code for answer in answers] == [401, 200, 401, 422]
    assert sum(span.name == DECIDE for span in collector.spans) >= 4
    sent = b"\n".join(collector.bodies)
    answered = answers[1].json()
    # The check can see something: what should be there, is.
    assert answered["decision_id"].encode() in sent
    words = ["Jane", "jane", "918273", "564738", "564_738", key, "loans-backend", "LIMIT_BAL", "cohort", "sex"]
    words += [reason["text"] for reason in answered["reasons"]] + [reason["code"] for reason in answered["reasons"]]
    words += [str(value) for value in secrets["cohort"].values() if isinstance(value, str)]
    assert not [word for word in words if word.encode() in sent]
    assert answered["score"] not in [value for span in collector.spans for value in span.attributes.values()]


@pytest.mark.parametrize("trouble", ["nobody listens", "it hangs"])
def test_a_collector_that_does_not_answer_harms_no_decision(
    released: Released, home: Home, collector: Collector, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    if trouble == "it hangs":
        collector.paused.set()
    else:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1024")
    process = launch(home, release=released.digests[0], port=0, traces=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answers = asyncio.run(ask_all(Server(process, url).port, released.clients, connections=8))
        assert len({answer["decision_id"] for answer in answers}) == len(released.clients)
        assert httpx.get(f"{url}/readyz", timeout=30).status_code == 200
        if trouble == "it hangs":
            assert collector.asked
        process.terminate()
        _, log = process.communicate(timeout=15)  # the exporter would wait for a minute
        assert process.returncode == 0, log
    finally:
        process.kill()
        process.communicate()
    lines = [json.loads(line) for line in log.splitlines()]
    assert any("the last traces are lost" in line["message"] for line in lines)
    assert len(lines) < 100
    assert collector.spans == []


def test_serve_reads_the_standard_variables(
    released: Released, home: Home, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = [
        sys.executable,
        "-c",
        "from aboveboard.cli import main; main()",
        "serve",
        "credit-default",
        "--port",
        "0",
    ]
    environment = {**os.environ, "ABOVEBOARD_HOME": str(home.root)}

    def refused(**more: str) -> str:
        ran = subprocess.run(
            serve, env={**environment, **more}, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode != 0
        return ran.stderr

    assert "OTEL_TRACES_EXPORTER" in refused(OTEL_TRACES_EXPORTER="zipkin")
    assert "OTEL_" in refused(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="9999")
    with subprocess.Popen(
        [*serve, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
            assert httpx.post(f"{url}/v1/decisions", json=released.clients[0], timeout=30).status_code == 200
            process.terminate()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    assert collector.one(DECIDE).attributes["aboveboard.outcome"]


def test_what_makes_traces_is_optional_and_not_loaded_unless_asked_for() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import aboveboard.serving.server, aboveboard.serving.telemetry\n"
        "from aboveboard.errors import Misuse\n"
        "from aboveboard.serving.options import ServerOptions\n"
        "assert not ServerOptions('credit-default').traces\n"
        "try:\n    ServerOptions('credit-default', traces=True)\n"
        "except Misuse as refused:\n    print(refused.hint)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "pip install 'aboveboard[otel]'"
