"""What a connection may do: how long and how large it may be, half shut, not reading, or not speaking HTTP at all."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aboveboard.settings import Home
from tests.integration.serving.process import HEAD, Released, Server, running

INFER = HEAD.replace(b"/v1/decisions", b"/v2/models/credit-default/infer")
BATCH = HEAD.replace(b"/v1/decisions", b"/v1/decisions/batch")
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def either(
    request: pytest.FixtureRequest, released: Released, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server that answers decisions in the lane, and one that does not."""
    from shutil import copytree

    root = tmp_path_factory.mktemp("either") / "home"
    for name in ("keys", "releases"):
        copytree(released.home.root / name, root / name)
    with running(Home(root), release=released.digests[0], lane=request.param, keep_alive_seconds=1) as started:
        yield started


def post(head: bytes, document: Any) -> bytes:
    body = json.dumps(document).encode()
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.contextmanager
def connected(server: Server, timeout: float = 10) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def problem_in(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head, answer
    assert b"connection: close" in head
    problem: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"FOO /v1/decisions HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"CONNECT bank.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["tls", "method", "two-lengths", "length-and-chunks", "connect"],
)
def test_what_is_no_http_gets_a_problem_document_and_is_counted(either: Server, sent: bytes) -> None:
    def counted() -> float:
        with either.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith(refused))

    refused = 'aboveboard_refused_requests_total{code="not-http"}'
    before = counted()
    with connected(either) as connection:
        connection.sendall(sent)
        assert problem_in(rest_of(connection))["code"] == "not-http"
    assert counted() == before + 1


def test_a_head_is_bounded(released: Released, either: Server) -> None:
    large = b"X-Large: " + b"y" * 40_000 + b"\r\n"
    with connected(either) as connection:
        connection.sendall(post(HEAD + large + b"Connection: close\r\n", released.clients[0]))
        assert rest_of(connection).startswith(b"HTTP/1.1 200 ")
    with connected(either) as connection:
        connection.sendall(post(HEAD + large + large, released.clients[0]))
        assert problem_in(rest_of(connection))["code"] == "head-too-large"


@pytest.mark.parametrize("beginning", [b"GET /", HEAD, HEAD + b"X: "])
def test_a_head_that_does_not_end_is_cut_off(either: Server, beginning: bytes) -> None:
    with connected(either) as connection:
        connection.sendall(beginning)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(400):
                connection.sendall(b"a" * 10_000)
        assert b"HTTP/1.1 4" in rest_of(connection)


@pytest.mark.parametrize(
    "beginning",
    [b"", HEAD[:40], HEAD + b"Content-Length: 100\r\n\r\n{", BATCH + b"Content-Length: 100\r\n\r\n{"],
    ids=["nothing", "head", "body", "routed-body"],
)
def test_a_request_that_does_not_come_to_its_end_is_cut_off(either: Server, beginning: bytes) -> None:
    """Connections are what a server runs out of first when clients are in no hurry (CWE-400)."""
    begun = time.monotonic()
    with connected(either) as connection:
        connection.sendall(beginning)
        answer = rest_of(connection)
        assert time.monotonic() - begun < 8
        assert b" 200 " not in answer


def test_a_trickle_does_not_keep_a_connection(either: Server) -> None:
    begun = time.monotonic()
    with connected(either) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(HEAD + b"X: ")
        while time.monotonic() - begun < 8:
            connection.sendall(b"a")
            time.sleep(0.1)
        pytest.fail("the connection was kept")


@pytest.mark.parametrize("head", [HEAD, BATCH, INFER], ids=["decision", "batch", "infer"])
def test_an_offer_of_another_protocol_is_ignored(released: Released, either: Server, head: bytes) -> None:
    """Java's HttpClient and curl --http2 offer HTTP/2 with the first request (RFC 9110 section 7.8)."""
    client = released.clients[0]
    inputs = [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in client["features"].items()]
    document = {HEAD: client, BATCH: {"requests": [client]}, INFER: {"inputs": inputs}}[head]
    live = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n"
    with connected(either) as connection:
        connection.sendall(post(head + UPGRADE, document) + live + post(head + b"Connection: close\r\n", document))
        answer = rest_of(connection)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200"]
    assert answer.count(b'"score"') == 2


def test_a_client_that_has_said_all_is_answered(released: Released, either: Server) -> None:
    """A half-closed connection can still be written to (RFC 9293 section 3.6)."""
    with connected(either) as connection:
        connection.sendall(post(HEAD, released.clients[0]))
        connection.shutdown(socket.SHUT_WR)
        assert rest_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_read_is_not_read_from(released: Released, server: Server) -> None:
    """Answers that nobody fetches would otherwise pile up in memory."""
    rows = 500
    inputs = [
        {"name": name, "shape": [rows], "datatype": "FP64", "data": [value] * rows}
        for name, value in released.clients[0]["features"].items()
    ]
    request = post(INFER, {"inputs": inputs, "parameters": {"reasons": True}})
    sent = 0
    with connected(server, timeout=2) as connection:
        with contextlib.suppress(TimeoutError):
            for _ in range(1_500):
                connection.sendall(request)
                sent += 1
        assert sent < 1_500
        connection.settimeout(10)
        answers, tail = 0, b""
        while answers < sent:
            chunk = tail + connection.recv(1 << 20)
            assert len(chunk) > len(tail)
            answers += chunk.count(b"HTTP/1.1 200")
            tail = chunk[-11:]


def test_a_slash_too_many_leads_nowhere(either: Server) -> None:
    """A redirect would name whatever host the client did."""
    with either.client(host="evil.example") as client:
        for method, path in (("GET", "/v1/tracks/"), ("POST", "/v1/decisions/"), ("GET", "/v2/")):
            answer = client.request(method, path)
            assert (answer.status_code, "location" in answer.headers) == (404, False)
