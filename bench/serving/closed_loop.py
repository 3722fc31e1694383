"""As many requests as a few connections carry, each sent when the last is answered: by wrk, or a client of ours."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.serving.open_loop import PLACEHOLDER

CONNECTIONS = 16

# A placeholder is found once; a request is then two strings with a number between them.
_WRK = """
local requests, i, number = {}, 0, %(first)d
init = function()
  for line in io.lines("%(bodies)s") do
    local whole = wrk.format("POST", "%(path)s", {["Content-Type"] = "application/json"%(headers)s}, line)
    local at = string.find(whole, "%(placeholder)s", 1, true)
    if at then
      requests[#requests + 1] = {string.sub(whole, 1, at - 1), string.sub(whole, at + %(width)d)}
    else
      requests[#requests + 1] = whole
    end
  end
end
request = function()
  i = i %% #requests + 1
  local found = requests[i]
  if type(found) == "string" then return found end
  number = number + 1
  return found[1] .. string.format("%%0%(width)dd", number) .. found[2]
end
done = function(summary, latency)
  io.write(string.format("RESULT %%d %%d %%f %%f %%f\\n", summary.requests,
    summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""
_runs = itertools.count(1)


@dataclass(frozen=True)
class Load:
    """What a client saw."""

    answered: int
    failed: int
    seconds: float
    p50: float
    p99: float


def first_number() -> int:
    """Return a number from which on nobody has counted for a placeholder."""
    return next(_runs) * 10_000_000


def drive(url: str, path: str, bodies: Path, *, seconds: int, headers: Mapping[str, str] | None = None) -> Load:
    """Send the requests in `bodies` over and over, by wrk where it is installed."""
    headers = headers or {}
    if shutil.which("wrk") is None:
        return asyncio.run(_drive(url, path, bodies.read_bytes().splitlines(), seconds, headers))
    script = bodies.with_suffix(".lua")
    script.write_text(
        _WRK
        % {
            "first": first_number(),
            "bodies": bodies,
            "path": path,
            "headers": "".join(f', ["{name}"] = "{value}"' for name, value in headers.items()),
            "placeholder": PLACEHOLDER.decode(),
            "width": len(PLACEHOLDER),
        }
    )
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", str(script), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said something else: {said}")
    answered, failed, *rest = found.groups()
    return Load(int(answered), int(failed), *map(float, rest))


async def _drive(url: str, path: str, bodies: list[bytes], seconds: int, headers: Mapping[str, str]) -> Load:
    scheme, _, address = url.partition("://")
    host, port = address.split(":")
    if scheme != "http":
        raise RuntimeError("only wrk speaks TLS here")
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{more}Content-Type: application/json\r\nContent-Length: "
    sent = [head.encode() + b"%d\r\n\r\n%b" % (len(body), body) for body in bodies]
    numbers = itertools.count(first_number())
    latencies: list[float] = []
    failed = 0
    begun = time.perf_counter()

    async def work(first: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(host, int(port))
        number = first
        while (now := time.perf_counter()) - begun < seconds:
            writer.write(sent[number % len(sent)].replace(PLACEHOLDER, b"%010d" % next(numbers)))
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
