"""What a newcomer waits for: help, check, the demo, a decision server that is ready."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "01-credit-default"
PROGRAM = (sys.executable, "-m", "aboveboard")


def main() -> None:
    """Print medians in seconds."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "ABOVEBOARD_HOME": home}
        _report("aboveboard --help", 15, "--help", environment=environment)
        _report("aboveboard check", 9, "check", str(EXAMPLE / "model.yaml"), environment=environment)
        _report("aboveboard run --fast", 3, "run", "--fast", str(EXAMPLE / "model.yaml"), environment=environment)
        _report("aboveboard demo --fast --no-serve", 3, *_demo("--fast"), environment=environment)
        _report("aboveboard demo --no-serve", 1, *_demo(), environment=environment)
        demo = {**environment, "ABOVEBOARD_HOME": str(Path(home) / "demo")}
        times = [_ready(demo) for _ in range(7)]
        print(
            f"{'decision server ready':<36} {statistics.median(times):7.3f} s  ({min(times):.3f} to {max(times):.3f})"
        )


def _demo(*options: str) -> tuple[str, ...]:
    return ("demo", "--no-serve", "--port", "18080", "--example", str(EXAMPLE), *options)


def _report(name: str, repeats: int, *arguments: str, environment: dict[str, str]) -> None:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([*PROGRAM, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    print(f"{name:<36} {statistics.median(times):7.3f} s  ({min(times):.3f} to {max(times):.3f}, {repeats} runs)")


def _ready(environment: dict[str, str]) -> float:
    """Return the seconds from the start of the process to its announcement that it serves."""
    started = time.perf_counter()
    command = [*PROGRAM, "serve", "credit-default", "--port", "0"]
    with subprocess.Popen(command, env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None  # noqa: S101
        server.stdout.readline()
        elapsed = time.perf_counter() - started
        server.send_signal(signal.SIGTERM)
    return elapsed
