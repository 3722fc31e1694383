"""What is said about a person stays with who asked: in no cache, no frame, no other page's script, and no log."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.serving.process import Released, Server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as started:
        yield started


@pytest.fixture(scope="module")
def declined(released: Released, client: httpx.Client) -> str:
    for request in released.clients:
        answer = client.post("/v1/decisions", json=request).json()
        if answer["outcome"] == "decline":
            return str(answer["decision_id"])
    raise AssertionError("everybody was approved")


@pytest.mark.parametrize("path", ["decisions/{}?purpose=test", "decisions/{}/notice", "receipts/{}", "reviews"])
def test_no_cache_keeps_what_is_held_about_a_person(client: httpx.Client, declined: str, path: str) -> None:
    answer = client.get(f"/v1/{path.format(declined)}", headers={"origin": "https://evil.example"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_page_to_print_runs_nothing_and_loads_nothing(client: httpx.Client, declined: str) -> None:
    answer = client.get(f"/v1/decisions/{declined}/notice", headers={"accept": "text/html"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json", False),
        ("*/*", False),
        ("application/json, text/html;q=0.1", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=nonsense", False),
    ],
)
def test_the_page_is_for_who_likes_it_best(client: httpx.Client, declined: str, accept: str, html: bool) -> None:
    answer = client.get(f"/v1/decisions/{declined}/notice", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html") is html


@pytest.mark.parametrize("path", ["decisions/{}", "decisions/{}/review", "receipts/{}"])
def test_no_card_number_gets_into_the_log_as_a_purpose(client: httpx.Client, declined: str, path: str) -> None:
    answer = client.get(f"/v1/{path.format(declined)}", params={"purpose": "card 4111 1111 1111 1111"})
    assert (answer.status_code, answer.json()["code"]) == (422, "card-number")
    assert "4111" not in answer.text


def test_nothing_personal_is_in_what_the_server_writes_and_counts(released: Released, server: Server) -> None:
    marked = {**released.clients[0], "subject": "Erika-Mustermann-7301"}
    wrong = json.loads(json.dumps(marked))
    wrong["features"]["LIMIT_BAL"] = 987654321
    with server.client() as asking:
        assert asking.post("/v1/decisions", json=marked).status_code == 200
        refused = asking.post("/v1/decisions", json=wrong)
        counts = asking.get("/metrics").text
    assert refused.status_code == 422
    for text in (refused.text, counts):
        assert "Mustermann" not in text
        assert "987654321" not in text
