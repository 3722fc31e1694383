"""Convergence from nothing, a restart, rest, and one change among many: time, requests, CPU and memory of each."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.cluster_releases import release
from tests.release_cases import Bank

_TICKS = os.sysconf("SC_CLK_TCK")
_RELEASES = 20
"""Different releases among the services; verifying one is the same work for however many services."""
_PATH = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/decisionservices"
_WRITES = ("PATCH", "PUT", "POST", "DELETE")


@dataclass(frozen=True)
class Phase:
    """What one phase took."""

    name: str
    services: int
    seconds: float
    operator: float
    """Seconds of CPU of the operator."""
    server: float
    asked: Counter[str]
    resident: int
    """Bytes the operator held at most."""

    def line(self) -> str:
        """Return a row of the table."""
        writes = sum(count for what, count in self.asked.items() if what.split()[0] in _WRITES)
        reads = self.asked.total() - writes
        each = self.operator / self.services * 1000
        return (
            f"{self.name:<24} {self.seconds:>8.1f} {self.operator:>10.1f} {each:>10.2f} {self.server:>8.1f}"
            f" {reads / self.services:>8.2f} {writes / self.services:>8.2f} {self.resident / 2**20:>8.0f}"
        )


class Watched:
    """Both processes, as seen from outside."""

    def __init__(self, url: str, server: int, port: int) -> None:
        self.url = url
        self.server = server
        self.port = port
        self.client = httpx.Client(timeout=60)

    def ready(self) -> int:
        """Return how many services the API server knows to be ready."""
        return int(self.client.get(f"{self.url}/bench/counts").json()["ready"])

    def asked(self) -> Counter[str]:
        """Return how many requests there were, by kind."""
        counts: Counter[str] = Counter(self.client.get(f"{self.url}/bench/counts").json()["asked"])
        return counts

    def looks(self) -> float:
        """Return how many services the operator has looked at and found settled."""
        try:
            text = self.client.get(f"http://127.0.0.1:{self.port}/metrics").text
        except httpx.HTTPError:
            return 0
        name = 'aboveboard_operator_reconciliations_total{result="settled"} '
        return next((float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name)), 0)

    def phase(self, name: str, services: int, operator: int, until: Callable[[], bool]) -> Phase:
        """Measure until something holds."""
        begun, mine, its, before = time.perf_counter(), cpu(operator), cpu(self.server), self.asked()
        while not until():
            time.sleep(0.25)
            if Path(f"/proc/{operator}/stat").read_text(encoding="ascii").split()[2] == "Z":
                sys.exit("the operator ended")
        return Phase(
            name,
            services,
            time.perf_counter() - begun,
            cpu(operator) - mine,
            cpu(self.server) - its,
            self.asked() - before,
            resident(operator),
        )


def main(quick: bool = False, size: int | None = None) -> None:
    """Print the table."""
    count = size or (100 if quick else 300)
    with tempfile.TemporaryDirectory(prefix="bench-operator-") as name:
        bank = Bank(Path(name))
        digests = [release(bank, f"run-{number:02d}") for number in range(_RELEASES)]
        with crowd(count, digests) as (url, server):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            world = Watched(url, server, port)
            print(
                f"{count} services, {_RELEASES} releases; the API server is a stand-in in Python on the same machine"
            )
            title = ("phase", "seconds", "CPU s", "CPU ms/svc", "API CPU", "reads/s.", "writes/s.", "RSS MiB")
            print("{:<24} {:>8} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}".format(*title))
            with operator(url, bank.root, port) as pid:
                print(world.phase("from nothing", count, pid, lambda: world.ready() >= count).line())
                print(world.phase("until all are settled", count, pid, lambda: world.looks() >= count).line())
                time.sleep(15)
                print(world.phase("a minute at rest", count, pid, _after(20 if quick else 60)).line())
            with operator(url, bank.root, port) as pid:
                done = world.phase("restart", count, pid, lambda: world.looks() >= count)
                print(done.line())
                written = {what: n for what, n in done.asked.items() if what.split()[0] in _WRITES}
                print(f"  written at the restart: {written}")
                time.sleep(15)
                spans = [_change(world, number, digests) for number in range(9)]
                print(f"one change among them: {statistics.median(spans) * 1000:.0f} ms until it is applied (median)")


@contextmanager
def crowd(count: int, releases: list[str]) -> Iterator[tuple[str, int]]:
    """Run the API server; yield its URL and process."""
    command = [sys.executable, "-m", "bench.operator.crowd", str(count), *releases]
    with _ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        yield (process.stdout.readline().strip() if process.stdout is not None else ""), process.pid


@contextmanager
def operator(url: str, home: Path, port: int) -> Iterator[int]:
    """Run an operator; yield its process."""
    command = [sys.executable, "-m", "bench.operator.process", url, str(home), str(port)]
    with _ended(subprocess.Popen(command, text=True)) as process:
        yield process.pid


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """Return the most memory a process has held, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _change(world: Watched, number: int, digests: list[str]) -> float:
    name = f"loans-{number:05d}"
    body = {"spec": {"objectives": {"p99Milliseconds": 200}, "resources": {"cpu": "2", "memory": "1Gi"}}}
    path = f"{world.url}/apis/apps/v1/namespaces/lending/statefulsets/{name}"
    before = world.client.get(path).json()["metadata"]["generation"]
    begun = time.perf_counter()
    headers = {"Content-Type": "application/merge-patch+json"}
    world.client.patch(f"{world.url}{_PATH}/{name}", json=body, headers=headers).raise_for_status()
    while world.client.get(path).json()["metadata"]["generation"] == before:
        time.sleep(0.02)
        if time.perf_counter() - begun > 120:
            sys.exit(f"a change of {name} was not applied")
    return time.perf_counter() - begun


def _after(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end
