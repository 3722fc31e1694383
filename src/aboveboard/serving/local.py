"""The decision path without HTTP: for a command line, a test, or a batch on the same machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from aboveboard.audit import AuditLog
from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError
from aboveboard.serving.claims import KeyDigests
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.idempotency import OnceHere
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.recorder import Recorder
from aboveboard.serving.service import Answer, DecisionService
from aboveboard.serving.tracks import Tracks

_IN_FLIGHT = 256


def decide_here(
    deployment: Deployment, log: AuditLog, bodies: Iterable[bytes], *, token_key: bytes, clock: Clock
) -> list[Answer | AboveboardError]:
    """Return the answer to each request in `bodies`, in order; every one is in the log before this returns.

    A request that is refused has its error in its place, and the others are decided all the same.
    """
    return asyncio.run(_decide_all(deployment, log, list(bodies), token_key=token_key, clock=clock))


async def _decide_all(
    deployment: Deployment, log: AuditLog, bodies: list[bytes], *, token_key: bytes, clock: Clock
) -> list[Answer | AboveboardError]:
    recorder = Recorder(log, timer=time.perf_counter)
    service = DecisionService(
        Tracks(deployment),
        recorder,
        token_key=token_key,
        clock=clock,
        timer=time.perf_counter,
        metrics=Metrics(pending=lambda: recorder.pending, lag=recorder.lag),
        once=OnceHere(KeyDigests(token_key, deployment.name), timer=time.perf_counter, clock=clock),
    )
    places = asyncio.Semaphore(_IN_FLIGHT)

    async def decide(body: bytes) -> Answer | AboveboardError:
        async with places:
            answered: asyncio.Future[Answer | AboveboardError] = asyncio.get_running_loop().create_future()
            try:
                service.decide(body, answered.set_result)
            except AboveboardError as error:
                return error
            return await answered

    return list(await asyncio.gather(*map(decide, bodies)))
