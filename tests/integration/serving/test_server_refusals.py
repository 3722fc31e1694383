"""What is not decided: each gets a problem document with a stable code, never a decision, never a stack trace."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from aboveboard.settings import Home
from tests.integration.serving.process import HEAD, Released, Server, running

JSON = {"content-type": "application/json"}


def body(released: Released, **changes: Any) -> bytes:
    return json.dumps({**released.clients[0], **changes}).encode()


def features(released: Released, **changes: Any) -> bytes:
    return body(released, features={**released.clients[0]["features"], **changes})


BAD: dict[str, tuple[Callable[[Released], bytes], dict[str, str], int, str]] = {
    "empty": (lambda r: b"", JSON, 400, "not-json"),
    "not json": (lambda r: b"subject=1", JSON, 400, "not-json"),
    "NaN": (lambda r: features(r, PAY_0=float("nan")), JSON, 400, "not-json"),
    "infinity": (lambda r: features(r, PAY_0=float("inf")), JSON, 400, "not-json"),
    "too large a number": (
        lambda r: features(r, PAY_0=7).replace(b'"PAY_0": 7', b'"PAY_0": 1e999'),
        JSON,
        422,
        "request-refused",
    ),
    "invalid UTF-8": (lambda r: b'{"subject":"\xff","features":{}}', JSON, 400, "invalid-utf8"),
    "duplicate key": (lambda r: b'{"subject":"a","subject":"b","features":{}}', JSON, 400, "duplicate-key"),
    "deep": (lambda r: b'{"subject":"a","features":{},"cohort":' + b'{"a":' * 50_000, JSON, 400, "too-deep"),
    "deep elsewhere": (lambda r: b'{"features":' + b"[" * 50_000, JSON, 422, "request-refused"),
    "too large": (lambda r: b" " * (1 << 20) + body(r), JSON, 413, "too-large"),
    "no content type": (body, {}, 415, "unsupported-media-type"),
    "wrong content type": (body, {"content-type": "text/plain"}, 415, "unsupported-media-type"),
    "wrong charset": (body, {"content-type": "application/json; charset=latin-1"}, 415, "unsupported-media-type"),
    "unknown field": (lambda r: body(r, admin=True), JSON, 422, "request-refused"),
    "missing subject": (lambda r: b'{"features":{}}', JSON, 422, "request-refused"),
    "unknown feature": (lambda r: features(r, SHOE_SIZE=43), JSON, 422, "request-refused"),
    "missing feature": (lambda r: body(r, features={"PAY_0": 0}), JSON, 422, "request-refused"),
    "protected attribute as a feature": (lambda r: features(r, SEX=2), JSON, 422, "request-refused"),
    "text for a number": (lambda r: features(r, PAY_0="0"), JSON, 422, "request-refused"),
    "a truth value for a number": (lambda r: features(r, PAY_0=True), JSON, 422, "request-refused"),
    "null for a value": (lambda r: features(r, PAY_0=None), JSON, 422, "request-refused"),
    "a fraction of a whole number": (lambda r: features(r, PAY_0=0.5), JSON, 422, "request-refused"),
    "out of range": (lambda r: features(r, PAY_0=99), JSON, 422, "request-refused"),
    "an integer without end": (lambda r: features(r, PAY_0=10**400), JSON, 422, "request-refused"),
    "a list for a value": (lambda r: features(r, PAY_0=[0]), JSON, 422, "request-refused"),
    "unknown cohort": (lambda r: body(r, cohort={"height": 180}), JSON, 422, "request-refused"),
    "unknown jurisdiction": (lambda r: body(r, jurisdiction="sg"), JSON, 422, "request-refused"),
    "card number": (lambda r: body(r, subject="4111 1111 1111 1111"), JSON, 422, "card-number"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(released: Released, server: Server, name: str) -> None:
    make, headers, status, code = BAD[name]
    with server.client() as client:
        response = client.post("/v1/decisions", content=make(released), headers=headers)
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"/problems/{code}"
    assert problem["detail"]
    assert "Traceback" not in response.text
    assert "decision_id" not in problem


def test_everything_wrong_is_said_at_once(released: Released, server: Server) -> None:
    sent = features(released, PAY_0=99, PAY_2="x", SHOE_SIZE=43)
    with server.client() as client:
        problem = client.post("/v1/decisions", content=sent, headers=JSON).json()
    assert {error["pointer"] for error in problem["errors"]} == {
        "#/features/PAY_0",
        "#/features/PAY_2",
        "#/features/SHOE_SIZE",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/decisions", 405, "method-not-allowed"),
        ("DELETE", "/v1/decisions", 405, "method-not-allowed"),
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/v1/decisions/dec-unknown?purpose=test", 404, "not-found"),
        ("GET", "/v1/receipts/dec-unknown", 404, "not-found"),
        ("GET", "/problems/no-such", 404, "not-found"),
    ],
)
def test_other_paths_and_methods(server: Server, method: str, path: str, status: int, code: str) -> None:
    with server.client() as client:
        response = client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_every_code_explains_itself(server: Server) -> None:
    codes = {code for _, _, _, code in BAD.values()}
    with server.client() as client:
        for code in codes:
            explained = client.get(f"/problems/{code}").json()
            assert explained["code"] == code
            assert explained["detail"]


def exchange(server: Server, sent: bytes) -> bytes:
    """Send bytes as they are, and return what comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(sent)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
        return received


