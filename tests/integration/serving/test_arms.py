"""An A/B test with named arms: who is asked about meets the arm the law says, in answers, counts and the log."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
from prometheus_client.parser import text_string_to_metric_families

from aboveboard.audit import Query
from aboveboard.files import secret_bytes
from aboveboard.ids import subject_token
from aboveboard.serving.tracks import choice
from aboveboard.settings import Home
from tests.integration.serving.process import Released, ask_all, open_log, running

MANY = 200


def placement(home: Home, released: Released, arms: list[tuple[str, str, float]]) -> list[str]:
    """Return the track that each client meets under these arms, by the law alone."""
    key = secret_bytes(home.subject_key)
    chosen = choice([(name, digest) for name, digest, _ in arms], [weight / 100 for _, _, weight in arms])
    names = [*(name for name, _, _ in arms), "champion"]
    return [names[chosen(subject_token(key, client["subject"]))] for client in released.clients[:MANY]]


def test_arms_by_name_from_the_option_to_the_log(released: Released, home: Home) -> None:
    first, second = released.digests
    arms = [("control", first, 30.0), ("more-trees", second, 30.0)]
    with running(home, release=first, arms=arms, workers=2) as server:
        answers = asyncio.run(ask_all(server.port, released.clients[:MANY], connections=4))
        metrics = httpx.get(f"{server.url}/metrics", timeout=30).text
        tracks = httpx.get(f"{server.url}/v1/tracks", timeout=30).json()["tracks"]
    expected = placement(home, released, arms)
    assert [answer["track"] for answer in answers] == expected
    assert {(answer["track"], answer["release"]) for answer in answers} == {
        ("champion", first),
        ("control", first),
        ("more-trees", second),
    }
    assert [(track["track"], track["weight"]) for track in tracks] == [
        ("champion", 40),
        ("control", 30),
        ("more-trees", 30),
    ]
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "aboveboard_decisions_total":
                counted[sample.labels["track"]] += int(sample.value)
    assert counted == Counter(expected)
    with open_log(home) as log:
        log.publish()
        for answer in answers[:10]:
            decision, _ = log.decision(answer["decision_id"], actor="me", purpose="test")
            assert (decision.track, decision.release) == (answer["track"], answer["release"])


def test_arms_change_while_requests_are_answered(released: Released, home: Home) -> None:
    first, second = released.digests
    with running(home, release=first) as server, server.client() as client:

        def put(arms: list[tuple[str, str, float]]) -> list[str]:
            plan = [{"name": name, "release": release, "weight": weight} for name, release, weight in arms]
            change = {"tracks": {"champion": first, "arms": plan}, "reason": "more evidence"}
            assert client.put("/v1/tracks", json=change).status_code == 200
            answers = asyncio.run(ask_all(server.port, released.clients[:MANY], connections=4))
            met = [answer["track"] for answer in answers]
            assert met == placement(home, released, arms)
            return met

        small = put([("control", first, 10), ("more-trees", second, 10)])
        large = put([("control", first, 40), ("more-trees", second, 40)])
        assert {pair for pair in zip(small, large, strict=True) if pair[0] != pair[1]} == {
            ("champion", "control"),
            ("champion", "more-trees"),
        }
        too_much = {"champion": first, "arms": [{"name": "b", "release": second, "weight": 60}] * 2}
        assert client.put("/v1/tracks", json={"tracks": too_much, "reason": "mistake"}).status_code == 400
        unnamed = {"champion": first, "arms": [{"name": "champion", "release": second, "weight": 6}]}
        assert client.put("/v1/tracks", json={"tracks": unnamed, "reason": "mistake"}).status_code == 400
        back = client.post("/v1/tracks/rollback", json={"reason": "no difference"}).json()
        assert [(track["track"], track["weight"]) for track in back["tracks"]] == [
            ("champion", 80),
            ("control", 10),
            ("more-trees", 10),
        ]
    with running(home, release=first) as server, server.client() as client:
        resumed = client.get("/v1/tracks").json()["tracks"]
        assert [track["track"] for track in resumed] == ["champion", "control", "more-trees"]
    with open_log(home) as log:
        log.publish()
        promoted = log.find(Query(kind="release-promoted/1"), actor="me", purpose="test")
    assert len(promoted) == 6
