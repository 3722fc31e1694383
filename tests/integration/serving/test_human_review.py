"""Human review and outcomes at a server of two workers: one queue, one word, whichever worker is asked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from aboveboard.audit import Query
from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, open_log, running
from tests.integration.serving.test_people import decided

ROLES = {
    "origination": ["decide"],
    "ada": ["review"],
    "bob": ["review"],
    "eve": ["review", "decide"],
    "complaints": ["read"],
}


class Staff:
    """Clients with names; every request goes over a new connection, and so to any of the workers."""

    def __init__(self, home: Path) -> None:
        self.keys = {name: "abk_" + secrets.token_urlsafe(24) for name in ROLES}
        clients = [
            {"name": name, "key_sha256": sha256(key.encode()).hexdigest(), "roles": ROLES[name]}
            for name, key in self.keys.items()
        ]
        self.path = home / "clients.json"
        self.path.write_text(json.dumps({"clients": clients}))
        self.path.chmod(0o600)
        self.server: Server

    def ask(self, name: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[name]}"}
        return httpx.request(method, f"{self.server.url}/v1{path}", headers=headers, timeout=30, **options)

    def decided(self, released: Released, outcome: str) -> str:
        headers = {"authorization": f"Bearer {self.keys['origination']}"}
        with httpx.Client(base_url=self.server.url, headers=headers, timeout=30) as client:
            found: str = decided(client, released, outcome)["decision_id"]
        return found

    def queue(self, name: str = "ada", **query: Any) -> dict[str, Any]:
        cases = self.ask(name, "GET", "/reviews", params=query).json()["cases"]
        return {case["decision_id"]: case for case in cases}


@pytest.fixture
def staff(home: Home) -> Staff:
    return Staff(home.root)


def gauge(server: Server) -> dict[str, float]:
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    assert text.count("# TYPE aboveboard_review_cases gauge") == 1
    lines = [line for line in text.splitlines() if line.startswith("aboveboard_review_cases{")]
    return {line.split("{")[1].split("}")[0]: float(line.split()[-1]) for line in lines}


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(40):
        if condition():
            return
    raise AssertionError("it did not come true")


def test_four_eyes_from_the_contest_to_the_notice(released: Released, home: Home, staff: Staff) -> None:
    with running(home, release=released.digests[1], workers=2, clients=str(staff.path)) as staff.server:
        case = staff.decided(released, "decline")
        here = f"/decisions/{case}"
        review, confirmation = f"{here}/review", f"{here}/confirmation"
        contest = {"json": {"statement": "the late payment was the bank's mistake"}}
        assert staff.ask("eve", "POST", f"{here}/contest", **contest).status_code == 201

        found = staff.queue()[case]
        assert (found["cause"], found["state"], found["overdue"]) == ("contested", "waiting", False)
        due = datetime.fromisoformat(found["due"]) - datetime.fromisoformat(found["since"])
        assert due == timedelta(days=10)

        assert staff.ask("ada", "POST", f"{here}/claim").json()["claimed_by"] == "ada"
        assert staff.ask("bob", "POST", f"{here}/claim").status_code == 409
        assert staff.ask("ada", "DELETE", f"{here}/claim").status_code == 200
        assert staff.ask("ada", "DELETE", f"{here}/claim").status_code == 409

        override = {"json": {"outcome": "approve", "comment": "the bank confirmed it"}}
        refused = staff.ask("eve", "POST", review, **override)
        assert (refused.status_code, refused.json()["code"]) == (403, "not-authorised")
        proposed = staff.ask("ada", "POST", review, **override)
        assert (proposed.status_code, proposed.json()["outcome"]) == (202, "decline")
        assert staff.queue(state="proposed")[case]["proposed_by"] == "ada"
        agreed = {"json": {"confirmed": True, "comment": "I have seen the letter"}}
        alone = staff.ask("ada", "POST", confirmation, **agreed)
        assert alone.status_code == 403
        assert "four eyes" in alone.json()["detail"]
        done = staff.ask("bob", "POST", confirmation, **agreed)
        assert (done.status_code, done.json()["outcome"], done.json()["changed"]) == (201, "approve", True)
        assert case not in staff.queue()

        assert staff.ask("complaints", "GET", review).status_code == 422  # for what purpose?
        assert staff.ask("origination", "GET", review, params={"purpose": "x"}).status_code == 403
        told = staff.ask("complaints", "GET", review, params={"purpose": "complaint 17"}).json()
        assert (told["outcome"], told["decided_by"], told["open"]) == ("approve", "person", None)
        assert [(step["step"], step.get("actor")) for step in told["steps"]] == [
            ("decided", None),
            ("contested", "eve"),
            ("claimed", "ada"),
            ("released", "ada"),
            ("proposed", "ada"),
            ("reviewed", "bob"),
        ]
        notice = staff.ask("complaints", "GET", f"{here}/notice", params={"locale": "de"}).json()
        assert (notice["outcome"], notice["decided_since"]["outcome"]) == ("decline", "approve")
        headers = {"authorization": f"Bearer {staff.keys['complaints']}", "accept": "text/html"}
        page = httpx.get(f"{staff.server.url}/v1{here}/notice", headers=headers, timeout=30).text
        assert "A person has decided since" in page
        assert "ada" not in page


def test_of_reviewers_at_two_workers_one_gets_the_case_and_keeps_it_over_a_restart(
    released: Released, home: Home, staff: Staff
) -> None:
    with running(home, release=released.digests[0], workers=2, clients=str(staff.path)) as staff.server:
        case = staff.decided(released, "refer")
        assert staff.queue()[case]["cause"] == "referred"
        with ThreadPoolExecutor(12) as pool:
            names = ["ada", "bob", "eve"] * 4
            asked = list(pool.map(lambda name: staff.ask(name, "POST", f"/decisions/{case}/claim"), names))
        winners = {name for name, answer in zip(names, asked, strict=True) if answer.status_code == 200}
        assert len(winners) == 1
        assert {answer.status_code for answer in asked} == {200, 409}
    (winner,) = winners
    with running(home, release=released.digests[0], workers=2, clients=str(staff.path)) as staff.server:
        assert staff.queue(state="claimed")[case]["claimed_by"] == winner
        other = next(name for name in ("ada", "bob") if name != winner)
        assert staff.ask(other, "POST", f"/decisions/{case}/claim").status_code == 409
        eventually(lambda: gauge(staff.server)['model="credit-default",overdue="false",state="claimed"'] == 1)
        held = gauge(staff.server)
        assert set(held.values()) >= {0.0, 1.0}
        assert len(held) == 6


def test_the_release_that_decided_sets_the_terms_also_when_another_is_in_service(
    released: Released, home: Home, staff: Staff
) -> None:
    with running(home, release=released.digests[1], clients=str(staff.path)) as staff.server:
        case = staff.decided(released, "refer")
    with running(home, release=released.digests[0], clients=str(staff.path)) as staff.server:
        found = staff.queue()[case]
        assert found["release"] == released.digests[1]
        due = datetime.fromisoformat(found["due"]) - datetime.fromisoformat(found["since"])
        assert due == timedelta(days=10)
        override = {"json": {"outcome": "approve", "comment": "income confirmed"}}
        assert staff.ask("ada", "POST", f"/decisions/{case}/review", **override).status_code == 202


def test_an_outcome_is_recorded_once_whichever_worker_hears_it(released: Released, home: Home, staff: Staff) -> None:
    today = datetime.now(UTC).date()
    with running(home, release=released.digests[0], workers=2, clients=str(staff.path)) as staff.server:
        case = staff.decided(released, "approve")

        def report(label: str, day: object = today, decision_id: str = case) -> httpx.Response:
            told = {"decision_id": decision_id, "label": label, "observed": str(day)}
            return staff.ask("origination", "POST", "/outcomes", json=told)

        first = report("repaid")
        assert first.status_code == 201
        again = [report("repaid") for _ in range(8)]
        assert {(answer.status_code, answer.text) for answer in again} == {(200, first.text)}
        other = report("defaulted")  # contradicts the first, and stands beside it
        assert other.status_code == 201
        assert report("repaid", today + timedelta(days=2)).status_code == 422
        assert report("repaid", today - timedelta(days=2)).json()["code"] == "request-refused"
        unknown = report("repaid", decision_id="dec-" + "0" * 26)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
        text = httpx.get(f"{staff.server.url}/metrics", timeout=30).text
        assert 'aboveboard_reported_outcomes_total{kind="repaid"} 1.0' in text
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="outcome-recorded/1"), actor="me", purpose="test")
        assert len(found) == 2
        ordinals = {first.json()["receipt"]["ordinal"], other.json()["receipt"]["ordinal"]}
        history = log.history(case, actor="me", purpose="test")
        assert {item.receipt.ordinal for item in history[1:]} <= ordinals


def test_a_batch_of_outcomes_is_answered_one_by_one_and_recorded_once(
    released: Released, home: Home, staff: Staff
) -> None:
    today = str(datetime.now(UTC).date())
    with running(home, release=released.digests[0], workers=2, clients=str(staff.path)) as staff.server:
        decisions = {"json": {"requests": released.clients[:300]}}
        answers = staff.ask("origination", "POST", "/decisions/batch", **decisions).json()["answers"]
        told: list[Any] = [
            {"decision_id": answer["decision_id"], "label": "repaid", "observed": today} for answer in answers
        ]
        told[7] = {**told[7], "observed": "2000-01-01"}
        told[8] = {**told[8], "decision_id": "dec-" + "0" * 26}
        told[9] = told[6]
        told[10] = "nonsense"
        batch = {"json": {"outcomes": told}}
        assert staff.ask("ada", "POST", "/outcomes/batch", **batch).status_code == 403
        with ThreadPoolExecutor(4) as pool:  # at both workers, at once
            heard = list(pool.map(lambda _: staff.ask("origination", "POST", "/outcomes/batch", **batch), range(4)))
        results = [answer.json()["answers"] for answer in heard]
        for place in zip(*results, strict=True):
            statuses = sorted(answer["status"] for answer in place)
            if (number := results[0].index(place[0])) in (7, 8, 10):
                assert {answer["code"] for answer in place} == {"not-found" if number == 8 else "request-refused"}
            else:
                assert statuses in ([200, 200, 200, 201], [200] * 4)
                assert len({json.dumps(answer["receipt"]) for answer in place}) == 1
        alone = staff.ask("origination", "POST", "/outcomes", json=told[0])
        assert (alone.status_code, alone.json()["receipt"]) == (200, results[0][0]["receipt"])
        text = httpx.get(f"{staff.server.url}/metrics", timeout=30).text
        assert 'aboveboard_reported_outcomes_total{kind="repaid"} 296.0' in text
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="outcome-recorded/1", limit=1000), actor="me", purpose="test")
        assert len(found) == len({entry.decision_id for entry in found}) == 296
