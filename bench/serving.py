"""The decision server as a user starts it, driven over loopback with 16 connections: wrk, or a client of our own.

Every decision is scored, explained where it is not favourable, sealed, journalled and counted. Whatever else the
machine does shows in the figures, and so does its disk: the same is measured once with the log in memory.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from aboveboard.audit import AuditLog
from aboveboard.clock import system_clock
from aboveboard.files import secret_bytes
from aboveboard.release import Keyring, ReleaseStore, Role
from aboveboard.settings import Home
from aboveboard.spec import load_spec
from aboveboard.training import run_pipeline

EXAMPLE = Path(__file__).parents[1] / "examples" / "01-credit-default"
AUTHOR, APPROVERS = "author@bank.example", ("approver@bank.example", "validator@bank.example")
ORIGIN = "aboveboard.local/log"
CONNECTIONS = 16
SECONDS = 4
REQUESTS = 4_000
"""Different requests, sent round and round."""

_SERVE = """
import json, sys
from pathlib import Path
from aboveboard.clock import system_clock
from aboveboard.serving.options import ServerOptions
from aboveboard.serving.server import serve
from aboveboard.settings import Home
serve(Home(Path(sys.argv[1])), ServerOptions(**json.loads(sys.argv[2])), actor="bench", clock=system_clock,
      on_ready=lambda url, deployment: print(url, flush=True))
"""
_WRK = """
local requests, i = {}, 0
init = function()
  for line in io.lines("%s") do
    requests[#requests + 1] = wrk.format("POST", "%s", {["Content-Type"] = "application/json"}, line)
  end
end
request = function() i = i %% #requests + 1; return requests[i] end
done = function(summary, latency)
  io.write(string.format("RESULT %%d %%d %%f %%f %%f\\n", summary.requests, summary.errors.status,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """What a client saw."""

    answered: int
    failed: int
    seconds: float
    p50: float
    p99: float


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        home, digest = released(directory / "made")
        bodies = requests(directory)
        memory = Path("/dev/shm")  # noqa: S108  a file system without a disk, where there is one
        print(f"{'':44} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs':>8} {'RSS MB':>8} {'ready s':>8}")
        for name, path, where, options in (
            ("plain prediction, inference protocol", "/v2/models/credit-default/infer", directory, {}),
            ("decision: explained, journalled, counted", "/v1/decisions", directory, {}),
            ("the same, every request through ASGI", "/v1/decisions", directory, {"lane": False}),
            ("the same, log in memory: no disk to wait for", "/v1/decisions", memory, {}),
        ):
            if not where.is_dir():
                continue
            with tempfile.TemporaryDirectory(dir=where) as served:
                for part in ("keys", "releases"):
                    shutil.copytree(home.root / part, Path(served) / part)
                with running(Home(Path(served)), release=digest, **options) as (url, ready):
                    drive(url, path, bodies[path], seconds=1)  # what is used first is made first
                    before = counters(url)
                    load = drive(url, path, bodies[path], seconds=SECONDS)
                    after = counters(url)
            cpu = 1e6 * (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]) / load.answered
            resident = after["process_resident_memory_bytes"] / 1e6
            print(
                f"{name:44} {load.answered / load.seconds:10,.0f} {load.p50:8.2f} {load.p99:8.2f} {cpu:8.0f}"
                f" {resident:8.0f} {ready:8.2f}" + (f"  {load.failed} FAILED" if load.failed else "")
            )


def released(root: Path) -> tuple[Home, str]:
    """Take the example the whole road and return where it is and the digest of its release."""
    home = Home(root)
    keys, now = Keyring(home.keys), system_clock()
    keys.ensure(AUTHOR, [Role.AUTHOR], at=now)
    for approver in APPROVERS:
        keys.ensure(approver, [Role.APPROVER, Role.VALIDATOR], at=now)
    store = ReleaseStore(home.releases, keys=keys, clock=system_clock)
    with AuditLog.open(home.audit, keys=home.keys, origin=ORIGIN, clock=system_clock, writer="bench") as log:
        run = run_pipeline(
            EXAMPLE / "model.yaml",
            home=home,
            log=log,
            token_key=secret_bytes(home.subject_key),
            actor=AUTHOR,
            clock=system_clock,
            trials=0,
        )
    release = store.create(run.directory, author=AUTHOR)
    for approver in APPROVERS:
        store.approve(release.digest, approver=approver)
    return home, release.digest


def requests(directory: Path) -> dict[str, Path]:
    """Write one request a line for each path, and return where they are."""
    spec = load_spec(EXAMPLE / "model.yaml").spec
    frame = pl.read_parquet(EXAMPLE / spec.data.source.path).head(REQUESTS)
    decisions, predictions = directory / "decisions.txt", directory / "predictions.txt"
    names = [feature.name for feature in spec.features]
    with decisions.open("w") as decide, predictions.open("w") as predict:
        for number, row in enumerate(frame.to_dicts()):
            cohort = {attribute.name: row[attribute.column] for attribute in spec.protected}
            features = {name: row[name] for name in names}
            decision = {"subject": f"client-{number}", "locale": "en", "features": features, "cohort": cohort}
            inputs = [{"name": n, "shape": [1], "datatype": "INT64", "data": [row[n]]} for n in names]
            decide.write(json.dumps(decision, separators=(",", ":")) + "\n")
            predict.write(json.dumps({"inputs": inputs}, separators=(",", ":")) + "\n")
    return {"/v1/decisions": decisions, "/v2/models/credit-default/infer": predictions}


@contextmanager
def running(home: Home, **options: Any) -> Iterator[tuple[str, float]]:
    """Run a server; yield its URL and the seconds until it was ready."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(home.root), json.dumps({"port": 0, **options})],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        yield url, time.perf_counter() - begun
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    finally:
        process.kill()
        process.communicate()


def counters(url: str) -> dict[str, float]:
    """Return what the server says of its process."""
    lines = [line.split() for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith("process_")]
    return {name: float(value) for name, value in lines}


def drive(url: str, path: str, bodies: Path, *, seconds: int) -> Load:
    """Send the requests in `bodies` over and over, by wrk where it is installed."""
    if shutil.which("wrk") is None:
        return asyncio.run(_drive(url, path, bodies.read_bytes().splitlines(), seconds))
    script = bodies.with_suffix(".lua")
    script.write_text(_WRK % (bodies, path))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", str(script), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said something else: {said}")
    answered, failed, *rest = found.groups()
    return Load(int(answered), int(failed), *map(float, rest))


async def _drive(url: str, path: str, bodies: list[bytes], seconds: int) -> Load:
    host, port = url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
    sent = [head.encode() + b"%d\r\n\r\n%b" % (len(body), body) for body in bodies]
    latencies: list[float] = []
    failed = 0
    begun = time.perf_counter()

    async def work(first: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(host, int(port))
        number = first
        while (now := time.perf_counter()) - begun < seconds:
            writer.write(sent[number % len(sent)])
            answer = await reader.readuntil(b"\r\n\r\n")
            length = answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            latencies.append(1e3 * (time.perf_counter() - now))
            failed += not answer.startswith(b"HTTP/1.1 200")
            number += CONNECTIONS
        writer.close()

    await asyncio.gather(*map(work, range(CONNECTIONS)))
    took = time.perf_counter() - begun
    return Load(
        len(latencies), failed, took, statistics.median(latencies), statistics.quantiles(latencies, n=100)[98]
    )
