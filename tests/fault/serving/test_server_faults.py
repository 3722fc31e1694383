"""A disk that takes no more and a journal that stalls: nobody gets an answer that is not in the log."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
import signal
import threading
import time
from typing import Any

import httpx

from aboveboard.audit import Query
from aboveboard.audit.committer import LONGEST_TURN_SECONDS
from aboveboard.settings import Home
from tests.integration.serving.process import HEAD, Released, open_log, running


def small_files() -> None:
    """Let no file of this process grow beyond 400 kB: writes beyond fail as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


def test_a_full_disk_gives_503_and_never_an_unlogged_answer(released: Released, home: Home) -> None:
    answered: list[str] = []
    refused: list[httpx.Response] = []
    with running(home, before=small_files, release=released.digests[0]) as server, server.client() as client:
        for number in range(1_500):
            request = {**released.clients[number], "subject": f"client-{number}"}
            response = client.post("/v1/decisions", json=request)
            if response.status_code == 200:
                answered.append(response.json()["decision_id"])
            else:
                refused.append(response)
                if len(refused) == 3:
                    break
        assert client.get("/livez").status_code == 200
        server.stop(signal.SIGKILL)
    assert answered
    assert refused
    for response in refused:
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        problem = response.json()
        assert problem["code"] in ("storage-failed", "overloaded")
        assert str(home.root) not in response.text
    with open_log(home) as log:
        log.publish()
        logged = {e.decision_id for e in log.find(Query(kind="decision/1", limit=10_000), actor="me", purpose="test")}
    assert set(answered) <= logged


def shut_gate(home: Home) -> int:
    """Keep every record from being sealed: whoever seals takes this lock, as an erasure does. Return who holds it."""
    gate = os.open(next(home.audit.rglob("vault-gate.lock")), os.O_RDWR)
    fcntl.flock(gate, fcntl.LOCK_EX)
    return gate


def test_overload_is_answered_503_at_once_and_passes(released: Released, home: Home) -> None:
    """The journal's lock is held by somebody else: requests pile up, are turned away, and the server recovers."""
    body = json.dumps(released.clients[0]).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    async def ask(port: int) -> tuple[int, float]:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        took = time.monotonic() - begun
        writer.close()
        assert b"retry-after: 1" in head or head.startswith(b"http/1.1 200")
        return int(head.split()[1]), took

    async def pile(port: int, release: Any) -> list[tuple[int, float]]:
        waiting = [asyncio.create_task(ask(port)) for _ in range(120)]
        await asyncio.sleep(1.5)
        release()
        return await asyncio.gather(*waiting)

    with running(home, release=released.digests[0], largest_backlog=50) as server, server.client() as client:
        assert client.post("/v1/decisions", json=released.clients[0]).status_code == 200
        gate = shut_gate(home)
        timer = threading.Timer(20, lambda: fcntl.flock(gate, fcntl.LOCK_UN))
        timer.start()
        try:
            results = asyncio.run(pile(server.port, lambda: fcntl.flock(gate, fcntl.LOCK_UN)))
        finally:
            timer.cancel()
            os.close(gate)
        statuses = [status for status, _ in results]
        assert statuses.count(200) == 50
        assert statuses.count(503) == 70
        assert max(took for status, took in results if status == 503) < 1.4
        assert client.post("/v1/decisions", json=released.clients[0]).status_code == 200
        assert 'aboveboard_refused_requests_total{code="overloaded"} 70.0' in client.get("/metrics").text


def test_a_late_disk_is_owned_up_to_and_a_key_finds_the_decision(released: Released, home: Home) -> None:
    keyed = {**released.clients[0], "idempotency_key": "application-17"}
    with running(home, release=released.digests[0], deadline_seconds=0.5) as server, server.client() as client:
        assert client.post("/v1/decisions", json=released.clients[1]).status_code == 200
        time.sleep(10 * LONGEST_TURN_SECONDS)  # the vault is held for a little longer than the decision took
        gate = shut_gate(home)
        begun = time.monotonic()
        late = [client.post("/v1/decisions", json=request) for request in (keyed, released.clients[2], keyed)]
        assert time.monotonic() - begun < 5
        for response in late:
            assert (response.status_code, response.json()["code"]) == (503, "unconfirmed")
            assert response.headers["retry-after"] == "1"
        os.close(gate)
        time.sleep(0.3)
        first, second = (client.post("/v1/decisions", json=keyed).json() for _ in range(2))
        assert first == second
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="decision/1"), actor="me", purpose="test")
    # The one before, the keyed one once, and the one that nobody heard of.
    assert len(found) == 3
    assert first["decision_id"] in {entry.decision_id for entry in found}
