"""One key, one decision: over any connection, by any worker, after a restart, and when the person is erased."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from aboveboard.audit import Query, events
from aboveboard.files import secret_bytes
from aboveboard.ids import subject_token
from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, ask_all, open_log, running


def keyed(released: Released, number: int, key: str | None = None) -> dict[str, Any]:
    return {**released.clients[number], "idempotency_key": key or f"application-{number}"}


def afresh(server: Server, request: dict[str, Any]) -> httpx.Response:
    """Ask over a connection of its own, which any worker may get."""
    return httpx.post(f"{server.url}/v1/decisions", json=request, timeout=30)


def decisions_by_key(home: Home) -> dict[str, list[events.Decision]]:
    """Return what the log holds, by idempotency key."""
    found: dict[str, list[events.Decision]] = {}
    with open_log(home) as log:
        log.publish()
        for entry in log.find(Query(kind="decision/1", limit=100_000), actor="me", purpose="test"):
            event = log.read(entry.index, actor="me", purpose="test")
            assert isinstance(event, events.Decision)
            found.setdefault(event.idempotency_key or "", []).append(event)
        assert log.fsck().clean
    return found


def test_every_worker_gives_the_one_decision_and_so_does_the_next_server(released: Released, home: Home) -> None:
    requests = [keyed(released, number % 12) for number in range(480)]
    with running(home, release=released.digests[0], workers=2) as server:
        answers = asyncio.run(ask_all(server.port, requests, connections=24))
        writers = {answer["receipt"]["writer"] for answer in answers}
        text = httpx.get(f"{server.url}/metrics").text
    assert writers == {"server", "server-2"}  # both decide
    assert "aboveboard_replayed_requests_total 468.0" in text
    for number, answer in enumerate(answers):
        assert answer == answers[number % 12]
    with running(home, release=released.digests[0]) as server:
        again = asyncio.run(ask_all(server.port, requests[:12], connections=3))
        other = afresh(server, {**requests[0], "subject": "somebody-else"})
    assert again == answers[:12]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    logged = decisions_by_key(home)
    assert {key: [event.decision_id for event in found] for key, found in logged.items()} == {
        request["idempotency_key"]: [answer["decision_id"]]
        for request, answer in zip(requests[:12], answers, strict=False)
    }


def test_an_answer_keeps_its_words_when_another_release_is_in_service(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server:
        before = [afresh(server, keyed(released, number)).content for number in range(12)]
    with running(home, release=released.digests[1]) as server:
        after = [afresh(server, keyed(released, number)).content for number in range(12)]
        assert afresh(server, released.clients[0]).json()["release"] == released.digests[1]
    assert after == before
    assert {json.loads(content)["outcome"] for content in before} >= {"approve", "decline"}


def test_an_erased_person_is_not_told_of_and_not_decided_again(released: Released, home: Home) -> None:
    request = keyed(released, 3)
    with running(home, release=released.digests[0]) as server:
        answer = afresh(server, request).json()
    with open_log(home) as log:
        token = subject_token(secret_bytes(home.subject_key), request["subject"])
        erasure = log.erase(token, actor="dpo", reason="request", override="court order 7")
        assert erasure.keys_destroyed
    for path in home.serving.rglob("*"):
        assert not path.is_file() or request["idempotency_key"].encode() not in path.read_bytes()
    with running(home, release=released.digests[0]) as server:
        for _ in range(2):
            response = afresh(server, request)
            assert (response.status_code, response.json()["code"]) == (410, "erased")
            assert answer["decision_id"] not in response.text
    with open_log(home) as log:
        log.publish()
        assert log.find(Query(kind="decision/1"), actor="me", purpose="test") == []


def test_a_request_that_is_refused_leaves_its_key_to_the_mended_one(released: Released, home: Home) -> None:
    request = keyed(released, 5)
    wrong = {**request, "features": {**request["features"], "PAY_0": "late"}}
    with running(home, release=released.digests[0], workers=2) as server:
        for _ in range(10):  # by one worker or the other
            assert afresh(server, wrong).status_code == 422
            assert afresh(server, wrong).json()["code"] == "request-refused"
        assert afresh(server, request).status_code == 200
        assert afresh(server, wrong).json()["code"] == "idempotency-key-reused"


def test_batches_and_asgi_keep_the_law_too(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], workers=2, lane=False) as server:
        one = afresh(server, keyed(released, 1)).json()
        for _ in range(4):
            batch = {"requests": [keyed(released, 1), keyed(released, 2), keyed(released, 1)]}
            answers = httpx.post(f"{server.url}/v1/decisions/batch", json=batch, timeout=30).json()["answers"]
            assert answers[0] == answers[2] == one
        assert afresh(server, keyed(released, 2)).json() == answers[1]
    assert {key: len(found) for key, found in decisions_by_key(home).items()} == {
        "application-1": 1,
        "application-2": 1,
    }
