"""Decision requests that never stop coming, over connections that find another server when theirs is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aboveboard.audit import Query
from aboveboard.settings import Home
from tests.integration.serving.process import HEAD, Released, Server, open_log

CONNECTIONS = 16
PAUSE_SECONDS = 0.02
"""Between an answer and the next request of a connection: servers that start meanwhile need the processor, too."""


@dataclass
class Traffic:
    """What the clients know: where servers are, and what came of their requests."""

    ports: list[int]
    """Where a new connection goes, as a load balancer has it: the first that listens."""
    decided: list[str] = field(default_factory=list)
    """The ids of all decisions that were answered."""
    statuses: Counter[int] = field(default_factory=Counter)
    cut: int = 0
    """Answers that broke off in their middle."""
    retried: int = 0
    """Requests whose connection was closed before a byte of an answer, sent again elsewhere."""
    _ends: bool = False

    async def work(self, bodies: list[bytes]) -> None:
        """Ask, one request after another; one that got no answer is asked again until it has one."""
        number = 0
        while not self._ends:
            reader, writer = await self._connect()
            try:
                while not self._ends:
                    body = bodies[number % len(bodies)]
                    writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                    await writer.drain()
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                    length = int(head.split("content-length: ")[1].split("\r\n")[0])
                    try:
                        answer = json.loads(await reader.readexactly(length))
                    except asyncio.IncompleteReadError:
                        self.cut += 1
                        raise
                    status = int(head.split()[1])
                    self.statuses[status] += 1
                    if status == 200:
                        self.decided.append(answer["decision_id"])
                        number += 1
                        await asyncio.sleep(PAUSE_SECONDS)
                    if "connection: close" in head:
                        break
            except asyncio.IncompleteReadError as error:
                self.cut += bool(error.partial)
                self.retried += 1
            except ConnectionError:
                self.retried += 1
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            for port in list(self.ports):
                with contextlib.suppress(ConnectionError):
                    return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.01)
        raise TimeoutError("no server came back")

    def end(self) -> None:
        """Ask no more, once what is under way is answered."""
        self._ends = True


@asynccontextmanager
async def traffic(released: Released, *ports: int) -> AsyncIterator[Traffic]:
    """Keep asking while the block runs; then wait for the answers that are due."""
    made = Traffic(list(ports))
    shares = [released.clients[first::CONNECTIONS] for first in range(CONNECTIONS)]
    tasks = [asyncio.create_task(made.work([json.dumps(client).encode() for client in share])) for share in shares]
    try:
        yield made
    finally:
        made.end()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def until(condition: Callable[[], object], *, seconds: float = 120) -> None:
    """Wait until a condition holds, while the traffic goes on."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        await asyncio.sleep(0.02)


def processes(server: Server) -> dict[str, int]:
    """Return the processes below a server that have a name of their own: workers, and the keeper of the log."""
    found: dict[str, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            if int(rest.split()[1]) == server.process.pid and rest.split()[0] != "Z":
                found[name] = int(path.parent.name)
    return found


def kill(*pids: int) -> None:
    """End processes as the kernel does when memory runs out: at once."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def logged(home: Home) -> list[str]:
    """Return the ids of all decisions in the log of a server that has ended; the log must be sound."""
    with open_log(home) as log:
        log.publish()
        assert log.fsck().clean
        entries = log.find(Query(kind="decision/1", limit=100_000), actor="me", purpose="test")
    return [entry.decision_id or "" for entry in entries]
