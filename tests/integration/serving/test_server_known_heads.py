"""A request whose head was seen before is answered as it was the first time, however its bytes arrive."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.serving.process import HEAD, Released, Server


def _request(document: dict[str, Any], *, pad: int = 1_600) -> bytes:
    """Return a request whose body has always the same length, and hence the same head."""
    body = json.dumps(document).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % pad + body.ljust(pad)


class _Connection:
    """One connection, read answer by answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._file = self.socket.makefile("rb")

    def answer(self) -> tuple[int, dict[str, Any]]:
        status = int(self._file.readline().split()[1])
        length = 0
        while (line := self._file.readline().lower()) != b"\r\n":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return status, json.loads(self._file.read(length))

    def ask(self, content: bytes) -> tuple[int, dict[str, Any]]:
        self.socket.sendall(content)
        return self.answer()


@pytest.fixture
def connection(server: Server) -> Iterator[_Connection]:
    opened = _Connection(server.port)
    yield opened
    opened.socket.close()


def test_each_answer_is_of_its_own_body(released: Released, connection: _Connection) -> None:
    model = released.models[0]
    for client in released.clients[:200]:
        status, answer = connection.ask(_request(client))
        assert status == 200
        assert answer["score"] == model.score(model.encoding.encode(client["features"])[None, :])[0]


def test_however_the_bytes_arrive(released: Released, connection: _Connection) -> None:
    whole = _request(released.clients[0])
    expected = connection.ask(whole)[1]["score"]
    assert connection.ask(whole)[1]["score"] == expected  # now the head is known
    for cut in (1, 20, whole.index(b"\r\n\r\n") + 4, len(whole) - 1):
        connection.socket.sendall(whole[:cut])
        time.sleep(0.05)
        assert connection.ask(whole[cut:])[1]["score"] == expected
    other = _request(released.clients[1])
    connection.socket.sendall(whole + other + whole)
    first, second, third = (connection.answer()[1]["score"] for _ in range(3))
    assert (first, third) == (expected, expected)
    assert second == connection.ask(other)[1]["score"]
    connection.socket.sendall(whole + other[:100])
    assert connection.answer()[1]["score"] == expected
    assert connection.ask(other[100:])[1]["score"] == second


def test_a_body_with_an_empty_line_is_not_taken_for_a_head(released: Released, connection: _Connection) -> None:
    document = json.dumps({**released.clients[0], "subject": "a"}, indent=1).replace("\n", "\r\n\r\n").encode()
    content = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(document), document)
    assert [connection.ask(content)[0] for _ in range(3)] == [200, 200, 200]


def test_what_is_wrong_stays_wrong(released: Released, connection: _Connection) -> None:
    right = _request(released.clients[0])
    wrong = _request({**released.clients[0], "unknown": 1})
    assert [connection.ask(content)[0] for content in (right, wrong, right, wrong, wrong, right)] == [
        200,
        422,
        200,
        422,
        422,
        200,
    ]
    longer = right.replace(b"Content-Length: 1600", b"Content-Length: 1601")
    connection.socket.sendall(longer)
    assert connection.ask(b" ")[0] == 200
