"""Processes of a server are killed while it works: every decision that was answered is in the log, once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from aboveboard.serving.keeper import COMMAND
from aboveboard.settings import Home
from tests.fault.serving.traffic import CONNECTIONS, kill, logged, processes, traffic, until
from tests.integration.serving.process import Released, running


def hold(home: Home, decided: list[str], *, unheard: int) -> None:
    """Hold the log against what was answered; up to `unheard` decisions may be in it that nobody got to hear of."""
    found = logged(home)
    assert len(found) == len(set(found))
    assert set(decided) <= set(found)
    assert len(decided) == len(set(decided))
    assert len(found) - len(decided) <= unheard


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_is_killed_at_once(released: Released, home: Home, workers: int) -> None:
    with running(home, release=released.digests[0], workers=workers, checkpoint_seconds=0.2) as server:

        async def load() -> list[str]:
            async with traffic(released, server.port) as under_way:
                await until(lambda: len(under_way.decided) > 400 and COMMAND in processes(server))
                below = processes(server)
                assert {name for name in below if name.startswith("worker-")} == (
                    {"worker-0", "worker-1"} if workers == 2 else set()
                )
                os.kill(server.process.pid, signal.SIGSTOP)  # it must not start anything anew meanwhile
                kill(*below.values(), server.process.pid)
                server.process.wait(timeout=30)
                under_way.ports[:] = []
                with running(home, release=released.digests[0], workers=workers) as again:
                    before = len(under_way.decided)
                    under_way.ports.append(again.port)
                    await until(lambda: len(under_way.decided) > before + 100)
                    under_way.end()
                    await asyncio.sleep(0.5)
            assert under_way.statuses.keys() == {200}
            return under_way.decided

        decided = asyncio.run(load())
    hold(home, decided, unheard=CONNECTIONS)


def test_workers_are_killed_in_turn(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], workers=2, checkpoint_seconds=0.2) as server:

        async def load() -> list[str]:
            async with traffic(released, server.port) as under_way:
                for victim in ("worker-1", "worker-0", "worker-1"):
                    before = len(under_way.decided)
                    await until(lambda before=before: len(under_way.decided) > before + 150)  # type: ignore[misc]
                    killed = processes(server)[victim]
                    kill(killed)
                    await until(lambda v=victim, k=killed: processes(server).get(v, k) != k)  # type: ignore[misc]
            assert under_way.statuses.keys() == {200}
            assert under_way.retried
            return under_way.decided

        decided = asyncio.run(load())
    hold(home, decided, unheard=3 * CONNECTIONS)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_keeper_is_killed_again_and_again(released: Released, home: Home, workers: int) -> None:
    """Nobody who asks notices: publishing waits, deciding does not."""
    checkpoint = home.audit / "tiles" / "checkpoint"

    def published() -> int:
        return int(checkpoint.read_text().split("\n")[1]) if checkpoint.exists() else 0

    with running(home, release=released.digests[0], workers=workers, checkpoint_seconds=0.1) as server:

        async def load() -> list[str]:
            async with traffic(released, server.port) as under_way:
                for _ in range(2):
                    before = published()
                    await until(lambda before=before: published() > before)  # type: ignore[misc]
                    killed = processes(server)[COMMAND]
                    kill(killed)
                    await until(lambda k=killed: processes(server).get(COMMAND, k) != k)  # type: ignore[misc]
            assert under_way.statuses.keys() == {200}
            assert (under_way.cut, under_way.retried) == (0, 0)
            return under_way.decided

        decided = asyncio.run(load())
    assert published() >= len(decided)  # what it leaves behind when the server stops
    hold(home, decided, unheard=0)


def test_the_keeper_hangs(released: Released, home: Home) -> None:
    """One that does nothing holds up no decision, and what it has not published is not lost."""
    with running(home, release=released.digests[0], checkpoint_seconds=0.1) as server:

        async def load() -> list[str]:
            async with traffic(released, server.port) as under_way:
                await until(lambda: COMMAND in processes(server) and len(under_way.decided) > 50)
                os.kill(processes(server)[COMMAND], signal.SIGSTOP)
                before = len(under_way.decided)
                await until(lambda: len(under_way.decided) > before + 300)
            assert under_way.statuses.keys() == {200}
            return under_way.decided

        decided = asyncio.run(load())
        keeper = processes(server)[COMMAND]
        server.process.kill()
        server.process.wait(timeout=10)
        kill(keeper)
        while Path(f"/proc/{keeper}").exists():
            time.sleep(0.01)
    hold(home, decided, unheard=0)
