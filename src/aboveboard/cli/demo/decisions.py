"""Serve the release, and replay real held-out clients against it over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import queue
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape

from aboveboard.cli.demo.scene import AUTHOR, Scene
from aboveboard.data.source import read_source
from aboveboard.errors import Conflict, StorageFailed

if TYPE_CHECKING:
    from aboveboard.training import Run

READY_SECONDS = 30.0
CONNECTIONS = 8


class DecisionServer:
    """`aboveboard serve` in a process of its own, as it would be run anywhere else."""

    def __init__(self, scene: Scene, release: str, port: int) -> None:
        self._scene = scene
        self._release = release
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        """Start the server; a port that is taken is passed over for a free one."""
        for port in (self._port, 0):
            self.url, complaint = self._start(port)
            if self.url:
                return self
            if "in use" not in complaint:
                break
        raise Conflict("the decision server did not start", hint=complaint.strip()[-500:])

    def __exit__(self, *_: object) -> None:
        """Ask the server to drain and stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def wait(self) -> None:
        """Stay in the foreground until the server ends or the user has seen enough."""
        assert self._process is not None  # noqa: S101  inside the with block
        try:
            self._process.wait()
        except KeyboardInterrupt:
            self._scene.out.say("\nstopping the decision server")

    def _start(self, port: int) -> tuple[str, str]:
        """Start on a port; return the URL once it is ready, or an empty one and what was said instead."""
        command = [sys.executable, "-m", "aboveboard", "--home", str(self._scene.home.root), "--actor", AUTHOR]
        # The demo's log is in the demo's home, wherever the log of real decisions may be.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ABOVEBOARD_LOG_")}
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            [*command, "serve", self._release, "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**inherited, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_drain, args=(self._process.stdout, lines), daemon=True).start()
        said = ""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                line = lines.get(timeout=0.1)
            except queue.Empty:
                continue
            if line is None:
                self._process.wait()
                return "", said
            said += line
            if " at http://" in line:
                return line.rsplit(" at ", 1)[1].strip(), said
        self._process.kill()
        raise StorageFailed(f"the decision server was not ready in {READY_SECONDS:.0f} s", hint=said[-500:])


@dataclass(frozen=True)
class Client:
    """A held-out client: the identifier the bank knows, and what it would send."""

    identifier: str
    features: dict[str, Any]
    cohort: dict[str, Any]


@dataclass(frozen=True)
class Replayed:
    """What the server answered."""

    clients: list[Client]
    decisions: list[dict[str, Any]]
    milliseconds: list[float]


def replay(scene: Scene, server: DecisionServer, run: Run, *, count: int) -> Replayed:
    """Send held-out clients to the server over several connections and show what came back."""
    out = scene.out
    with scene.step(
        "serve and decide",
        f"{count} real clients the model has never seen, over HTTP. Each answer is in the log before it is sent.",
    ):
        clients = held_out_clients(scene, run, count)
        started = time.monotonic()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = list(
                pool.map(lambda part: _send(server, part), (clients[n::CONNECTIONS] for n in range(CONNECTIONS)))
            )
        seconds = time.monotonic() - started
        answers = [answer for part in parts for answer in part]
        ordered = [client for n in range(CONNECTIONS) for client in clients[n::CONNECTIONS]]
        decisions = [decision for decision, _ in answers]
        latencies = sorted(latency for _, latency in answers)
        outcomes = Counter(decision["outcome"] for decision in decisions)
        counted = ", ".join(f"{number} {name}" for name, number in outcomes.most_common())
        out.say(f"{len(decisions)} decisions in {seconds:.2f} s over {CONNECTIONS} connections: {counted}")
        p99 = latencies[int(0.99 * (len(latencies) - 1))]
        out.say(f"latency   {statistics.median(latencies):.1f} ms median, {p99:.1f} ms p99, seen by this client")
        _show(scene, server, ordered, decisions)
    return Replayed(ordered, decisions, latencies)


def held_out_clients(scene: Scene, run: Run, count: int) -> list[Client]:
    """Draw held-out clients, with the identifier under which the bank's own systems know them."""
    spec = run.spec.spec
    source = spec.data.source
    raw = read_source(scene.example / source.path, source.format, source.null_values).frame
    indices = random.Random(7).sample(list(map(int, run.dataset.partitions["holdout"])), count)  # noqa: S311
    rows = run.dataset.frame[indices].to_dicts()
    identifiers = raw[spec.data.identifier or spec.data.target.column].gather(indices).to_list()
    return [
        Client(
            identifier=str(identifier),
            features={feature.name: row[feature.name] for feature in spec.features},
            cohort={attribute.name: row[attribute.column] for attribute in spec.protected},
        )
        for identifier, row in zip(identifiers, rows, strict=True)
    ]


def ask(connection: http.client.HTTPConnection, client: Client, locale: str) -> dict[str, Any]:
    """Send one decision request and return the answer; anything but 200 is an error."""
    body = {"subject": client.identifier, "features": client.features, "cohort": client.cohort, "locale": locale}
    connection.request("POST", "/v1/decisions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    if response.status != http.client.OK:
        raise StorageFailed(f"the decision server answered {response.status}", hint=content.decode()[:500])
    answer: dict[str, Any] = json.loads(content)
    return answer


def _send(server: DecisionServer, clients: list[Client]) -> list[tuple[dict[str, Any], float]]:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    answers = []
    for client in clients:
        started = time.perf_counter()
        answer = ask(connection, client, "en")
        answers.append((answer, 1000 * (time.perf_counter() - started)))
    connection.close()
    return answers


def _show(scene: Scene, server: DecisionServer, clients: list[Client], decisions: list[dict[str, Any]]) -> None:
    """Show one decision of each outcome, and the same adverse one in two other languages."""
    first = {decision["outcome"]: number for number, decision in reversed(list(enumerate(decisions)))}
    scene.out.table(
        ("decision", "outcome", "score#", "principal reasons"),
        (
            (
                f"{decisions[number]['decision_id'][:14]}…",
                outcome,
                f"{decisions[number]['score']:.3f}",
                escape("; ".join(reason["text"] for reason in decisions[number]["reasons"])) or "[dim]none needed[/]",
            )
            for outcome, number in first.items()
        ),
    )
    adverse = first.get("decline")
    if adverse is not None:
        connection = http.client.HTTPConnection(server.address, timeout=30)
        for locale in ("de", "zh"):
            again = ask(connection, clients[adverse], locale)
            scene.out.say(f"[dim]{locale}[/]  {escape('; '.join(reason['text'] for reason in again['reasons']))}")
        connection.close()


def _drain(stream: Any, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
