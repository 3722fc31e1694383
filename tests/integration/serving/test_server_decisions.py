from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from aboveboard.audit import Query, events
from aboveboard.audit.verifier import VerificationFailed, verify_receipt
from aboveboard.clock import system_clock
from aboveboard.files import secret_bytes
from aboveboard.ids import subject_token
from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, ask_all, open_log, running


def expected(released: Released, number: int, release: int = 0) -> tuple[str, float, list[str]]:
    """What the model itself says about a client, computed here and not by the server."""
    model, request = released.models[release], released.clients[number]
    row = model.encoding.encode(request["features"])
    score = float(model.score(row.reshape(1, -1))[0])
    outcome = "approve" if score >= model.approve_at else "refer" if score >= model.refer_at else "decline"
    texts = [] if outcome == "approve" else [reason.text for reason in model.reasons(row, request["locale"])]
    return outcome, score, texts


def test_answers_with_outcome_score_reasons_and_receipt(released: Released, server: Server) -> None:
    outcomes = set()
    with server.client() as client:
        for number in range(60):
            response = client.post("/v1/decisions", json=released.clients[number])
            assert response.status_code == 200
            answer = response.json()
            outcome, score, texts = expected(released, number)
            assert (answer["outcome"], answer["score"]) == (outcome, score)
            assert [reason["text"] for reason in answer["reasons"]] == texts
            assert (answer["model"], answer["release"]) == ("credit-default", released.digests[0])
            assert answer["track"] == "champion"
            assert set(answer["receipt"]) >= {"writer", "batch", "ordinal", "commitment"}
            outcomes.add(outcome)
    assert outcomes >= {"approve", "decline"}


def test_a_receipt_verifies_without_the_server(released: Released, server: Server) -> None:
    with server.client() as client:
        answer = client.post("/v1/decisions", json=released.clients[0]).json()
        receipt = client.get(f"/v1/receipts/{answer['decision_id']}").json()
        assert client.get("/v1/receipts/dec-00000000000000000000000000").status_code == 404
    home = Home(Path(server.process.args[-2]))  # type: ignore[index, arg-type]
    with open_log(home) as log:
        vkey = log.vkey
    verify_receipt(receipt, [vkey])
    assert receipt["record"]["decision_id"] == answer["decision_id"]
    receipt["record"]["outcome"] = "approve" if answer["outcome"] != "approve" else "decline"
    with pytest.raises(VerificationFailed):
        verify_receipt(receipt, [vkey])


def test_reading_a_decision_needs_a_purpose_and_is_logged(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server, server.client() as client:
        answer = client.post("/v1/decisions", json=released.clients[3]).json()
        path = f"/v1/decisions/{answer['decision_id']}"
        assert client.get(path).status_code == 422
        record = client.get(path, params={"purpose": "complaint 17"}).json()
    assert record["features"] == released.clients[3]["features"]
    assert record["subject"].startswith("sub-")
    assert record["cohort"].keys() == {"sex", "age", "marriage", "education"}
    with open_log(home) as log:
        log.publish()
        entries = log.find(Query(kind="personal-data-accessed/1"), actor="me", purpose="test")
        accessed = [log.read(entry.index, actor="me", purpose="test") for entry in entries]
    assert any(isinstance(e, events.PersonalDataAccessed) and e.purpose == "complaint 17" for e in accessed)


def test_the_subject_is_stored_as_a_token_only(released: Released, home: Home) -> None:
    request = {**released.clients[5], "subject": "Jane-Q-Public-1970"}
    with running(home, release=released.digests[0]) as server, server.client() as client:
        answer = client.post("/v1/decisions", json=request).json()
        client.get("/metrics")
    for path in home.root.rglob("*"):
        if path.is_file():
            assert b"Jane-Q-Public" not in path.read_bytes(), path
    with open_log(home) as log:
        log.publish()
        token = subject_token(secret_bytes(home.subject_key), "Jane-Q-Public-1970")
        found = log.find(Query(subject=token), actor="me", purpose="test")
    assert [entry.decision_id for entry in found] == [answer["decision_id"]]


def test_no_answer_belongs_to_another_request(released: Released, server: Server) -> None:
    """Adaptive batching in another server gave one caller everybody's predictions; here each gets its own."""

    answers = asyncio.run(ask_all(server.port, released.clients, connections=100))
    assert len(answers) == 2_000
    rows = np.stack([released.models[0].encoding.encode(request["features"]) for request in released.clients])
    scores = released.models[0].score(rows)
    np.testing.assert_array_equal([answer["score"] for answer in answers], scores)
    assert len({answer["decision_id"] for answer in answers}) == 2_000
    for number in range(0, 2_000, 50):
        outcome, _, texts = expected(released, number)
        assert answers[number]["outcome"] == outcome
        assert [reason["text"] for reason in answers[number]["reasons"]] == texts


def test_outcomes_are_joined_to_their_decision(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server, server.client() as client:
        answer = client.post("/v1/decisions", json=released.clients[7]).json()
        today = f"{system_clock():%Y-%m-%d}"
        report = {"decision_id": answer["decision_id"], "label": "repaid", "observed": today}
        response = client.post("/v1/outcomes", json=report)
        assert response.status_code == 201
        assert response.json()["label"] == "repaid"
        unknown = {**report, "decision_id": "dec-" + "0" * 26}
        assert client.post("/v1/outcomes", json=unknown).status_code == 404
        wrong: Any
        for wrong in ({**report, "observed": "2026-13-01"}, {**report, "label": "Re Paid"}, {**report, "x": 1}, []):
            assert client.post("/v1/outcomes", json=wrong).status_code == 422
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="outcome-recorded/1"), actor="me", purpose="test")
    assert [entry.decision_id for entry in found] == [answer["decision_id"]]


def test_the_same_key_gives_one_decision(released: Released, home: Home) -> None:
    keyed = {**released.clients[9], "idempotency_key": "application-17"}

    async def ask(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            return await asyncio.gather(*(client.post("/v1/decisions", json=keyed) for _ in range(20)))

    with running(home, release=released.digests[0]) as server, server.client() as client:
        answers = [response.json() for response in asyncio.run(ask(server.url))]
        again = client.post("/v1/decisions", json=keyed).json()
        other = client.post("/v1/decisions", json={**keyed, "subject": "somebody-else"})
        text = client.get("/metrics").text
    assert all(answer == again for answer in answers)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency-key-reused"
    assert "aboveboard_replayed_requests_total 20.0" in text
    with open_log(home) as log:
        log.publish()
        assert len(log.find(Query(kind="decision/1"), actor="me", purpose="test")) == 1
