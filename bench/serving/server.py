"""A decision server as a process of its own, and what it and the processes below it use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from aboveboard.settings import Home

_SERVE = """
import json, sys
from pathlib import Path
from aboveboard.clock import system_clock
from aboveboard.serving.server import ServerOptions, serve
from aboveboard.settings import Home
options = {k: Path(v) if k in ("clients", "certificate", "certificate_key") else v
           for k, v in json.loads(sys.argv[2]).items()}
serve(Home(Path(sys.argv[1])), ServerOptions(**options), actor="bench", clock=system_clock,
      on_ready=lambda url, served: print(url, flush=True))
"""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Started:
    """A server that is ready."""

    url: str
    ready: float
    """Seconds from the start of the process until it took requests."""
    pid: int


@dataclass(frozen=True)
class Usage:
    """What one process has used since it began, and holds now."""

    name: str
    cpu_seconds: float
    resident_bytes: int


@contextmanager
def started(home: Home, **options: Any) -> Iterator[Started]:
    """Run a server with some of `ServerOptions` until the block ends, and let it drain."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(home.root), json.dumps({"port": 0, **options})],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            raise RuntimeError("the server did not start")
        yield Started(url, time.perf_counter() - begun, process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def running(home: Home, **options: Any) -> Iterator[tuple[str, float]]:
    """Run a server; yield its URL and the seconds until it was ready."""
    with started(home, **options) as server:
        yield server.url, server.ready


def counters(url: str) -> dict[str, float]:
    """Return what the server says of its process."""
    lines = [line.split() for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith("process_")]
    return {name: float(value) for name, value in lines}


def usage(pid: int) -> dict[int, Usage]:
    """Return what a process and all below it have used, by process; empty where there is no /proc (not Linux)."""
    fields: dict[int, list[str]] = {}
    for path in _PROCESSES.glob("[0-9]*"):
        try:
            name, _, rest = (path / "stat").read_text().partition("(")[2].rpartition(")")
            fields[int(path.name)] = [name, *rest.split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    family = {pid} & fields.keys()
    while more := {n for n, field in fields.items() if int(field[2]) in family} - family:
        family |= more
    # proc_pid_stat(5): utime and stime are fields 14 and 15, rss is 24; the first here is field 2.
    return {
        n: Usage(fields[n][0], (int(fields[n][12]) + int(fields[n][13])) / _TICKS, int(fields[n][22]) * _PAGE)
        for n in sorted(family)
    }
