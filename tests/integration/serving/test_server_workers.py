"""Several workers behind one port: shared work, one set of counts, one set of tracks, nobody missed when one dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from aboveboard.audit import Query
from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, ask_all, launch, open_log, running


def workers_of(server: Server) -> list[int]:
    """Return the processes that answer, the first worker first."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,comm=", "--ppid", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if line.split()[1].startswith("worker-")]


def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def decided(text: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith("aboveboard_decisions_total{")]
    return sum(float(line.split()[-1]) for line in lines)


def replaced(server: Server, victim: int) -> None:
    """Wait until a worker that was killed has a successor, and that answers."""
    until(lambda: victim not in workers_of(server) and len(workers_of(server)) == 2)
    for _ in range(12):
        assert httpx.get(f"{server.url}/livez", timeout=30).status_code == 200


def releases(server: Server, times: int) -> set[str]:
    """Return the champions that many fresh connections, and so different workers, report."""
    return {httpx.get(f"{server.url}/v1/tracks", timeout=30).json()["tracks"][0]["release"] for _ in range(times)}


def test_workers_share_the_work_and_any_of_them_knows_all_counts(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], workers=2) as server:
        assert len(workers_of(server)) == 2
        answers = asyncio.run(ask_all(server.port, released.clients[:400], connections=16))
        for client, answer in zip(released.clients, answers, strict=False):
            row = released.models[0].encoding.encode(client["features"])
            assert answer["score"] == released.models[0].score(row.reshape(1, -1))[0]
        assert {answer["receipt"]["writer"] for answer in answers} == {"server", "server-2"}
        texts = [httpx.get(f"{server.url}/metrics").text for _ in range(12)]
        assert {decided(text) for text in texts} == {400.0}
        assert all('aboveboard_decision_duration_seconds_count{stage="total"} 400.0' in text for text in texts)
        assert all("worker=" not in text and "pid=" not in text for text in texts)
        assert all(text.count("# TYPE aboveboard_decisions_total ") == 1 for text in texts)
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="decision/1", limit=10_000), actor="me", purpose="test")
        assert {entry.decision_id for entry in found} == {answer["decision_id"] for answer in answers}
        assert log.fsck().clean


def test_a_worker_that_dies_is_replaced_and_what_it_counted_stays(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], workers=2) as server:
        asyncio.run(ask_all(server.port, released.clients[:100], connections=8))
        assert decided(httpx.get(f"{server.url}/metrics").text) == 100
        first, second = workers_of(server)
        for victim in (second, first):
            httpx.get(f"{server.url}/metrics")  # what a worker counted after it last reported dies with it
            os.kill(victim, signal.SIGKILL)
            for client in released.clients[:20]:  # by the other one, or the next
                assert httpx.post(f"{server.url}/v1/decisions", json=client, timeout=30).status_code == 200
            replaced(server, victim)
        assert decided(httpx.get(f"{server.url}/metrics").text) == 140
        asyncio.run(ask_all(server.port, released.clients[:100], connections=16))
        assert decided(httpx.get(f"{server.url}/metrics").text) == 240


def test_a_change_of_tracks_reaches_every_worker_and_survives_a_restart(released: Released, home: Home) -> None:
    first, second = released.digests
    with running(home, release=first, workers=2) as server:
        change = {"tracks": {"champion": second}, "reason": "it does better"}
        assert httpx.put(f"{server.url}/v1/tracks", json=change).status_code == 200
        until(lambda: releases(server, 12) == {second}, seconds=5)
        victim = workers_of(server)[1]
        os.kill(victim, signal.SIGKILL)
        replaced(server, victim)
        assert releases(server, 12) == {second}
    with running(home, release=first) as server:
        assert releases(server, 1) == {second}
        back = httpx.post(f"{server.url}/v1/tracks/rollback", json={"reason": "it does not"})
        assert back.json()["tracks"][0]["release"] == first
    with running(home, release=first, workers=2) as server:
        assert releases(server, 8) == {first}
        again = httpx.post(f"{server.url}/v1/tracks/rollback", json={"reason": "it does after all"})
        assert again.json()["tracks"][0]["release"] == second
        until(lambda: releases(server, 12) == {second}, seconds=5)
    with open_log(home) as log:
        log.publish()
        for kind, count in (("release-promoted/1", 1), ("release-rolled-back/1", 2)):
            assert len(log.find(Query(kind=kind), actor="me", purpose="test")) == count


def test_other_options_are_the_newer_word(released: Released, home: Home) -> None:
    first, second = released.digests
    with running(home, release=first) as server:
        change = {"tracks": {"champion": first, "challenger": second, "weight": 20}, "reason": "canary"}
        assert httpx.put(f"{server.url}/v1/tracks", json=change).status_code == 200
    with running(home, release=second) as server:
        assert releases(server, 1) == {second}
    with running(home, release=first) as server:
        assert len(httpx.get(f"{server.url}/v1/tracks", timeout=30).json()["tracks"]) == 1


def test_a_damaged_file_of_tracks_stops_the_start(released: Released, home: Home) -> None:
    home.serving.mkdir()
    (home.serving / "credit-default.tracks.json").write_text('{"started": 1}')
    process = launch(home, port=0, release=released.digests[0])
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode, json.loads(err)["code"]) == ("", 3, "not-verified")


def test_what_is_wrong_at_the_start_is_said_as_by_one_server(home: Home) -> None:
    process = launch(home, port=0, release="sha256:" + "0" * 64, workers=3)
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode, json.loads(err)["code"]) == ("", 3, "not-found")


def test_gives_up_when_a_worker_does_not_come_up_again(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], workers=2) as server:
        for blob in (home.releases / "blobs" / "sha256").iterdir():
            blob.chmod(0o644)
            blob.write_bytes(b"")
        os.kill(workers_of(server)[1], signal.SIGKILL)
        assert server.process.wait(timeout=60) == 3
        assert server.process.stderr is not None
        assert '"code": "not-' in server.process.stderr.read().splitlines()[-1]


def test_workers_end_with_their_supervisor(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0], workers=2) as server:
        left = workers_of(server)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(timeout=10)
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in left))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_worker_drains(released: Released, home: Home, number: int) -> None:
    with running(home, release=released.digests[0], workers=2) as server:
        asyncio.run(ask_all(server.port, released.clients[:50], connections=8))
        left = workers_of(server)
        assert server.stop(number) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in left)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/livez")
