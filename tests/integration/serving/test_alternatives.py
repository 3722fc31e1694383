"""What would have led to approval, told with the decision to whoever asks: in the answer, in the log, and again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx

from aboveboard.audit import events
from aboveboard.settings import Home
from tests.integration.serving.process import Released, open_log, running

Document = dict[str, Any]


def declined(released: Released) -> list[Document]:
    """Return requests of people who are not approved, asking for alternatives."""
    model = released.models[0]
    return [
        {**request, "recourse": True}
        for request in released.clients[:400]
        if model.score(model.encoding.encode(request["features"])[None, :])[0] < model.approve_at
    ]


def in_time(client: httpx.Client, request: Document) -> Document:
    """Return the answer to a request; on a busy machine a search may be late, which the answer says, and no more."""
    for attempt in range(40):
        key = {"idempotency_key": f"{request['idempotency_key']}-{attempt}"} if "idempotency_key" in request else {}
        answer: Document = client.post("/v1/decisions", json={**request, **key}).raise_for_status().json()
        if answer["alternatives"]["in_time"]:
            return answer
        assert answer["alternatives"] == {"in_time": False, "recourse": None, "counter_offers": None}
    raise AssertionError("no search was done in time")


def test_who_asks_is_told_and_who_does_not_is_not(released: Released, home: Home) -> None:
    requests = declined(released)
    model = released.models[0]
    with running(home, release=released.digests[0]) as server, server.client() as client:
        ways = 0
        for request in requests[:12]:
            answer = in_time(client, request)
            notice = client.get(f"/v1/decisions/{answer['decision_id']}/notice", params={"locale": request["locale"]})
            assert answer["alternatives"]["recourse"] == notice.json()["recourse"]
            assert answer["alternatives"]["counter_offers"] is None  # the example has no terms to negotiate
            for way in answer["alternatives"]["recourse"]:
                ways += 1
                changed = {**request["features"], **{change["feature"]: change["to"] for change in way["changes"]}}
                assert all(change["from"] == request["features"][change["feature"]] for change in way["changes"])
                score = float(model.score(model.encoding.encode(changed)[None, :])[0])
                assert score == way["score"] >= model.approve_at
        assert ways

        silent = {name: value for name, value in requests[0].items() if name != "recourse"}
        assert "alternatives" not in client.post("/v1/decisions", json=silent).json()
        assert "alternatives" not in client.post("/v1/decisions", json={**silent, "recourse": False}).json()
        wrong = client.post("/v1/decisions", json={**silent, "recourse": "yes"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "request-refused")
        counted = [
            line.split()
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("aboveboard_alternative_searches_total")
        ]
        assert dict(counted)['aboveboard_alternative_searches_total{in_time="true"}'] == "12.0"
        approved = next(c for c in released.clients if c["features"] not in [r["features"] for r in requests])
        told = client.post("/v1/decisions", json={**approved, "recourse": True}).json()
        assert (told["outcome"], "alternatives" in told) == ("approve", False)


def test_what_was_told_is_in_the_log_and_told_again_word_for_word(released: Released, home: Home) -> None:
    keyed = {**declined(released)[0], "idempotency_key": "application", "locale": "de"}
    with running(home, release=released.digests[0], workers=2) as server, server.client() as client:
        answer = in_time(client, keyed)
        assert answer["alternatives"]["recourse"]
    with open_log(home) as log:
        log.take_in()
        (recorded,) = log.history(answer["decision_id"], actor="me", purpose="test")
    decision = recorded.event
    assert isinstance(decision, events.Decision)
    assert isinstance(decision.alternatives, events.ToldAlternatives)
    assert decision.alternatives.recourse is not None
    assert [way.values for way in decision.alternatives.recourse] == [
        {change["feature"]: change["to"] for change in way["changes"]} for way in answer["alternatives"]["recourse"]
    ]
    asked = {**keyed, "idempotency_key": decision.idempotency_key}
    with running(home, release=released.digests[0]) as server, server.client() as client:
        assert client.post("/v1/decisions", json=asked).json() == answer
        path = f"/v1/decisions/{answer['decision_id']}"
        record = client.get(path, params={"purpose": "test"}).json()
        assert record["alternatives"]["recourse"][0]["score"] == answer["alternatives"]["recourse"][0]["score"]
        reused = client.post("/v1/decisions", json={**asked, "recourse": False})
        assert reused.json()["code"] == "idempotency-key-reused"


def test_a_batch_gives_each_search_its_time(released: Released, home: Home) -> None:
    asking = declined(released)[:30]
    requests = [request for pair in zip(asking, released.clients, strict=False) for request in pair]
    with running(home, release=released.digests[0]) as server, server.client() as client:
        in_time(client, asking[0])
        answers = client.post("/v1/decisions/batch", json={"requests": requests}).json()["answers"]
    for number, answer in enumerate(answers):
        assert ("alternatives" in answer) == (number % 2 == 0), answer
    found = [answer["alternatives"]["in_time"] for answer in answers[::2]]
    assert sum(found) > len(found) / 2  # on a quiet machine all of them


def test_a_server_that_is_told_to_stop_answers_those_it_is_searching_for(released: Released, home: Home) -> None:
    requests = declined(released)[:60]
    with running(home, release=released.digests[0]) as server:
        with server.client() as client:
            in_time(client, requests[0])

        def ask(request: Document) -> str | None:
            try:
                with server.client() as client:
                    answer = client.post("/v1/decisions", json=request)
            except (httpx.ConnectError, httpx.ReadError):
                return None  # it listens no longer: refused, or reset before it was accepted
            assert answer.status_code == 200
            assert "alternatives" in answer.json()
            found: str = answer.json()["decision_id"]
            return found

        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(ask, request) for request in requests]
            next(as_completed(asked))  # the others are on their way
            assert server.stop() == 0
            answered = [decision_id for one in asked if (decision_id := one.result()) is not None]
    assert answered
    with open_log(home) as log:
        log.take_in()
        for decision_id in answered:
            (recorded,) = log.history(decision_id, actor="me", purpose="test")
            assert isinstance(recorded.event, events.Decision)
            assert isinstance(recorded.event.alternatives, events.ToldAlternatives)
