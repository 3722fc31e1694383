"""Outcomes from a topic, over a real log: joined once, refused with a code, nothing taken that is not durable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from aboveboard.audit import AuditLog, Query, events
from aboveboard.errors import StorageFailed
from aboveboard.streaming.cloudevent import Message
from aboveboard.streaming.collector import LARGEST_REJECTED, Collector, Received
from aboveboard.streaming.meters import CollectorMeters
from tests.audit_cases import ManualClock, decision, open_log

IDS = [f"dec-{number:026d}" for number in range(4)]


class Scene:
    def __init__(self, root: Path) -> None:
        self.log: AuditLog = open_log(root)
        self.log.append_all([decision(decision_id=made, subject=f"sub-{made}") for made in IDS])
        self.registry = CollectorRegistry()
        self.rejected: list[Message] = []
        self.away = False
        meters = CollectorMeters(self.registry)
        self.collector = Collector(self.log, self.reject, actor="collector", clock=ManualClock(), meters=meters)

    def reject(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise StorageFailed("the brokers are away")
        self.rejected += messages

    def take(self, *values: bytes | None) -> None:
        self.collector.take([Received("t", 1, offset, b"key", value) for offset, value in enumerate(values)])

    def recorded(self) -> list[events.OutcomeRecorded]:
        self.log.take_in()
        found = self.log.find(Query(kind="outcome-recorded/1"), actor="me", purpose="test")
        told = [self.log.read(entry.index, actor="me", purpose="test") for entry in reversed(found)]
        return [event for event in told if isinstance(event, events.OutcomeRecorded)]

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.log.close()


def outcome(decision_id: str = IDS[0], label: str = "repaid", **more: Any) -> bytes:
    return json.dumps({"decision_id": decision_id, "label": label, "observed": "2026-11-20", **more}).encode()


def test_outcomes_are_joined_to_their_decisions(scene: Scene) -> None:
    scene.take(outcome(IDS[0]), outcome(IDS[1], "defaulted"))
    first, second = scene.recorded()
    assert (first.decision_id, first.label, first.subject) == (IDS[0], "repaid", f"sub-{IDS[0]}")
    assert (second.label, second.observed, second.retention) == ("defaulted", "2026-11-20", "P25M")
    assert scene.rejected == []


def test_what_comes_again_is_recorded_once(scene: Scene) -> None:
    scene.take(outcome(), outcome(), outcome(IDS[1]))
    scene.take(outcome(), outcome(label="charged-back"))
    assert [(event.decision_id, event.label) for event in scene.recorded()] == [
        (IDS[0], "repaid"),
        (IDS[1], "repaid"),
        (IDS[0], "charged-back"),
    ]
    assert scene.count("aboveboard_collector_outcomes_total", result="known") == 2
    assert scene.count("aboveboard_collector_outcomes_total", result="recorded") == 3


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "request-refused"),
        (b"", "not-json"),
        (b"\xff\xfe", "not-json"),
        (b"[" * 100_000, "request-refused"),
        (b" " * (1 << 20) + b"{}", "too-large"),
        (outcome(label="No Label"), "request-refused"),
        (outcome(observed="2026-02-30"), "request-refused"),
        (outcome(observed="2019-11-20"), "request-refused"),
        (outcome(observed="2099-11-20"), "request-refused"),
        (outcome(subject="Jane"), "request-refused"),
        (outcome("dec-17"), "request-refused"),
        (outcome("dec-" + "z" * 26), "not-found"),
    ],
)
def test_what_is_no_outcome_goes_elsewhere_with_its_code(scene: Scene, value: bytes | None, code: str) -> None:
    scene.take(outcome(), value, outcome(IDS[1]))
    assert len(scene.recorded()) == 2
    (message,) = scene.rejected
    headers = dict(message.headers)
    assert headers["problem"] == code.encode()
    assert (headers["topic"], headers["partition"], headers["offset"]) == (b"t", b"1", b"1")
    assert (message.key, message.value) == (b"key", (value or b"")[: LARGEST_REJECTED - 3])
    assert scene.count("aboveboard_collector_rejected_total", code=code) == 1


def test_an_erased_person_has_no_decision_to_join(scene: Scene) -> None:
    scene.log.erase(f"sub-{IDS[0]}", actor="dpo", reason="test", override="test")
    scene.take(outcome())
    assert dict(scene.rejected[0].headers)["problem"] == b"not-found"


def test_a_batch_that_failed_is_taken_again_whole(scene: Scene) -> None:
    scene.away = True
    with pytest.raises(StorageFailed):
        scene.take(outcome(), b"{}")
    assert scene.count("aboveboard_collector_rejected_total", code="request-refused") == 0
    scene.away = False
    scene.take(outcome(), b"{}")
    assert len(scene.recorded()) == 1
    assert len(scene.rejected) == 1


def test_what_is_too_large_to_pass_on_is_cut_and_says_so(scene: Scene) -> None:
    """Brokers take a million bytes, headers included: the largest message that came in would not go out again."""
    scene.collector.take([Received("t", 1, 7, b"k" * 100, b" " * 1_048_000), Received("t", 1, 8, b"k" * 10**6, None)])
    first, second = scene.rejected
    assert (len(first.key), len(first.key) + len(first.value)) == (100, LARGEST_REJECTED)
    assert dict(first.headers)["size"] == b"1048100"
    assert (len(second.key), second.value, dict(second.headers)["size"]) == (LARGEST_REJECTED, b"", b"1000000")
    scene.take(b"{}")
    assert "size" not in dict(scene.rejected[-1].headers)
