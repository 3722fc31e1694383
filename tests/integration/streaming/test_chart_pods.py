"""Relay and collector as the chart starts them: command line, environment, mounts and rights, against real servers.

Kafka behind mutual TLS with Secrets as Strimzi makes them, PostgreSQL, the log's keys as the documents say.
Containers are killed at any moment and started again.
"""

from __future__ import annotations

import itertools
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit import AuditLog, Query
from aboveboard.audit.location import open_log
from aboveboard.settings import Home, LogSettings
from aboveboard.streaming.kafka import KafkaSettings
from aboveboard.streaming.relay import ROUND
from tests.audit_cases import decision
from tests.chart_cases import merged, render, value_sets
from tests.integration.serving.test_server_tls import certificate
from tests.integration.streaming.test_kafka_tls import tls_proxy
from tests.kafka_server import KafkaServer, kafka_server
from tests.pod_sandbox import Pod, pods
from tests.postgres_server import new_database, running_postgres

ORIGIN = "bank.example/eu"
DECISIONS, OUTCOMES, REJECTED = "aboveboard.decisions", "aboveboard.outcomes", "aboveboard.outcomes.rejected"
METRICS = 9464


@dataclass
class Cluster:
    """What a namespace has: brokers, a database, the Secrets; and a decision server's own log."""

    kafka: KafkaServer
    log: AuditLog
    values: dict[str, Any]
    secrets: dict[str, dict[str, bytes]]
    shared: list[Path]
    directory: Path
    written: int = 0

    def write(self, count: int) -> None:
        """Decide so often, and put the decisions in order."""
        numbers = range(self.written, self.written + count)
        self.log.append_all([decision(n, f"sub-{n % 50}", decision_id=decision_id(n)) for n in numbers])
        self.log.take_in()
        self.written += count

    @contextmanager
    def running(self, part: str) -> Iterator[list[Pod]]:
        """Run every pod of a Deployment of the chart, ready."""
        [workload] = [
            document
            for document in render(self.values)
            if document["kind"] == "Deployment" and document["metadata"]["name"] == f"aboveboard-{part}"
        ]
        with pods(workload, self.secrets, self.directory, shared=self.shared) as made:
            for pod in made:
                pod.start()
            for pod in made:
                pod.wait_until_ready()
            yield made


def decision_id(number: int) -> str:
    return f"dec-{number:026d}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("confluent_kafka")
    pytest.importorskip("psycopg")
    authority = certificate(tmp_path, "authority")
    for name in ("server", "relay", "collector"):
        certificate(tmp_path, name, authority)
    keys = tmp_path / "keys"
    where = {"ABOVEBOARD_LOG_KEYS": str(keys)}
    # Names decide in which Secret things are; everything else is the chart's default.
    mutual = {
        name: {
            "user.crt": (tmp_path / f"{name}.pem").read_bytes(),
            "user.key": (tmp_path / f"{name}.key").read_bytes(),
            "user.p12": b"not looked at",
        }
        for name in ("relay", "collector")
    }
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    test_user = KafkaSettings(
        f"127.0.0.1:{port}", tmp_path / "authority.pem", tmp_path / "relay.pem", tmp_path / "relay.key"
    )
    with (
        running_postgres() as server,
        kafka_server(tmp_path, advertised=port, client=test_user.configuration()) as kafka,
        tls_proxy(tmp_path, listener, kafka.port),
    ):
        server.root.chmod(0o755)  # the network between pods and the database
        url = new_database(server.url)
        settings = LogSettings.from_environment({**where, "ABOVEBOARD_LOG_DATABASE": url})
        kafka.make(DECISIONS, OUTCOMES, REJECTED)
        with open_log(Home(tmp_path / "server"), settings, origin=ORIGIN, writer="server") as log:
            secrets = {
                "aboveboard-postgresql-app": {"uri": url.encode(), "password": b"not looked at"},
                "log-keys": {path.name: path.read_bytes() for path in keys.iterdir() if path.is_file()},
                "cluster-ca-cert": {"ca.crt": (tmp_path / "authority.pem").read_bytes()},
                # Tansu lets a group begin after half a session's timeout.
                "hurry": {"client.properties": b"session.timeout.ms = 2000\nheartbeat.interval.ms = 500\n"},
                **mutual,
            }
            values = merged(
                value_sets()["streaming-elsewhere"],
                {
                    "log": None,
                    "streaming": {
                        "brokers": f"127.0.0.1:{port}",
                        "authoritySecret": "cluster-ca-cert",
                        "propertiesSecret": "hurry",
                        "relay": {"replicas": 2, "mode": "structured", "topic": DECISIONS, "userSecret": "relay"},
                        "collector": {"replicas": 2, "group": OUTCOMES, "userSecret": "collector"},
                        "log": {"databaseSecret": "aboveboard-postgresql-app", "keysSecret": "log-keys"},
                    },
                },
            )
            directory = tmp_path / "pods"
            directory.mkdir()
            yield Cluster(kafka, log, values, secrets, [server.root], directory)


