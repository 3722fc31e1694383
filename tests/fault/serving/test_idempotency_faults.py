"""Killed, stopped and stuck between claim, journal and answer: a key never gets a second decision."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from aboveboard.settings import Home
from tests.fault.serving.test_server_faults import shut_gate
from tests.integration.serving.process import HEAD, Released, Server, running
from tests.integration.serving.test_server_idempotency import afresh, decisions_by_key, keyed
from tests.integration.serving.test_server_workers import replaced, workers_of


@contextmanager
def claims_of(home: Home) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(home.serving / "idempotency.sqlite", isolation_level=None, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def claimed(home: Home) -> str:
    """Wait for a claim that is not settled, and return its owner."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with claims_of(home) as connection:
            row = connection.execute("SELECT owner FROM claim WHERE settled = 0").fetchone()
        if row is not None:
            return str(row[0])
        time.sleep(0.01)
    raise AssertionError("nobody has claimed the key")


def in_background(call: Callable[[], Any]) -> list[Any]:
    """Call in a thread; what comes of it will be in the list."""
    heard: list[Any] = []

    def work() -> None:
        try:
            heard.append(call())
        except httpx.TransportError as error:
            heard.append(error)

    threading.Thread(target=work, daemon=True).start()
    return heard


def one_decision(home: Home, key: str, decision_id: str) -> None:
    assert [event.decision_id for event in decisions_by_key(home)[key]] == [decision_id]


def test_killed_between_claim_and_journal(released: Released, home: Home) -> None:
    request = keyed(released, 7)
    with running(home, release=released.digests[0]) as server:
        assert afresh(server, released.clients[0]).status_code == 200
        gate = shut_gate(home)
        heard = in_background(lambda: afresh(server, request))
        claimed(home)
        server.stop(signal.SIGKILL)
        os.close(gate)
    with running(home, release=released.digests[0], workers=2) as server:
        answers = [afresh(server, request).json() for _ in range(8)]
    assert all(answer == answers[0] for answer in answers)
    assert not heard or isinstance(heard[0], httpx.TransportError)
    one_decision(home, "application-7", answers[0]["decision_id"])


def test_killed_between_journal_and_mark(released: Released, home: Home) -> None:
    request = keyed(released, 7)
    with running(home, release=released.digests[0]) as server:
        assert afresh(server, released.clients[0]).status_code == 200
        gate = shut_gate(home)
        heard = in_background(lambda: afresh(server, request))
        claimed(home)
        with claims_of(home) as connection:
            connection.execute("BEGIN IMMEDIATE")  # what became of the claim cannot be noted
            os.close(gate)
            while not heard:
                time.sleep(0.01)
            server.stop(signal.SIGKILL)
            connection.execute("ROLLBACK")
    assert claimed(home)
    with running(home, release=released.digests[0], workers=2) as server:
        answers = [afresh(server, request) for _ in range(8)]
    assert {answer.content for answer in answers} == {heard[0].content}
    assert heard[0].status_code == 200
    one_decision(home, "application-7", heard[0].json()["decision_id"])


def test_a_stopped_worker_keeps_its_claim_and_a_killed_one_does_not(released: Released, home: Home) -> None:
    """A stopped worker may go on at any moment and write its decision: nobody decides in its place."""
    request = keyed(released, 7)
    with running(home, release=released.digests[0], workers=2, deadline_seconds=1.0) as server:
        assert afresh(server, released.clients[0]).status_code == 200
        gate = shut_gate(home)
        in_background(lambda: afresh(server, request))
        present = str(home.serving / "present" / claimed(home))
        victim = next(pid for pid in workers_of(server) if present in files_of(pid))
        os.kill(victim, signal.SIGSTOP)
        os.close(gate)
        response = by_the_other(server, request)
        assert (response.status_code, response.json()["code"]) == (503, "unconfirmed")
        assert response.headers["retry-after"] == "1"
        os.kill(victim, signal.SIGKILL)
        replaced(server, victim)
        answers = [afresh(server, request).json() for _ in range(8)]
    assert all(answer == answers[0] for answer in answers)
    one_decision(home, "application-7", answers[0]["decision_id"])


