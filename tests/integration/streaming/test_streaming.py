"""The commands against a real broker: killed at any moment, nothing is missing; what is no outcome goes elsewhere."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from aboveboard.audit import AuditLog, Query, events
from aboveboard.audit.location import open_log
from aboveboard.settings import Home, LogSettings
from tests.audit_cases import decision
from tests.integration.road.shell import Shell
from tests.kafka_server import KafkaServer, kafka_server
from tests.postgres_server import new_database, postgres_server

ORIGIN = "bank.example/eu"
TOPICS = ("aboveboard.decisions", "aboveboard.outcomes", "aboveboard.outcomes.rejected")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with kafka_server(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def topics(kafka: KafkaServer, tmp_path: Path) -> dict[str, str]:
    """Topics of a test's own."""
    names = {name: f"{name}.{tmp_path.name}" for name in TOPICS}
    kafka.make(*names.values())
    return names


@contextmanager
def process(home: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command until the block ends; it must have said that it is ready."""
    running = subprocess.Popen(
        [sys.executable, "-u", "-m", "aboveboard", "--home", home, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert running.stdout is not None
        assert running.stderr is not None
        assert "✓" in (running.stdout.readline() or running.stderr.read())
        yield running
    finally:
        running.kill()
        running.communicate()


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write(log: AuditLog, start: int, end: int) -> None:
    log.append_all([decision(n, f"sub-{n % 50}", decision_id=f"dec-{n:026d}") for n in range(start, end)])
    log.take_in()


def test_a_relay_that_is_killed_at_any_moment_leaves_nothing_out(
    kafka: KafkaServer, topics: dict[str, str], tmp_path: Path
) -> None:
    """On PostgreSQL, as pods have it: two relays take turns, and one of them is killed again and again."""
    pytest.importorskip("psycopg")
    home, rng = tmp_path / "home", random.Random(7)  # noqa: S311
    with postgres_server() as server:
        where = {"ABOVEBOARD_LOG_DATABASE": new_database(server), "ABOVEBOARD_KAFKA_BROKERS": kafka.brokers}
        command = ("events", "relay", "--topic", topics["aboveboard.decisions"], "--metrics-port")
        with open_log(Home(home), LogSettings.from_environment(where), origin=ORIGIN, writer="test") as log:
            written = 0
            with process(home, *command, "0", **where) as standby:
                for _ in range(4):
                    with process(home, *command, "0", **where) as relay:
                        for _ in range(rng.randrange(1, 6)):
                            write(log, written, written + 250)
                            written += 250
                        time.sleep(rng.random())
                        relay.send_signal(signal.SIGKILL)
                        relay.wait()
                standby.terminate()
                assert standby.wait(30) == 0
            write(log, written, written + 10)
            written += 10
            port = str(free_port())
            with process(home, *command, port, **where) as relay:
                url = f"http://127.0.0.1:{port}/metrics"
                until(lambda: f"aboveboard_relay_position {float(written)}" in httpx.get(url).text)
                assert "aboveboard_relay_lag_entries 0.0" in httpx.get(url).text
                relay.terminate()
                assert relay.wait(30) == 0
    sent = kafka.all(topics["aboveboard.decisions"])
    schema = json.loads(Shell(home, tmp_path).run("events", "schema").stdout)
    by_event: dict[tuple[str, str], bytes] = {}
    for key, value, headers in sent:
        event = json.loads(value)
        assert headers["content-type"].startswith(b"application/cloudevents+json")
        assert key == event["subject"].encode()
        assert event["source"] == ORIGIN
        assert by_event.setdefault((event["source"], event["id"]), value) == value, "duplicates are the same"
    jsonschema.validate(json.loads(sent[0][1]), schema)
    assert {json.loads(value)["subject"] for _, value, _ in sent} == {f"dec-{n:026d}" for n in range(written)}
    assert len(by_event) == written


def test_outcomes_come_in_and_what_is_none_goes_elsewhere(
    kafka: KafkaServer, topics: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"

    def outcome(number: int, label: str = "repaid") -> bytes:
        return json.dumps({"decision_id": f"dec-{number:026d}", "label": label, "observed": "2026-11-20"}).encode()

    names = {"topic": topics["aboveboard.outcomes"], "rejected": topics["aboveboard.outcomes.rejected"]}
    options = [part for name, value in names.items() for part in (f"--{name}", value)]
    properties = tmp_path / "client.properties"  # Tansu lets a group begin after half a session's timeout
    properties.write_text("session.timeout.ms = 2000\nheartbeat.interval.ms = 500\n")
    options += ["--properties", str(properties), "--brokers", kafka.brokers]
    command = ("events", "collect", *options, "--group", names["topic"])
    with AuditLog.open(home / "audit", keys=home / "keys", origin=ORIGIN, writer="test") as log:
        write(log, 0, 100)

        def recorded() -> list[str]:
            log.take_in()
            found = log.find(Query(kind="outcome-recorded/1", limit=1000), actor="me", purpose="test")
            return [entry.decision_id or "" for entry in found]

        kafka.put(
            names["topic"], [(b"%d" % n, outcome(n)) for n in range(60)] + [(b"x", b"no outcome"), (b"y", None)]
        )
        with process(home, *command, "--metrics-port", "0") as collector:
            until(recorded)
            collector.send_signal(signal.SIGKILL)
            collector.wait()
        more = [(b"%d" % n, outcome(n)) for n in range(50, 100)]
        kafka.put(names["topic"], [*more, (b"z", outcome(10**20))])
        with process(home, *command, "--metrics-port", str(port := free_port())) as collector:
            until(lambda: len(set(recorded())) == 100, 90)
            until(lambda: len(kafka.all(names["rejected"])) >= 3)
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            assert 'aboveboard_collector_rejected_total{code="not-found"} 1.0' in metrics
            collector.terminate()
            assert collector.wait(30) == 0
        assert len(recorded()) == 100, "each once, although fifty or more came twice"
        first = log.find(Query(decision_id=f"dec-{0:026d}", kind="outcome-recorded/1"), actor="me", purpose="test")
        event = log.read(first[0].index, actor="me", purpose="test")
        assert isinstance(event, events.OutcomeRecorded)
        assert (event.label, event.subject) == ("repaid", "sub-0")
    rejected = {key: headers["problem"] for key, _, headers in kafka.all(names["rejected"])}
    assert rejected == {b"x": b"not-json", b"y": b"request-refused", b"z": b"not-found"}


def test_what_cannot_work_is_said_at_once(kafka: KafkaServer, topics: dict[str, str], tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home", tmp_path)
    missing = shell.run("events", "relay", "--brokers", kafka.brokers, "--topic", "no.such.topic")
    assert missing.returncode == 66, missing.stderr
    assert "no.such.topic" in missing.stderr
    away = shell.run("events", "relay", "--brokers", f"127.0.0.1:{free_port()}")
    assert away.returncode == 74, away.stderr
    (tmp_path / "client.properties").write_text("sasl.password=s3cr3t\nno.such.setting=1\n")
    wrong = shell.run("events", "relay", "--brokers", kafka.brokers, "--properties", tmp_path / "client.properties")
    assert wrong.returncode == 64, wrong.stderr
    assert "s3cr3t" not in wrong.stderr
    assert not (shell.home / "audit").exists()


def test_a_relay_waits_for_brokers_that_are_away(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with AuditLog.open(home / "audit", keys=home / "keys", origin=ORIGIN, writer="test") as log:
        write(log, 0, 20)
    with kafka_server(tmp_path) as first:
        first.make(TOPICS[0])
        port = str(free_port())
        with process(home, "events", "relay", "--brokers", first.brokers, "--metrics-port", port) as relay:
            url = f"http://127.0.0.1:{port}/metrics"
            until(lambda: "aboveboard_relay_position 20.0" in httpx.get(url).text)
            first.kill()
            with AuditLog.open(home / "audit", keys=home / "keys", origin=ORIGIN, writer="test") as log:
                write(log, 20, 40)
            until(lambda: re.search(r'failures_total\{code="storage-failed"\} [1-9]', httpx.get(url).text), 90)
            probes = url.removesuffix("metrics")
            assert (httpx.get(probes + "livez").status_code, httpx.get(probes + "readyz").status_code) == (200, 503)
            assert "aboveboard_relay_lag_entries 20.0" in httpx.get(url).text
            with kafka_server(tmp_path, port=first.port) as second:
                second.make(TOPICS[0])
                until(lambda: "aboveboard_relay_position 40.0" in httpx.get(url).text, 90)
                until(lambda: httpx.get(probes + "readyz").status_code == 200)
                assert {json.loads(value)["id"] for _, value, _ in second.all(TOPICS[0])} == {
                    str(n) for n in range(20, 40)
                }
                relay.terminate()
                assert relay.wait(60) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
