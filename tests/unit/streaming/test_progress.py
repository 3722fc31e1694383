"""What probes are told about the rounds of relay and collector, and what Prometheus sees of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry

from aboveboard.errors import Conflict, StorageFailed
from aboveboard.streaming.health import answering
from aboveboard.streaming.progress import STALLED_SECONDS, Progress
from aboveboard.streaming.rounds import rounds
from tests.audit_cases import NOW, ManualClock


class Timer:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    def __init__(self) -> None:
        self.timer = Timer()
        self.registry = CollectorRegistry()
        self.progress = Progress(self.registry, "relay", clock=ManualClock(), timer=self.timer)

    @contextmanager
    def asking(self) -> Iterator[httpx.Client]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with (
            answering("127.0.0.1", port, self.registry, self.progress),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            yield client


def test_ready_while_rounds_work_and_alive_while_they_end() -> None:
    scene = Scene()
    progress = scene.progress
    assert (progress.alive, progress.ready) == (True, False), "nothing has worked yet"
    progress.worked()
    assert (progress.alive, progress.ready) == (True, True)
    progress.failed("storage-failed")
    assert (progress.alive, progress.ready) == (True, False), "to start again would not bring a broker back"
    progress.worked()
    scene.timer.now += STALLED_SECONDS
    assert (progress.alive, progress.ready) == (False, False)


def test_probes_and_metrics_over_http() -> None:
    scene = Scene()
    with scene.asking() as client:
        assert (client.get("/livez").status_code, client.get("/readyz").status_code) == (200, 503)
        assert client.get("/readyz").text == "the last round did not work\n"
        assert 'failures_total{code="storage-failed"} 0.0' in client.get("/metrics").text
        assert "aboveboard_relay_last_round_timestamp_seconds 0.0" in client.get("/metrics").text
        scene.progress.worked()
        assert client.get("/readyz").status_code == 200
        last = scene.registry.get_sample_value("aboveboard_relay_last_round_timestamp_seconds")
        assert last == NOW.timestamp()
        scene.timer.now += STALLED_SECONDS + 12
        stuck = client.get("/livez")
        assert (stuck.status_code, stuck.text) == (503, "no round ended for 312 s\n")
        assert client.get("/").status_code == 404


def test_a_caller_that_says_nothing_holds_nobody_up() -> None:
    scene = Scene()
    with scene.asking() as client, socket.create_connection((client.base_url.host, client.base_url.port or 0)):
        assert client.get("/livez").status_code == 200


def test_a_port_that_is_taken_is_named() -> None:
    scene = Scene()
    with (
        scene.asking() as client,
        pytest.raises(Conflict, match=str(client.base_url.port)),
        answering("127.0.0.1", client.base_url.port or 0, CollectorRegistry(), scene.progress),
    ):
        pass


def test_rounds_tell_what_they_came_to() -> None:
    scene, stop, seen = Scene(), threading.Event(), []

    def work() -> bool:
        seen.append(scene.progress.ready)
        if len(seen) == 2:
            raise StorageFailed("the brokers are away")
        if len(seen) == 4:
            stop.set()
        return True

    rounds(work, stop, scene.progress)
    assert seen == [False, True, False, True]
    failures = scene.registry.get_sample_value("aboveboard_streaming_failures_total", {"code": "storage-failed"})
    assert failures == 1
