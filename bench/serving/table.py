"""What the server does in a second, what each of its parts costs, and how long requests take at fixed rates.

Every row is a server of its own with an empty log. The rows are measured in turn, several rounds of them, so that
whatever else the machine does is spread over all; printed is the median of the rounds.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aboveboard.serving.keeper import COMMAND
from aboveboard.settings import Home
from bench.audit import fsync_milliseconds
from bench.serving.closed_loop import CONNECTIONS, Load, drive
from bench.serving.example import (
    BATCH,
    BATCHES,
    DECISIONS,
    PREDICTIONS,
    certificate,
    clients_file,
    model_of,
    released,
    requests,
    variants,
)
from bench.serving.open_loop import Job, Seen
from bench.serving.server import Started, Usage, started, usage

RATES = (1_157, 5_785)
"""A hundred million decisions a day, evenly spread, and five times that."""
OPEN_CONNECTIONS = 64
_MEMORY = Path("/dev/shm")  # noqa: S108  a file system without a disk, where there is one
_HERE = Path(__file__).parent
_NOISE_SECONDS = 0.005
"""A process that has used less is not worth a figure: multiprocessing's tracker, or a supervisor that only waits."""


@dataclass(frozen=True)
class Row:
    """One way to run the server and to ask it."""

    name: str
    bodies: str
    """Which requests: one of those `requests` and `variants` write."""
    path: str = DECISIONS
    workers: int = 1
    in_memory: bool = False
    """Whether the log is on a file system without a disk."""
    each: int = 1
    """Decisions or predictions in one request."""
    options: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spent:
    """What one process of the server has used for each decision, and held at the end."""

    name: str
    microseconds: float
    megabytes: float


@dataclass(frozen=True)
class Measured:
    """What one round of a row gave."""

    load: Load
    ready: float
    spent: list[Spent]
    """By process, the busiest first."""


def main(*, quick: bool = False) -> None:
    """Print the tables."""
    seconds, held, rounds = (2, 3, 1) if quick else (3, 8, 3)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        home, digest = released(directory / "made")
        bodies = {**requests(directory), **variants(directory, model_of(home, digest))}
        print(
            f"fdatasync of 4 KiB on this disk: {fsync_milliseconds(directory):.2f} ms (median). The clients run on"
            f" this machine, too.\nMedian of runs: {rounds}. CPU and RSS are those of all processes of the server; in"
            " brackets those that do more\nthan wait, the busiest first."
        )
        rows = rows_of(directory)
        measured: dict[str, list[Measured]] = {row.name: [] for row in rows}
        seen: dict[tuple[int, int], list[Seen]] = {}
        for turn in range(rounds):
            for row in rows:
                say(f"round {turn + 1} of {rounds}: {row.name}")
                measured[row.name].append(measure(row, home, digest, bodies[row.bodies], directory, seconds))
            for workers in (1, 2):
                say(f"round {turn + 1} of {rounds}: fixed rates, workers: {workers}")
                for rate, found in at_fixed_rates(workers, home, digest, bodies[DECISIONS], directory, held):
                    seen.setdefault((workers, rate), []).append(found)
        commands = [started_by_command(home, digest, directory) for _ in range(rounds)]
        say("")
        print(f"`aboveboard serve` is ready after {statistics.median(commands):.2f} s.")
        print_closed(rows, measured)
        print_open(seen, held)
        print_client(directory, bodies[DECISIONS], held)


