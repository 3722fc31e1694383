"""A rolling restart under load: a new server comes up, the old one is told to go, no accepted request is lost."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack

import pytest

from aboveboard.settings import Home
from tests.fault.serving.traffic import logged, traffic, until
from tests.integration.serving.process import Released, running


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "lane"), [(1, True), (1, False), (2, True)])
def test_no_accepted_request_is_lost(released: Released, home: Home, workers: int, lane: bool) -> None:
    """Three servers after each other on one log, as a rollout replaces them behind a load balancer.

    A request on a connection that was closed before a byte of an answer was never taken, and is sent again
    (RFC 9110 section 9.2.2 allows it for a connection that was idle). Had it been taken, its decision would
    be in the log, and nobody would know of it: the log must hold exactly what was answered.
    """
    options = {"release": released.digests[0], "workers": workers, "lane": lane}

    async def load(stack: ExitStack) -> list[str]:
        old = stack.enter_context(running(home, **options))
        async with traffic(released, old.port) as under_way:
            for _ in range(2):
                before = len(under_way.decided)
                await until(lambda before=before: len(under_way.decided) > before + 200)  # type: ignore[misc]
                new = await asyncio.to_thread(stack.enter_context, running(home, **options))
                under_way.ports.insert(0, new.port)
                old.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(old.process.wait, 60) == 0
                under_way.ports.remove(old.port)
                old = new
            before = len(under_way.decided)
            await until(lambda: len(under_way.decided) > before + 100)
        assert under_way.statuses.keys() == {200}
        assert under_way.cut == 0
        return under_way.decided

    with ExitStack() as stack:
        decided = asyncio.run(load(stack))
    assert len(decided) > 400
    assert sorted(logged(home)) == sorted(decided)
