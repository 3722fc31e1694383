"""Brokers that speak TLS and ask for a certificate, as Strimzi's do: a proxy in front of a plain one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from aboveboard.errors import StorageFailed
from aboveboard.streaming.cloudevent import Message
from aboveboard.streaming.kafka import KafkaSettings, Sender, Source, reachable
from tests.integration.serving.test_server_tls import certificate
from tests.kafka_server import kafka_server


@contextmanager
def tls_proxy(directory: Path, listener: socket.socket, target: int) -> Iterator[None]:
    """Pass on what comes over mutual TLS until the block ends."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=directory / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(directory / "server.pem", directory / "server.key")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(copy(reader, back), copy(onward, writer))

    async def run() -> None:
        server = await asyncio.start_server(serve, sock=listener, ssl=context)
        ready.set()
        while not over.is_set():
            await asyncio.sleep(0.05)
        server.close()

    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_brokers_that_ask_for_a_certificate(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka")
    authority = certificate(tmp_path, "authority")
    for name in ("server", "client"):
        certificate(tmp_path, name, authority)
    certificate(tmp_path, "stranger")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    brokers = f"127.0.0.1:{port}"
    ours = [tmp_path / name for name in ("authority.pem", "client.pem", "client.key")]
    with kafka_server(tmp_path, advertised=port) as kafka, tls_proxy(tmp_path, listener, kafka.port):
        settings = KafkaSettings(brokers, *ours)
        reachable(settings, [])
        for wrong in (
            KafkaSettings(brokers),
            KafkaSettings(brokers, ours[0]),
            KafkaSettings(brokers, tmp_path / "stranger.pem", *ours[1:]),
            KafkaSettings(brokers, ours[0], tmp_path / "stranger.pem", tmp_path / "stranger.key"),
        ):
            with pytest.raises(StorageFailed):
                reachable(wrong, [], seconds=2)
        with closing(Sender(settings, "aboveboard.decisions")) as sender:
            sender.send([Message(b"key", b"value", [])])


def test_a_certificate_is_renewed_under_running_clients(tmp_path: Path) -> None:
    """librdkafka reads certificates when a client is made: whoever keeps one for years ends with its certificate."""
    pytest.importorskip("confluent_kafka")
    authority = certificate(tmp_path, "authority")
    for name in ("server", "client"):
        certificate(tmp_path, name, authority)
    certificate(tmp_path, "stranger")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    mounted = [tmp_path / "user.crt", tmp_path / "user.key"]

    def mount(name: str) -> None:
        for path, source in zip(mounted, (f"{name}.pem", f"{name}.key"), strict=True):
            path.unlink(missing_ok=True)
            path.write_bytes((tmp_path / source).read_bytes())

    mount("stranger")
    ours = KafkaSettings(f"127.0.0.1:{port}", *(tmp_path / n for n in ("authority.pem", "client.pem", "client.key")))
    with (
        kafka_server(tmp_path, advertised=port, client=ours.configuration()) as kafka,
        tls_proxy(tmp_path, listener, kafka.port),
    ):
        kafka.make("t")
        hurry = tmp_path / "client.properties"  # Tansu lets a group begin after half a session's timeout
        hurry.write_text("session.timeout.ms = 2000\nheartbeat.interval.ms = 500\n")
        settings = KafkaSettings(f"127.0.0.1:{port}", tmp_path / "authority.pem", mounted[0], mounted[1], hurry)
        with (
            closing(Sender(settings, "t", seconds=3)) as sender,
            closing(Source(settings, "t", "g", silence=0)) as source,
        ):
            with pytest.raises(StorageFailed):
                sender.send([Message(b"key", b"value", [])])
            with pytest.raises(StorageFailed):
                source.poll(10, 0.1)
            mount("client")
            sender.send([Message(b"key", b"value", [])])
            deadline = time.monotonic() + 60
            while not (found := source.poll(10, 0.5)):
                assert time.monotonic() < deadline
            assert [message.value for message in found] == [b"value"]