def rows_of(directory: Path) -> list[Row]:
    """Return what is measured: the two paths, then the second with one thing different at a time."""
    chain, key = certificate(directory)
    api_key = clients_file(directory / "clients.json")
    tls = {"certificate": str(chain), "certificate_key": str(key)}
    known = {"clients": str(directory / "clients.json")}
    bearer = {"Authorization": f"Bearer {api_key}"}
    rows = [
        Row("prediction, inference protocol", PREDICTIONS, PREDICTIONS),
        Row("the same with reasons", "explained", PREDICTIONS),
        Row("decision: explained, journalled, counted", DECISIONS),
        Row("… log in memory: no disk to wait for", DECISIONS, in_memory=True),
        Row("… every request through ASGI", DECISIONS, options={"lane": False}),
        Row("… favourable only: no reasons", "favourable"),
        Row("… adverse only: reasons for each", "adverse"),
        Row("… persons who are new to the log", "new"),
        Row("… an idempotency key with each", "keyed"),
        Row("… an API key with each", DECISIONS, options=known, headers=bearer),
        Row("… TLS, connections kept", DECISIONS, options=tls),
        Row(f"… {BATCH} in a request", "batches", BATCHES, each=BATCH),
        Row("2 workers: prediction", PREDICTIONS, PREDICTIONS, workers=2),
        Row("2 workers: decision", DECISIONS, workers=2),
        Row("2 workers: decision, log in memory", DECISIONS, workers=2, in_memory=True),
    ]
    return [row for row in rows if not row.in_memory or _MEMORY.is_dir()]


def measure(row: Row, made: Home, digest: str, bodies: Path, directory: Path, seconds: int) -> Measured:
    """Run a server for one row, drive it, and return what that gave."""
    with serving(made, digest, _MEMORY if row.in_memory else directory, workers=row.workers, **row.options) as server:

        def go(seconds: int) -> Load:
            return drive(server.url, row.path, bodies, seconds=seconds, headers=row.headers)

        go(1 if seconds < 3 else 2)  # what is used first is made first, and the keeper of the log is still starting
        before = usage(server.pid)
        load = go(seconds)
        after = usage(server.pid)
    count = load.answered * row.each
    return Measured(
        Load(count, load.failed, load.seconds, load.p50, load.p99), server.ready, spent(before, after, max(count, 1))
    )


def spent(before: dict[int, Usage], after: dict[int, Usage], count: int) -> list[Spent]:
    """Return what each process used between two moments in which `count` decisions were made."""
    nothing = Usage("", 0.0, 0)
    differences = [(now, now.cpu_seconds - before.get(pid, nothing).cpu_seconds) for pid, now in after.items()]
    return [
        Spent(now.name, 1e6 * seconds / count, now.resident_bytes / 1e6)
        for now, seconds in sorted(differences, key=lambda pair: -pair[1])
        if seconds > _NOISE_SECONDS
    ]


def at_fixed_rates(
    workers: int, made: Home, digest: str, bodies: Path, directory: Path, seconds: int
) -> Iterator[tuple[int, Seen]]:
    """Offer decisions to one server at each of the fixed rates, and yield the rate and what came of it."""
    with serving(made, digest, directory, workers=workers) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        drive(server.url, DECISIONS, bodies, seconds=1)
        for rate in RATES:
            yield rate, offered(Job(host, int(port), DECISIONS, str(bodies), rate, seconds, OPEN_CONNECTIONS))


def offered(job: Job) -> Seen:
    """Run the open-loop client in a process of its own."""
    command = [sys.executable, str(_HERE / "open_loop.py")]
    finished = subprocess.run(command, input=json.dumps(asdict(job)), capture_output=True, text=True, check=True)
    return Seen(**json.loads(finished.stdout))


def started_by_command(made: Home, digest: str, directory: Path) -> float:
    """Return the seconds that `aboveboard serve` takes until it says that it is ready."""
    with tempfile.TemporaryDirectory(dir=directory) as root:
        for part in ("keys", "releases"):
            shutil.copytree(made.root / part, Path(root) / part)
        begun = time.perf_counter()
        command = [str(Path(sys.executable).with_name("aboveboard")), "serve", digest, "--port", "0", "--json"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "ABOVEBOARD_HOME": root}
        ) as process:
            said = process.stdout.readline() if process.stdout else b""
            took = time.perf_counter() - begun
            process.terminate()
    if not said:
        raise RuntimeError("`aboveboard serve` did not start")
    return took