def test_a_declared_length_beyond_the_limit_is_refused_unread(server: Server) -> None:
    answer = exchange(server, HEAD + b"Content-Length: 104857600\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


def test_a_body_that_does_not_end_is_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(40):
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_requests_in_one_go_are_answered_in_order(released: Released, server: Server) -> None:
    """HTTP pipelining (RFC 9112 section 9.3.2), the decision path and the others mixed."""
    sent = b""
    for number in range(5):
        content = json.dumps(released.clients[number]).encode()
        sent += HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
        sent += b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        sent += HEAD + b"Content-Length: 2\r\n\r\n{}"
    sent += b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 422] * 5 + [200]
    scores = [json.loads(p.split(b"\r\n\r\n")[1])["score"] for p in received.split(b"HTTP/1.1 ")[1:-1:3]]
    model = released.models[0]
    for number, score in enumerate(scores):
        row = model.encoding.encode(released.clients[number]["features"])
        assert score == model.score(row.reshape(1, -1))[0]


@pytest.mark.parametrize("cut", [1, 10, 60, 200, 500])
def test_a_request_in_pieces_is_a_request(released: Released, server: Server, cut: int) -> None:
    content = json.dumps(released.clients[0]).encode()
    whole = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), cut if cut > 1 else 97):
            connection.sendall(whole[start : start + (cut if cut > 1 else 97)])
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


def test_http_1_0_and_expect_continue(released: Released, server: Server) -> None:
    content = json.dumps(released.clients[0]).encode()
    old = HEAD.replace(b"1.1", b"1.0", 1) + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    assert b" 200 OK\r\n" in exchange(server, old)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(content))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(content)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("lane", [True, False])
def test_a_quiet_connection_is_closed_and_a_busy_one_is_not(released: Released, home: Home, lane: bool) -> None:
    content = json.dumps(released.clients[0]).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    with running(home, release=released.digests[0], keep_alive_seconds=1, lane=lane) as server:
        begun = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
            connection.makefile("rb") as answers,
        ):
            while time.monotonic() - begun < 2.5:
                connection.sendall(request)
                assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                headers = dict(line.lower().split(b": ") for line in iter(answers.readline, b"\r\n"))
                assert json.loads(answers.read(int(headers[b"content-length"])))["outcome"]
                time.sleep(0.3)
            quiet = time.monotonic()
            assert answers.read(1) == b""
            assert 0.5 < time.monotonic() - quiet < 4


def test_no_http_at_all(server: Server) -> None:
    assert exchange(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").startswith(b"HTTP/1.1 400 ")


def test_the_server_lives_on(server: Server) -> None:
    with server.client() as client:
        assert client.get("/readyz").json()["status"] == "ready"
        text = client.get("/metrics").text
    assert 'aboveboard_refused_requests_total{code="not-json"}' in text
    assert 'code="internal"' not in text
