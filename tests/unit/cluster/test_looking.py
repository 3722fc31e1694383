"""The queue of services: who is looked at when, and how many at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from aboveboard.cluster.looking import Looking

NEVER = -1.0
Look = Callable[[str], Awaitable[float]]


def queue(look: Look, abreast: int = 1) -> Looking:
    return Looking(look, abreast=abreast, retry=0, timer=asyncio.get_running_loop().time)


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def act() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(act())


async def until(running: asyncio.Task[None], holds: Callable[[], bool]) -> None:
    while not holds():
        assert not running.done()
        await asyncio.sleep(0)
    for _ in range(20):  # whatever would follow by mistake has its turn
        await asyncio.sleep(0)
    running.cancel()


def test_reasons_gather_while_a_service_waits_for_its_turn() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        async def look(uid: str) -> float:
            seen.append(uid)
            return NEVER

        looking = queue(look)
        for _ in range(5):
            for uid in "abc":
                looking.wake(uid)
        looking.wake("a", after=3600)
        await until(asyncio.create_task(looking.run()), lambda: len(seen) >= 3)

    play(scenario)
    assert seen == ["a", "b", "c"]


def test_a_reason_that_comes_during_a_look_is_another_one() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        async def look(uid: str) -> float:
            seen.append(uid)
            if len(seen) == 1:
                looking.wake(uid)
            return NEVER

        looking = queue(look)
        looking.wake("a")
        await until(asyncio.create_task(looking.run()), lambda: len(seen) >= 2)

    play(scenario)
    assert seen == ["a", "a"]


def test_what_somebody_changed_goes_first() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        async def look(uid: str) -> float:
            seen.append(uid)
            return NEVER

        looking = queue(look)
        for number in range(50):
            looking.wake(f"old-{number}")
        looking.wake("changed", first=True)
        looking.wake("old-7", first=True)
        await until(asyncio.create_task(looking.run()), lambda: len(seen) >= 51)

    play(scenario)
    assert seen[:3] == ["old-7", "changed", "old-0"]
    assert len(seen) == len(set(seen)) == 51


@pytest.mark.parametrize("abreast", [1, 4])
def test_no_more_are_looked_at_at_a_time_than_was_said(abreast: int) -> None:
    at_once: list[int] = []
    done: list[str] = []

    async def scenario() -> None:
        running = 0

        async def look(uid: str) -> float:
            nonlocal running
            running += 1
            at_once.append(running)
            await asyncio.sleep(0)
            running -= 1
            done.append(uid)
            return NEVER

        looking = queue(look, abreast)
        for number in range(40):
            looking.wake(str(number))
        await until(asyncio.create_task(looking.run()), lambda: len(done) >= 40)

    play(scenario)
    assert max(at_once) == abreast


def test_one_that_cannot_be_looked_at_stops_no_other_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def scenario() -> None:
        async def look(uid: str) -> float:
            seen.append(uid)
            if seen.count("broken") == 1 and uid == "broken":
                raise RuntimeError("a defect")
            return NEVER

        looking = queue(look)
        for uid in ("broken", "well"):
            looking.wake(uid)
        await until(asyncio.create_task(looking.run()), lambda: len(seen) >= 3)

    with caplog.at_level(logging.ERROR, "aboveboard.cluster"):
        play(scenario)
    assert seen == ["broken", "well", "broken"]
    assert "could not be looked at" in caplog.text


def test_one_that_is_gone_is_forgotten() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        async def look(uid: str) -> float:
            seen.append(uid)
            looking.forget("b")
            return NEVER

        looking = queue(look)
        for uid in "abc":
            looking.wake(uid)
        await until(asyncio.create_task(looking.run()), lambda: len(seen) >= 2)

    play(scenario)
    assert seen == ["a", "c"]
