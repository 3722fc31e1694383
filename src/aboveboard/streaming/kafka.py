"""Kafka itself, through librdkafka: sending so that nothing is lost, and taking so that nothing is skipped.

Only this module imports `confluent_kafka`, which comes with the extra `kafka`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aboveboard.errors import Misuse, NotFound, StorageFailed
from aboveboard.files import storage_errors
from aboveboard.streaming.cloudevent import Message
from aboveboard.streaming.collector import Received

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer
    from confluent_kafka import Message as Delivered

SEND_SECONDS: Final = 30.0
"""How long brokers may take to store a message before the attempt counts as failed."""
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 15.0
"""Without a message after which the brokers are asked whether they are there."""
_BATCH_BYTES: Final = 8 << 20
"""After which a batch is full, whatever its number of messages."""
_AT_ONCE: Final = 32

_log = logging.getLogger("aboveboard.streaming.kafka")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How the brokers are reached."""

    brokers: str
    """`host:port`, several with commas between them."""
    authority: Path | None = None
    """Whose certificates the brokers have, PEM; with it, TLS is spoken."""
    certificate: Path | None = None
    """Our own certificate, PEM: mutual TLS."""
    certificate_key: Path | None = None
    properties: Path | None = None
    """A file of further settings in librdkafka's own names, `name=value` on each line; it may hold a password."""

    def configuration(self) -> dict[str, Any]:
        """Return librdkafka's configuration. Raises `NotFound` and `Misuse` for files that cannot be used."""
        if (self.certificate is None) != (self.certificate_key is None):
            raise Misuse("a certificate and its key go together", hint="name both")
        found: dict[str, Any] = {"client.id": "aboveboard", **_properties(self.properties)}
        paths = {
            "ssl.ca.location": self.authority,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.certificate_key,
        }
        for name, path in paths.items():
            if path is not None:
                if not path.is_file():
                    raise NotFound(f"{path}: there is no such file", hint="is the secret mounted?")
                found[name] = str(path)
        if any(paths.values()):
            found.setdefault("security.protocol", "ssl")
        found["bootstrap.servers"] = self.brokers
        return found

    def state(self) -> tuple[tuple[int, ...] | None, ...]:
        """Return what differs once a file is another; librdkafka reads them only when a client is made."""
        return tuple(
            _state(path) for path in (self.authority, self.certificate, self.certificate_key, self.properties)
        )


class Sender:
    """Sends messages to one topic; idempotent, and acknowledged by all replicas in sync.

    Certificates, and what else is in the files of the settings, may change meanwhile.
    """

    def __init__(self, settings: KafkaSettings, topic: str, *, seconds: float = SEND_SECONDS) -> None:
        self._settings = settings
        self._topic = topic
        self._seconds = seconds
        self._producer: Producer | None = self._made()

    def configuration(self) -> dict[str, Any]:
        """Return librdkafka's configuration of a producer. Raises as `KafkaSettings.configuration` does."""
        return {
            **self._settings.configuration(),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "lz4",
            "delivery.timeout.ms": int(self._seconds * 1000),
        }

    def send(self, messages: Sequence[Message]) -> None:
        """Return once the brokers have all messages. Raises `StorageFailed`; then some may be there."""
        if not messages:
            return
        from confluent_kafka import KafkaException

        if self._producer is not None and self._state != self._settings.state():
            self._discard()  # nothing is under way between two calls
        if self._producer is None:
            self._producer = self._made()
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Delivered) -> None:
            if error is not None:
                failed.append(error)

        deadline = time.monotonic() + self._seconds + 5
        producer = self._producer
        try:
            for key, value, headers in messages:
                while True:
                    try:
                        producer.produce(
                            self._topic, key=key, value=value, headers=list(headers), on_delivery=delivered
                        )
                        break
                    except BufferError:
                        producer.poll(0.1)  # its queue is full: let it send
                        if time.monotonic() > deadline:
                            raise StorageFailed("Kafka takes nothing", hint="check the brokers") from None
                producer.poll(0)
            left = producer.flush(max(0.1, deadline - time.monotonic()))
        except KafkaException as error:
            self._discard()
            raise _failure(error.args[0], self._topic) from None
        except BaseException:
            self._discard()
            raise
        if failed or left:
            # What is still under way may arrive yet; a producer of its own for the next attempt keeps the order.
            self._discard()
            raise _failure(failed[0] if failed else None, self._topic)

    def close(self) -> None:
        """Let go of the connections."""
        self._discard()

    def _made(self) -> Producer:
        from confluent_kafka import Producer

        self._state = self._settings.state()
        producer: Producer = _client(Producer, self.configuration())
        return producer

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(in_queue=True, in_flight=True, blocking=False)
            producer.poll(0)


