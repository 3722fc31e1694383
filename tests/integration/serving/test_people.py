"""The person concerned and the reviewer: notices, contests, human review, batches."""

from __future__ import annotations

from typing import Any

import httpx

from aboveboard.audit import Query
from aboveboard.settings import Home
from tests.integration.serving.process import Released, open_log, running


def decided(client: httpx.Client, released: Released, outcome: str, *, skip: int = 0) -> dict[str, Any]:
    """Return the answer for the first client, after `skip`, that meets this outcome."""
    for request in released.clients[skip:600]:
        answer: dict[str, Any] = client.post("/v1/decisions", json=request).json()
        if answer["outcome"] == outcome:
            return answer
    raise AssertionError(f"nobody met {outcome}")


def test_a_declined_person_gets_a_notice(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server, server.client() as client:
        answer = decided(client, released, "decline")
        path = f"/v1/decisions/{answer['decision_id']}/notice"
        notice = client.get(path, params={"locale": "de"})
        assert notice.headers["content-language"] == "de"
        document = notice.json()
        assert [r["code"] for r in document["principal_reasons"]] == [r["code"] for r in answer["reasons"]]
        assert document["would_have_changed_the_outcome"]
        assert isinstance(document["recourse"], list)  # the example lets the latest payment be changed,
        assert document["counter_offers"] is None  # and has no terms to negotiate
        page = client.get(path, headers={"accept": "text/html"})
        assert page.headers["content-type"].startswith("text/html")
        assert answer["decision_id"] in page.text
        assert client.get(path, params={"locale": "no locale"}).status_code == 422
        approved = decided(client, released, "approve")
        assert client.get(f"/v1/decisions/{approved['decision_id']}/notice").status_code == 409


def test_a_person_decides_what_was_referred_or_contested(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server, server.client() as client:
        referred, declined = decided(client, released, "refer"), decided(client, released, "decline")
        contest = f"/v1/decisions/{declined['decision_id']}/contest"
        assert client.post(contest, json={"statement": "my card 4111 1111 1111 1111"}).json()["code"] == "card-number"
        assert client.post(contest, json={"statement": "the late payment was the bank's mistake"}).status_code == 201
        unknown = "/v1/decisions/dec-" + "0" * 26
        assert client.post(f"{unknown}/contest", json={"statement": "x"}).status_code == 404

        cases = {case["decision_id"]: case for case in client.get("/v1/reviews").json()["cases"]}
        assert cases[referred["decision_id"]]["cause"] == "referred"
        assert cases[declined["decision_id"]]["cause"] == "contested"
        assert cases[declined["decision_id"]]["due"] > cases[declined["decision_id"]]["since"]

        review = f"/v1/decisions/{declined['decision_id']}/review"
        assert client.post(review.replace("/review", "/claim"), json={}).status_code == 200
        assert client.post(review, json={"outcome": "maybe", "comment": "?"}).status_code == 422
        done = client.post(review, json={"outcome": "approve", "comment": "the bank confirmed it"})
        assert done.status_code == 201
        assert done.json()["changed"] is True
        assert client.post(review, json={"outcome": "decline", "comment": "again"}).status_code == 409
        left = {case["decision_id"] for case in client.get("/v1/reviews").json()["cases"]}
        assert declined["decision_id"] not in left
        assert referred["decision_id"] in left
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="review-decided/1"), actor="me", purpose="test")
    assert [entry.decision_id for entry in found] == [declined["decision_id"]]


def test_a_batch_answers_each_request_by_itself(released: Released, home: Home) -> None:
    requests: list[Any] = [*released.clients[:40]]
    requests[7] = {**requests[7], "features": {}}
    requests[9] = {"nonsense": True}
    with running(home, release=released.digests[0]) as server, server.client() as client:
        answers = client.post("/v1/decisions/batch", json={"requests": requests}).json()["answers"]
        assert client.post("/v1/decisions/batch", json={"requests": []}).status_code == 422
        assert client.post("/v1/decisions/batch", json={"requests": [{}] * 1001}).status_code == 422
    model = released.models[0]
    for number, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        if number in (7, 9):
            assert answer["code"] == "request-refused"
            assert answer["status"] == 422
        else:
            row = model.encoding.encode(request["features"])
            assert answer["score"] == model.score(row.reshape(1, -1))[0]
    with open_log(home) as log:
        log.publish()
        assert len(log.find(Query(kind="decision/1"), actor="me", purpose="test")) == 38
