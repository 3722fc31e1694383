"""The law of idempotency keys: whoever asks, whoever is killed, and whenever, a key has one decision at most."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from aboveboard.clock import system_clock
from aboveboard.errors import AboveboardError, StorageFailed
from aboveboard.serving.claims import Claim, Claims, KeyDigests, Mark
from aboveboard.serving.idempotency import OnceEverywhere, Reply
from aboveboard.serving.recorder import Unconfirmed

DIGESTS = KeyDigests(b"\1" * 32, "credit")
KEYS = "ab"
WORKERS = 3


class World:
    """A log, and a fate for everything that reaches the journal."""

    def __init__(self, claims: Claims, fates: Iterable[str]) -> None:
        self.claims = claims
        self.fates = iter(fates)
        self.log: dict[str, str] = {}
        self.alive: set[str] = set()
        self.heard: list[tuple[str, str]] = []
        self.born = 0

    def retell(self, decision_id: str, client: str) -> str | None:
        return decision_id if decision_id in self.log else None

    def of(self, key: str) -> list[str]:
        return [decision_id for decision_id, one in self.log.items() if one == key]


class OwnClaims(Claims):
    """The claims as one process sees them: of the dead, nothing reaches the disk any more."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(world.claims.database)
        self._process = process

    def claim(self, wanted: Any, moment: datetime) -> list[Claim | None]:
        self._process.check()
        return super().claim(wanted, moment)

    def mark(self, marks: Iterable[tuple[Mark, Claim]]) -> None:
        self._process.check()
        super().mark(marks)

    def take_over(self, found: Claim, ours: Claim) -> bool:
        self._process.check()
        return super().take_over(found, ours)


class Process:
    """One worker, and its presence."""

    grace = 0.0

    def __init__(self, world: World) -> None:
        self.world = world
        world.born += 1
        self.name = f"{world.born:016x}"
        world.alive.add(self.name)
        self.once: OnceEverywhere[str] = OnceEverywhere(
            OwnClaims(world, self),
            self,
            DIGESTS,
            world.retell,
            timer=asyncio.get_running_loop().time,
            clock=system_clock,
            deadline=0.3,
        )

    def check(self) -> None:
        if self.name not in self.world.alive:
            raise StorageFailed("dead")

    def renewed(self) -> str:
        return self.name

    def alive(self, name: str) -> bool:
        return name in self.world.alive

    def end(self) -> None:
        self.world.alive.discard(self.name)

    def ask(self, key: str) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def reply(answer: str | AboveboardError) -> None:
            if isinstance(answer, str) and self.name in self.world.alive:
                self.world.heard.append((key, answer))
            if not done.done():
                done.set_result(None)

        self.once.ask("loans", key, key.encode(), reply, lambda *given: self.decide(key, *given))
        return done

    def decide(self, key: str, decision_id: str, settle: Reply[str]) -> None:
        if self.name not in self.world.alive:
            return
        fate = next(self.world.fates, "durable")
        event(fate)
        if fate == "refused":
            raise AboveboardError("refused")
        asyncio.get_running_loop().call_later(0.005, self.journal, fate, key, decision_id, settle)

    def journal(self, fate: str, key: str, decision_id: str, settle: Reply[str]) -> None:
        """What the disk makes of it, in a process that may have been killed meanwhile."""
        if self.name not in self.world.alive:
            return
        if fate == "killed before":
            self.end()
            return
        if fate == "failed":
            settle(StorageFailed("disk"))
            return
        if fate == "late":
            settle(Unconfirmed("late"))
        self.world.log[decision_id] = key
        if fate == "failed, but written":
            settle(StorageFailed("disk"))
        elif fate == "killed after":
            self.end()
        else:
            settle(decision_id)


FATES = ["durable", "late", "refused", "failed", "failed, but written", "killed before", "killed after"]
asks = st.tuples(st.sampled_from(["ask"] * 4 + ["kill", "pause"]), st.integers(0, WORKERS - 1), st.sampled_from(KEYS))


@settings(max_examples=25, deadline=None)
@given(st.lists(asks, min_size=4, max_size=24), st.lists(st.sampled_from(FATES), max_size=12))
def test_a_key_has_one_decision_at_most_and_in_the_end_it_has_one(steps: list[Any], fates: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        claims = Claims.sqlite(Path(scratch) / "idempotency.sqlite")
        try:
            asyncio.run(live(World(claims, fates), steps))
        finally:
            claims.close()


async def live(world: World, steps: list[Any]) -> None:
    everybody = [Process(world) for _ in range(WORKERS)]
    slots = list(range(WORKERS))
    waiting: list[asyncio.Future[None]] = []

    def at(slot: int) -> Process:
        """Whoever died has a successor."""
        if everybody[slots[slot]].name not in world.alive:
            everybody.append(Process(world))
            slots[slot] = len(everybody) - 1
        return everybody[slots[slot]]

    for step, slot, key in steps:
        match step:
            case "ask":
                waiting.append(at(slot).ask(key))
            case "kill":
                at(slot).end()
            case "pause":
                await asyncio.sleep(0.02)
        await asyncio.sleep(0)
    await asyncio.wait(waiting, timeout=1) if waiting else None
    world.fates = iter(())
    for key in KEYS:
        for slot in range(WORKERS):
            for _ in range(200):  # a client asks again until it hears
                before = len(world.heard)
                await asyncio.wait_for(at(slot).ask(key), 5)
                if len(world.heard) > before:
                    break
                await asyncio.sleep(0.05)
    for process in everybody:
        await process.once.close()
    for key in KEYS:
        assert len(world.of(key)) == 1
        answers = [answer for asked, answer in world.heard if asked == key]
        assert len(answers) >= WORKERS
        assert set(answers) == set(world.of(key))