def until(condition: Callable[[], Any], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_relays_are_killed_again_and_again_and_every_decision_arrives(cluster: Cluster) -> None:
    rng, kills = random.Random(11), 0  # noqa: S311
    with cluster.running("relay") as relays:
        assert all(pod.well("livenessProbe") for pod in relays)
        for _ in range(6):
            for _ in range(rng.randrange(1, 4)):
                cluster.write(700)
            victim = rng.choice(relays)
            time.sleep(rng.random())
            victim.kill()
            kills += 1
            cluster.write(300)
            victim.start()
        for pod in relays:
            pod.wait_until_ready()
        position = f"aboveboard_relay_position {float(cluster.written)}"
        until(lambda: any(position in (pod.get("/metrics", METRICS) or "") for pod in relays))
        largest = max(pod.peak_memory() for pod in relays)
        assert largest < 256 << 20, "the memory that the chart asks for is enough"
        assert [pod.stop() for pod in relays] == [0, 0]
    sent = [json.loads(value) for _, value, _ in cluster.kafka.all(DECISIONS)]
    first: dict[str, dict[str, Any]] = {}
    for event in sent:
        assert first.setdefault(event["id"], event) == event, "a duplicate is the same"
    assert {event["subject"] for event in first.values()} == {decision_id(n) for n in range(cluster.written)}
    assert {event["source"] for event in first.values()} == {ORIGIN}
    assert len(first) == cluster.written
    assert len(sent) - len(first) <= kills * ROUND, "no more than a round comes again"
    order = [int(number) for number in first]
    descents = sum(after < before for before, after in itertools.pairwise(order))
    assert descents <= 2, "in the log's order in each of three partitions"


def outcome(number: int) -> bytes:
    return json.dumps({"decision_id": decision_id(number), "label": "repaid", "observed": "2026-11-20"}).encode()


def test_collectors_are_killed_and_each_outcome_is_recorded_once(cluster: Cluster) -> None:
    cluster.write(600)

    def recorded() -> list[str | None]:
        cluster.log.take_in()
        found = cluster.log.find(Query(kind="outcome-recorded/1", limit=2000), actor="me", purpose="test")
        return [entry.decision_id for entry in found]

    def put(start: int, end: int) -> None:
        cluster.kafka.put(OUTCOMES, [(b"%d" % n, outcome(n)) for n in range(start, end)])

    put(0, 300)
    # The largest that a broker takes, which with headers it does not take again; it must not stop what is behind it.
    largest = b"[" + b"1," * 480_000 + b"1]"
    cluster.kafka.put(OUTCOMES, [(b"junk", b"no outcome"), (b"large", largest)])
    with cluster.running("collector") as collectors:
        until(recorded)
        collectors[0].kill()
        put(250, 600)
        collectors[0].start()
        for pod in collectors:
            pod.wait_until_ready()
        until(lambda: len(set(recorded())) == 600)
        until(lambda: len(cluster.kafka.all(REJECTED)) >= 2)
        assert max(pod.peak_memory() for pod in collectors) < 256 << 20
        assert [pod.stop() for pod in collectors] == [0, 0]
    assert len(recorded()) == 600, "each once, although some came twice"
    rejected = {key: (headers, value) for key, value, headers in cluster.kafka.all(REJECTED)}
    assert set(rejected) == {b"junk", b"large"}
    assert rejected[b"junk"][0]["problem"] == b"not-json"
    headers, value = rejected[b"large"]
    assert headers["size"] == str(len(b"large") + len(largest)).encode()
    assert largest.startswith(value)
