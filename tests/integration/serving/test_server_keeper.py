"""The process that publishes the log beside the server: it follows, it is replaced, and outlives nobody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aboveboard.serving.keeper import COMMAND
from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, open_log, running


def _keeper(server: Server) -> int | None:
    """Return the keeper's process id: the child that calls itself so."""
    for children in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == COMMAND:
                return int(child)
    return None


def _until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    pytest.fail("it did not come about in half a minute")


def _published(home: Home) -> int:
    checkpoint = home.audit / "tiles" / "checkpoint"
    return int(checkpoint.read_text().split("\n")[1]) if checkpoint.exists() else 0


def test_publishes_while_the_server_decides(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], checkpoint_seconds=0.1) as server, server.client() as client:
        assert client.post("/v1/decisions", json=released.clients[0]).status_code == 200
        first = _until(lambda: _published(home))
        assert client.post("/v1/decisions", json=released.clients[1]).status_code == 200
        assert _until(lambda: _published(home) > first)


def test_one_that_is_killed_is_replaced(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], checkpoint_seconds=0.1) as server, server.client() as client:
        killed = _until(lambda: _keeper(server))
        before = _until(lambda: _published(home) + 1) - 1
        os.kill(killed, signal.SIGKILL)
        assert client.post("/v1/decisions", json=released.clients[0]).status_code == 200
        assert _until(lambda: _keeper(server) not in (None, killed))
        assert _until(lambda: _published(home) > before)


def test_a_server_that_stops_leaves_nothing_unpublished(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], checkpoint_seconds=3600) as server, server.client() as client:
        _until(lambda: _keeper(server))
        for request in released.clients[:20]:
            assert client.post("/v1/decisions", json=request).status_code == 200
    with open_log(home) as log:
        latest = log.latest()
        assert latest is not None
        assert latest.size >= 20
        assert log.publish().size == latest.size


def test_does_not_outlive_a_server_that_is_killed(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server:
        keeper = _until(lambda: _keeper(server))
        server.process.kill()
        server.process.wait()
        assert _until(lambda: not Path(f"/proc/{keeper}").exists())