def files_of(pid: int) -> set[str]:
    return {str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}


def by_the_other(server: Server, request: dict[str, Any]) -> httpx.Response:
    """Ask until it is not the stopped worker that has the connection."""
    for _ in range(40):
        with suppress(httpx.ReadTimeout):
            return httpx.post(f"{server.url}/v1/decisions", json=request, timeout=2)
    raise AssertionError("the other worker does not answer")


def test_keys_that_cannot_be_claimed_are_refused_and_nothing_is_decided(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server:
        assert afresh(server, keyed(released, 1)).status_code == 200
        with claims_of(home) as connection:
            connection.execute("ALTER TABLE claim RENAME TO away")
        response = afresh(server, keyed(released, 2))
        assert (response.status_code, response.json()["code"]) == (503, "storage-failed")
        assert response.headers["retry-after"] == "1"
        assert "idempotency.sqlite" not in response.text
        assert afresh(server, released.clients[2]).status_code == 200  # without a key, no claim
        with claims_of(home) as connection:
            connection.execute("ALTER TABLE away RENAME TO claim")
        assert afresh(server, keyed(released, 2)).status_code == 200
    assert {key: len(found) for key, found in decisions_by_key(home).items()} == {
        "": 1,
        "application-1": 1,
        "application-2": 1,
    }


@pytest.mark.slow
def test_no_key_gets_a_second_decision_however_often_workers_and_servers_are_killed(
    released: Released, home: Home
) -> None:
    chance = random.Random(41)  # noqa: S311  it must be the same again, not secret
    heard: dict[str, set[bytes]] = {}
    fresh = iter(range(1_000_000))
    for _ in range(2):
        with running(home, release=released.digests[0], workers=2) as server:
            for _ in range(2):
                asyncio.run(hammer(server, released, heard, fresh, chance))
                victim = chance.choice(workers_of(server))
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                asyncio.run(hammer(server, released, heard, fresh, chance, killing=True))
                replaced(server, victim)
            server.stop(signal.SIGKILL)
            time.sleep(1)  # the workers notice, and give up the port's journals
    with running(home, release=released.digests[0], workers=2) as server:
        for key in list(heard):  # also those nobody heard an answer to
            status, content = asyncio.run(ask(server.port, keyed(released, number_of(key), key)))
            assert status == 200, content
            heard[key].add(content)
    logged = decisions_by_key(home)
    assert len(heard) == 160
    for key, answers in heard.items():
        assert len(answers) == 1, key
        one = json.loads(next(iter(answers)))
        assert [event.decision_id for event in logged[key]] == [one["decision_id"]], key


def number_of(key: str) -> int:
    return int(key.rsplit("-", 1)[1]) % 2_000


async def hammer(
    server: Server,
    released: Released,
    heard: dict[str, set[bytes]],
    fresh: Iterator[int],
    chance: random.Random,
    *,
    killing: bool = False,
) -> None:
    """Ask for new keys over several connections each, for a moment, and kill a worker in the midst of it."""
    keys = [f"k-{next(fresh)}" for _ in range(20)]
    for key in keys:
        heard[key] = set()
    ends = time.monotonic() + 0.7

    async def work() -> None:
        while time.monotonic() < ends:
            key = chance.choice(keys)
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                status, content = await asyncio.wait_for(ask(server.port, keyed(released, number_of(key), key)), 5)
                if status == 200:
                    heard[key].add(content)
                else:
                    assert status == 503, content

    async def kill() -> None:
        await asyncio.sleep(chance.uniform(0, 0.4))
        with suppress(ProcessLookupError, IndexError):
            os.kill(chance.choice(workers_of(server)), signal.SIGKILL)

    await asyncio.gather(*(work() for _ in range(12)), *([kill()] if killing else []))


async def ask(port: int, request: dict[str, Any]) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        body = json.dumps(request).encode()
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)
    finally:
        writer.close()