class Source:
    """Takes messages from one topic as a member of a consumer group; offsets are committed only when told.

    Certificates, and what else is in the files of the settings, may change meanwhile.
    """

    def __init__(self, settings: KafkaSettings, topic: str, group: str, *, silence: float = _SILENCE_SECONDS) -> None:
        self._settings = settings
        self._topic = topic
        self._group = group
        self._silence = silence
        self._consumer = self._made()
        self._consumer.subscribe([topic])

    def poll(self, limit: int, seconds: float) -> list[Received]:
        """Return up to `limit` messages, fewer where they are large, waiting at most `seconds` for them.

        Raises `StorageFailed`, also when nothing comes because nobody answers, and `NotFound` and `Misuse` as
        `KafkaSettings.configuration` does.
        """
        if self._state != self._settings.state():
            renewed = self._made()
            self._consumer.close()
            self._consumer = renewed
            self._consumer.subscribe([self._topic])
        found: list[Received] = []
        failed: KafkaError | None = None
        room = _BATCH_BYTES
        now = time.monotonic()
        deadline = now + seconds
        while len(found) < limit and room > 0 and (not found or now < deadline):
            # Few at a time: a thousand of the largest would not fit into a container's memory.
            batch = self._consumer.consume(min(_AT_ONCE, limit - len(found)), max(0.0, deadline - now))
            for message in batch:
                error = message.error()
                if error is None:
                    partition, offset = message.partition(), message.offset()
                    assert partition is not None and offset is not None  # noqa: S101, PT018  it was received
                    key, value = _bytes(message.key()), _bytes(message.value())
                    found.append(Received(self._topic, partition, offset, key, value))
                    room -= len(key or b"") + len(value or b"")
                elif not error.retriable():
                    failed = error
            now = time.monotonic()
            if not batch:
                break
        if found:
            self._heard = now
        elif failed is not None:  # what was handed out must be dealt with first; the error comes again
            raise _failure(failed, self._topic)
        elif now - self._heard > self._silence:
            self._ask()
        return found

    def _ask(self) -> None:
        """Raise `StorageFailed` where no broker answers: the client itself only waits for them to come back."""
        from confluent_kafka import KafkaException

        try:
            self._consumer.list_topics(self._topic, timeout=_CONNECT_SECONDS)
        except KafkaException as error:
            raise _failure(error.args[0], self._topic) from None
        self._heard = time.monotonic()

    def _made(self) -> Consumer:
        from confluent_kafka import Consumer

        self._state = self._settings.state()
        self._heard = time.monotonic()
        configuration = {
            **self._settings.configuration(),
            "group.id": self._group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 2 * _BATCH_BYTES // 1024,
            "fetch.max.bytes": _BATCH_BYTES,
        }
        consumer: Consumer = _client(Consumer, configuration)
        return consumer

    def commit(self, messages: Sequence[Received]) -> None:
        """Commit the offsets after `messages`. Raises `StorageFailed`; then they come again, to whoever."""
        from confluent_kafka import KafkaException, TopicPartition

        after: dict[int, int] = {}
        for message in messages:
            after[message.partition] = max(message.offset + 1, after.get(message.partition, 0))
        offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in after.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise _failure(error.args[0], self._topic) from None

    def lags(self) -> dict[int, int]:
        """Return for each partition that is ours how many messages come after what was handed out."""
        from confluent_kafka import KafkaException

        found: dict[int, int] = {}
        with suppress(KafkaException):
            for at in self._consumer.position(self._consumer.assignment()):
                _, high = self._consumer.get_watermark_offsets(at, cached=True)
                if high >= 0:
                    found[at.partition] = max(0, high - max(0, at.offset))
        return found

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._consumer.close()


def require() -> None:
    """Raise `Misuse` where Kafka's client is not installed."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError as error:
        raise Misuse("Kafka needs the package confluent-kafka", hint="pip install 'aboveboard[kafka]'") from error


def reachable(settings: KafkaSettings, topics: Sequence[str], *, seconds: float = _CONNECT_SECONDS) -> None:
    """Raise `StorageFailed` when no broker answers, `NotFound` for a topic that is not there."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client: AdminClient = _client(AdminClient, settings.configuration())
    try:
        there = client.list_topics(timeout=seconds).topics
    except KafkaException as error:
        raise _failure(error.args[0], "") from None
    for topic in topics:
        if topic not in there:
            raise NotFound(
                f"Kafka has no topic {topic}", hint="make it first (the chart does), and let this user describe it"
            )


def _client(kind: Any, configuration: dict[str, Any]) -> Any:
    """Return a client of librdkafka. Raises `Misuse` for a setting that it does not know or cannot use."""
    from confluent_kafka import KafkaException

    try:
        return kind(configuration, logger=_log)
    except KafkaException as error:
        raise Misuse(
            f"Kafka cannot be set up: {_words(error.args[0])}", hint="check certificates and properties"
        ) from None


def _failure(error: KafkaError | None, topic: str) -> StorageFailed:
    about = f" ({topic})" if topic else ""
    said = _words(error) if error is not None else "no answer in time"
    return StorageFailed(f"Kafka{about}: {said}", hint="check the brokers, the topic and this user's rights")


def _words(error: KafkaError) -> str:
    """Return what went wrong in librdkafka's words, which hold no message and no password."""
    return str(error.str()) if hasattr(error, "str") else str(error)


def _state(path: Path | None) -> tuple[int, ...] | None:
    if path is None:
        return None
    try:
        found = path.stat()  # of what the link is to: a mounted secret changes as a whole
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _bytes(given: bytes | str | None) -> bytes | None:
    return given.encode() if isinstance(given, str) else given


def _properties(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    with storage_errors(path):
        if not path.is_file():
            raise NotFound(f"{path}: there is no such file", hint="is the secret mounted?")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            name, equals, value = text.partition("=")
            if not equals:
                raise Misuse(f"{path}:{number}: not a setting", hint="write name=value, as librdkafka names them")
            found[name.strip()] = value.strip()
    return found
