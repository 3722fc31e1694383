"""The relay over a real log: in order, at least once, nothing left out, nobody named who has been erased."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from aboveboard.audit import AuditLog
from aboveboard.errors import StorageFailed
from aboveboard.settings import Home, LogSettings
from aboveboard.streaming.cloudevent import Message, structured
from aboveboard.streaming.meters import RelayMeters
from aboveboard.streaming.position import Positions
from aboveboard.streaming.relay import Relay
from tests.audit_cases import ManualClock, approval, decision, open_log


class Topic:
    """Takes messages, or the first few of them when it is told to fail."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.takes: int | None = None

    def publish(self, messages: Sequence[Message]) -> None:
        self.messages += messages[: self.takes]
        if self.takes is not None and self.takes < len(messages):
            raise StorageFailed("the brokers are away")

    def ids(self) -> list[str]:
        return [json.loads(message.value)["data"]["decision_id"] for message in self.messages]


class Scene:
    def __init__(self, root: Path) -> None:
        self.clock = ManualClock()
        self.log: AuditLog = open_log(root, clock=self.clock)
        self.positions = Positions.open(Home(root), LogSettings())
        self.topic = Topic()

    def relay(self, size: int = 4) -> tuple[Relay, CollectorRegistry]:
        registry = CollectorRegistry()
        meters = RelayMeters(registry, self.clock)
        made = Relay(
            self.log, self.positions, self.topic.publish, stream="s", form=structured, meters=meters, size=size
        )
        return made, registry

    def close(self) -> None:
        self.log.close()
        self.positions.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_every_decision_in_the_order_of_the_log(scene: Scene) -> None:
    relay, registry = scene.relay()
    assert relay.round() is False
    for number in range(10):
        scene.log.append(decision(number))
        scene.log.append(approval())
    assert relay.round() is False, "not in order yet"
    scene.log.take_in()
    scene.clock.advance(seconds=9)
    while relay.round():
        assert registry.get_sample_value("aboveboard_relay_lag_seconds") == 9
    assert scene.topic.ids() == [f"dec-{number:06d}" for number in range(10)]
    events = [json.loads(message.value) for message in scene.topic.messages]
    assert [event["id"] for event in events] == [str(2 * number) for number in range(10)]
    assert registry.get_sample_value("aboveboard_relay_events_total") == 10
    assert registry.get_sample_value("aboveboard_relay_position") == 20
    assert registry.get_sample_value("aboveboard_relay_lag_entries") == 0
    assert registry.get_sample_value("aboveboard_relay_lag_seconds") == 0
    assert relay.round() is False
    assert len(scene.topic.messages) == 10


def test_looking_at_everything_leaves_no_trace_in_the_log(scene: Scene) -> None:
    scene.log.append_all([decision(number) for number in range(3)])
    size = scene.log.take_in()
    relay, _ = scene.relay()
    relay.round()
    assert scene.log.take_in() == size


def test_an_erased_person_is_not_told_of(scene: Scene) -> None:
    for number in range(6):
        scene.log.append(decision(number, f"sub-{number % 2}"))
    scene.log.erase("sub-1", actor="dpo", reason="test", override="test")
    relay, registry = scene.relay(size=100)
    scene.log.take_in()
    relay.round()
    assert scene.topic.ids() == ["dec-000000", "dec-000002", "dec-000004"]
    assert registry.get_sample_value("aboveboard_relay_unreadable_total") == 3


def test_a_relay_can_be_sent_back(scene: Scene) -> None:
    scene.log.append_all([decision(number) for number in range(3)])
    scene.log.take_in()
    relay, _ = scene.relay()
    for start, more in ((0, 3), (2, 1)):
        relay.rewind(start)
        before = len(scene.topic.messages)
        relay.round()
        assert len(scene.topic.messages) - before == more


def test_a_position_moves_only_from_where_it_is(tmp_path: Path) -> None:
    positions = Positions.open(Home(tmp_path), LogSettings())
    assert positions.read("a") == 0
    assert not positions.move("a", 3, 4)
    assert positions.move("a", 0, 4)
    assert not positions.move("a", 0, 5)
    assert not positions.move("a", 3, 5)
    assert positions.move("a", 4, 0)
    assert positions.move("a", 0, 2)
    assert (positions.read("a"), positions.read("b")) == (2, 0)
    positions.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 3))), max_size=12))
def test_whatever_fails_nothing_is_left_out(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    scene = Scene(tmp_path_factory.mktemp("relay"))
    relays = [scene.relay(size=3)[0] for _ in range(2)]
    count = 0
    for number, (new, takes) in enumerate(steps):
        scene.log.append_all([decision(count + n, f"sub-{n}") for n in range(new)])
        count += new
        scene.log.take_in()
        scene.topic.takes = takes
        try:
            relays[number % 2].round()
        except StorageFailed:
            assert takes is not None
    scene.topic.takes = None
    while relays[0].round():
        pass
    first_seen = list(dict.fromkeys(scene.topic.ids()))
    assert first_seen == [f"dec-{number:06d}" for number in range(count)]
    by_id = {json.loads(m.value)["id"]: m.value for m in scene.topic.messages}
    assert all(m.value == by_id[json.loads(m.value)["id"]] for m in scene.topic.messages), "duplicates are the same"
    scene.close()
