"""Requests at a fixed rate, whatever the server makes of it: a process of its own, without anything of ours.

`open_loop.py` reads a job from standard input and writes what it saw to standard output, both as JSON. Requests
fall due as those of independent clients do (a Poisson process with a fixed seed), and a latency is counted from the
moment its request was *due*: where the server stalls, everything that should have been asked meanwhile has waited,
too. wrk and other closed loops stop asking instead, and so hide it ("coordinated omission", Tene 2013).

A plain `select` loop, because its time-outs are finer than the milliseconds that epoll and libuv count in.
"""

from __future__ import annotations

import gc
import json
import random
import select
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path

PLACEHOLDER = b"@@@@@@@@@@"
"""Stands in a request for a number that no other request has, as wide as this."""
PATIENCE_SECONDS = 30.0
"""How long after the last request was due an answer is still waited for."""


@dataclass(frozen=True)
class Job:
    """What to ask, of whom and how often."""

    host: str
    port: int
    path: str
    bodies: str
    """A file with one JSON document a line; they are sent round and round."""
    rate: float
    """Requests per second."""
    seconds: float
    connections: int
    first: int = 0
    """The first number put in the place of a placeholder."""


@dataclass(frozen=True)
class Seen:
    """What came of it. Latencies in milliseconds, of answers with status 200, from when their requests were due."""

    offered: int
    answered: int
    refused: int
    """Answers with status 503: the server says that it has too much to do."""
    failed: int
    """Other answers, and connections that broke."""
    achieved: float
    """Answers per second, until the last had come."""
    p50: float
    p99: float
    p999: float
    largest: float
    busy: float
    """The share of one core that this process used: near 1, it is the client that was measured."""


class _Connection:
    __slots__ = ("buffer", "due", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.buffer = b""
        self.due = 0.0
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)


def status_of(answer: bytes) -> int | None:
    """Return the status of an HTTP answer, or None while it is not whole."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return None
    at = answer.find(b"content-length: ", 0, end) + 16
    length = int(answer[at : answer.index(b"\r", at)])
    return int(answer[9:12]) if len(answer) >= end + 4 + length else None


def rendered(job: Job) -> list[bytes]:
    """Return the requests as they are sent."""
    head = f"POST {job.path} HTTP/1.1\r\nHost: {job.host}\r\nContent-Type: application/json\r\nContent-Length: "
    return [
        head.encode() + b"%d\r\n\r\n%b" % (len(body), body) for body in Path(job.bodies).read_bytes().splitlines()
    ]


def offer(job: Job) -> Seen:
    """Send requests as they fall due, each on a connection that is free, and time the answers."""
    clock = time.perf_counter
    requests = rendered(job)
    gaps = random.Random(1)  # noqa: S311  arrivals, not secrets
    address = (job.host, job.port)
    connections = {made.socket.fileno(): made for made in (_Connection(address) for _ in range(job.connections))}
    free = deque(connections.values())
    busy: dict[int, _Connection] = {}
    waiting: deque[float] = deque()
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    offered = sent = 0
    gc.disable()
    used = time.process_time()
    start = last = clock()
    ends, next_due = start + job.seconds, start
    while True:
        now = clock()
        while next_due <= now and next_due < ends:
            waiting.append(next_due)
            offered += 1
            next_due += gaps.expovariate(job.rate)
        while waiting and free:
            connection = free.popleft()
            request = requests[sent % len(requests)].replace(PLACEHOLDER, b"%010d" % (job.first + sent))
            sent += 1
            connection.due = waiting.popleft()
            connection.socket.send(request)  # a few hundred bytes into an empty buffer: always whole
            busy[connection.socket.fileno()] = connection
        done = next_due >= ends and not waiting
        if (done and not busy) or now > ends + PATIENCE_SECONDS:
            break
        readable, _, _ = select.select(list(busy), (), (), 1.0 if done else max(0.0, next_due - clock()))
        for number in readable:
            connection = busy[number]
            try:
                received = connection.socket.recv(65536)
            except ConnectionError:
                received = b""
            last = clock()
            if received:
                connection.buffer += received
                status = status_of(connection.buffer)
                if status is None:
                    continue
                if status == 200:
                    latencies.append(last - connection.due)
            else:
                status = 0
            statuses[status] += 1
            del busy[number]
            if not received or b"\r\nconnection: close\r\n" in connection.buffer:
                connection.socket.close()
                connection = _Connection(address)
            connection.buffer = b""
            free.append(connection)
    used = time.process_time() - used
    took = max(last - start, job.seconds)
    latencies.sort()

    def percentile(share: float) -> float:
        return 1e3 * latencies[min(int(share * len(latencies)), len(latencies) - 1)] if latencies else 0.0

    return Seen(
        offered=offered,
        answered=statuses[200],
        refused=statuses[503],
        failed=offered - statuses[200] - statuses[503],
        achieved=statuses[200] / took,
        p50=percentile(0.5),
        p99=percentile(0.99),
        p999=percentile(0.999),
        largest=percentile(1),
        busy=used / took,
    )


if __name__ == "__main__":
    json.dump(asdict(offer(Job(**json.load(sys.stdin)))), sys.stdout)
