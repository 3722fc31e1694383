"""The operator as a process of its own, as the chart runs it: `python -m bench.operator.process URL HOME PORT`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import kopf
import lightkube

from aboveboard.clock import system_clock
from aboveboard.cluster.controller import Controller
from aboveboard.cluster.election import Election
from aboveboard.cluster.judgement import Law
from aboveboard.cluster.kube import Cluster
from aboveboard.cluster.operator import Operator, OperatorOptions
from aboveboard.cluster.packs import PackBook
from aboveboard.cluster.releases import ReleaseSource
from aboveboard.policy import load_packs
from tests.cluster_cases import CONTEXT
from tests.release_cases import START

_BEGUN = time.monotonic()


def _clock() -> datetime:
    """Return a moment just after the releases were made: their evidence never grows old here."""
    return START + timedelta(seconds=time.monotonic() - _BEGUN)


async def act(url: str, home: Path, port: int) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    user = {"name": "bench", "user": {}}
    config = {
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [user],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }
    api = Cluster(lightkube.KubeConfig.from_dict(config))
    book = PackBook("aboveboard-system", time.monotonic)
    source = ReleaseSource(home / "releases", home / "keys" / "trust.json", fetch=None, clock=_clock)
    controller = Controller(api, CONTEXT, verify=source.verify, law=Law(load_packs, select=book.select), clock=_clock)
    election = Election(
        api,
        name="aboveboard-operator",
        namespace="aboveboard-system",
        identity="bench",
        clock=system_clock,
        timer=time.monotonic,
        deadline_seconds=120,  # the stand-in for the API server has one thread, and no lane for Leases
    )
    options = OperatorOptions(health_host="127.0.0.1", health_port=port)
    operator = Operator(api, controller, election, options, timer=time.monotonic, clock=_clock, book=book)
    await operator.run(stop, login=lambda **_: kopf.ConnectionInfo(server=url))
    await api.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("kopf").setLevel(logging.ERROR)
    asyncio.run(act(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
