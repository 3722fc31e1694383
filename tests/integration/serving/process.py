"""A real decision server in a process of its own, and what to check its answers with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from aboveboard.audit import AuditLog
from aboveboard.clock import system_clock
from aboveboard.models import Model
from aboveboard.settings import Home


@dataclass(frozen=True)
class Released:
    """A home with two approved releases of the example, and what to check the server's answers with."""

    home: Home
    digests: tuple[str, ...]
    models: tuple[Model, ...]
    clients: list[dict[str, Any]]
    """Decision requests for held-out clients."""


@dataclass
class Server:
    """A decision server running as a process of its own."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


def launch(home: Home, *, before: Callable[[], None] | None = None, **options: Any) -> subprocess.Popen[str]:
    """Start a server's process without waiting for it; `before` is called in it first."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", Path(__file__).with_name("launch.py"), str(home.root), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=before,
    )


@contextmanager
def running(home: Home, **options: Any) -> Iterator[Server]:
    """Run a server until the block ends; it must then stop cleanly unless the block ended it itself."""
    process = launch(home, **{"port": 0, **options})
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        yield Server(process, url)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def open_log(home: Home) -> AuditLog:
    """Open the log that a server wrote, as an auditor's process beside it would."""
    return AuditLog.open(home.audit, keys=home.keys, origin="aboveboard.local/log", clock=system_clock, writer="test")


HEAD = b"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def ask_all(port: int, requests: list[dict[str, Any]], *, connections: int) -> list[dict[str, Any]]:
    """Return the answers to many decision requests, in order, sent over several connections at once."""
    answers: list[dict[str, Any]] = [{}] * len(requests)

    async def work(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(first, len(requests), connections):
            body = json.dumps(requests[number]).encode()
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(headers.split("content-length: ")[1].split("\r\n")[0])
            answers[number] = json.loads(await reader.readexactly(length))
        writer.close()

    await asyncio.gather(*(work(first) for first in range(connections)))
    return answers
