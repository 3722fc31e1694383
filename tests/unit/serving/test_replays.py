from __future__ import annotations

import pytest

from aboveboard.errors import AboveboardError, StorageFailed
from aboveboard.serving.idempotency import Replays
from aboveboard.serving.recorder import Unconfirmed
from aboveboard.serving.refusals import IdempotencyKeyReused

Heard = list[str | AboveboardError]


class Timer:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


def test_the_first_decides_and_the_others_hear_it(timer: Timer) -> None:
    replays: Replays[str] = Replays(timer=timer)
    heard: Heard = []
    settle = replays.first(b"k", b"request", heard.append)
    assert settle is not None
    assert replays.first(b"k", b"request", heard.append) is None
    assert heard == []
    settle("decision")
    assert heard == ["decision", "decision"]
    assert replays.first(b"k", b"request", heard.append) is None
    assert heard == ["decision"] * 3


def test_a_key_goes_with_one_request(timer: Timer) -> None:
    replays: Replays[str] = Replays(timer=timer)
    heard: Heard = []
    settle = replays.first(b"k", b"request", heard.append)
    assert settle is not None
    assert replays.first(b"l", b"other", heard.append) is not None
    with pytest.raises(IdempotencyKeyReused):
        replays.first(b"k", b"other", heard.append)
    settle("decision")
    with pytest.raises(IdempotencyKeyReused):
        replays.first(b"k", b"other", heard.append)


def test_after_a_failure_the_request_can_be_tried_again(timer: Timer) -> None:
    replays: Replays[str] = Replays(timer=timer)
    heard: Heard = []
    settle = replays.first(b"k", b"request", heard.append)
    assert settle is not None
    replays.first(b"k", b"request", heard.append)
    settle(StorageFailed("disk"))
    assert [type(answer) for answer in heard] == [StorageFailed, StorageFailed]
    assert replays.first(b"k", b"request", heard.append) is not None


def test_what_is_late_is_still_the_one_decision(timer: Timer) -> None:
    replays: Replays[str] = Replays(timer=timer)
    heard: Heard = []
    settle = replays.first(b"k", b"request", heard.append)
    assert settle is not None
    settle(Unconfirmed("late"))
    assert replays.first(b"k", b"request", heard.append) is None
    assert [type(answer) for answer in heard] == [Unconfirmed, Unconfirmed]
    settle("decision")
    assert replays.first(b"k", b"request", heard.append) is None
    assert heard[2:] == ["decision"]


def test_answers_are_forgotten_by_age_and_by_number(timer: Timer) -> None:
    replays: Replays[str] = Replays(timer=timer, capacity=3, lifetime=10)
    heard: Heard = []

    def is_new(key: bytes) -> bool:
        settle = replays.first(key, b"request", heard.append)
        if settle is not None:
            settle("decision")
        return settle is not None

    waiting = replays.first(b"waiting", b"request", heard.append)
    assert all(is_new(key) for key in (b"a", b"b"))
    assert not is_new(b"b")
    assert is_new(b"c")
    assert is_new(b"d")  # "a" made room
    assert is_new(b"a")
    timer.now = 11
    assert is_new(b"d")
    assert waiting is not None
    assert replays.first(b"waiting", b"request", heard.append) is None  # nobody who waits is forgotten


def test_a_request_that_came_to_nothing_is_dropped(timer: Timer) -> None:
    replays: Replays[str] = Replays(timer=timer)
    heard: Heard = []
    settle = replays.first(b"k", b"request", heard.append)
    replays.drop(b"k")
    later = replays.first(b"k", b"request", heard.append)
    assert settle is not None
    assert later is not None
    settle("of the first")
    assert heard == ["of the first"]
    assert replays.first(b"k", b"request", heard.append) is None
    later("of the second")
    assert heard == ["of the first", "of the second", "of the second"]