@contextmanager
def serving(made: Home, digest: str, where: Path, **options: Any) -> Iterator[Started]:
    """Run a server on a home of its own, with the release and an empty log."""
    with tempfile.TemporaryDirectory(dir=where) as root:
        for part in ("keys", "releases"):
            shutil.copytree(made.root / part, Path(root) / part)
        with started(Home(Path(root)), release=digest, **options) as server:
            yield server


def print_closed(rows: list[Row], measured: dict[str, list[Measured]]) -> None:
    """Print what the server does when it is asked as fast as it answers."""
    print(f"\nClosed loop, {CONNECTIONS} connections")
    print(f"{'':42} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'ready s':>8}  {'CPU µs each':<34} RSS MB")
    for row in rows:
        found = measured[row.name]

        def middle(of: Callable[[Measured], float], found: list[Measured] = found) -> float:
            return statistics.median(map(of, found))

        typical = sorted(found, key=lambda one: sum(part.microseconds for part in one.spent))[len(found) // 2].spent
        failed = sum(one.load.failed for one in found)
        cpu = whole_and_parts([(part.name, part.microseconds) for part in typical])
        resident = whole_and_parts([(part.name, part.megabytes) for part in typical])
        print(
            f"{row.name:42} {middle(lambda one: one.load.answered / one.load.seconds):10,.0f}"
            f" {middle(lambda one: one.load.p50):8.2f} {middle(lambda one: one.load.p99):8.2f}"
            f" {middle(lambda one: one.ready):8.2f}  {cpu:<34} {resident}" + (f"  {failed} FAILED" if failed else "")
        )


def print_open(seen: dict[tuple[int, int], list[Seen]], seconds: int) -> None:
    """Print how long requests take that come at a fixed rate."""
    print(
        f"\nOpen loop, {OPEN_CONNECTIONS} connections, arrivals at random, {seconds} s; latencies from the moment a "
        "request was due; the largest of all runs"
    )
    columns = ("per second", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "refused", "failed")
    print(f"{'':32} {columns[0]:>10}" + "".join(f" {column:>8}" for column in columns[1:]))
    for (workers, rate), found in sorted(seen.items()):
        print(open_row(f"{workers} worker{'s' * (workers > 1)}, {rate:,}/s offered", found))


def print_client(directory: Path, bodies: Path, seconds: int) -> None:
    """Print what the open-loop client measures where the server takes no time, and how much it can carry."""
    with subprocess.Popen(
        [sys.executable, str(_HERE / "responder.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            port = int(process.stdout.readline()) if process.stdout else 0
            for rate, length in ((RATES[-1], seconds), (100_000, 1)):
                job = Job("127.0.0.1", port, DECISIONS, str(bodies), rate, length, OPEN_CONNECTIONS)
                found = offered(job)
                print(open_row(f"the client itself, {rate:,}/s", [found]) + f"  on {found.busy:.0%} of a core")
        finally:
            process.kill()


def open_row(name: str, found: list[Seen]) -> str:
    """Return one line of the second table."""

    def middle(of: Callable[[Seen], float]) -> float:
        return statistics.median(map(of, found))

    return (
        f"{name:32} {middle(lambda one: one.achieved):10,.0f} {middle(lambda one: one.p50):8.2f}"
        f" {middle(lambda one: one.p99):8.2f} {middle(lambda one: one.p999):8.2f}"
        f" {max(one.largest for one in found):8.2f} {sum(one.refused for one in found):8}"
        f" {sum(one.failed for one in found):8}"
    )


def whole_and_parts(parts: list[tuple[str, float]]) -> str:
    """Return a sum with its parts behind it where there are several; the keeper of the log is named."""
    whole = f"{sum(value for _, value in parts):.0f}"
    named = [f"{name} {value:.0f}" if name == COMMAND else f"{value:.0f}" for name, value in parts]
    return whole if len(parts) < 2 else f"{whole} ({' + '.join(named)})"


def say(progress: str) -> None:
    """Show progress to whoever looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)
