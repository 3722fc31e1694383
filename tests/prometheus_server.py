"""Prometheus for tests: promtool to check and try rules, and a server of one's own; skips where it is missing."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def check_rules(groups: list[dict[str, Any]], directory: Path) -> None:
    """Have promtool read rule groups, queries included; fail on what it does not understand."""
    path = directory / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False), encoding="utf-8")
    done = subprocess.run([_program("promtool"), "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def check_queries(queries: Mapping[str, str], directory: Path) -> None:
    """Have promtool parse queries, by a name to show; fail on what it does not understand."""
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries.values())]
    check_rules([{"name": "queries", "rules": rules}], directory)


def try_rules(
    groups: list[dict[str, Any]], series: Mapping[str, str], directory: Path, *, interval: str, **test: Any
) -> None:
    """Have promtool run rules over series and hold what comes out against `alert_rule_test`, `promql_expr_test`."""
    rules, cases = directory / "rules.yml", directory / "tests.yml"
    rules.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False), encoding="utf-8")
    given = [{"series": name, "values": values} for name, values in series.items()]
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": "5m",
        "tests": [{"interval": interval, "input_series": given, **test}],
    }
    cases.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    done = subprocess.run([_program("promtool"), "test", "rules", str(cases)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an instant query finds now. Fails on an expression that is refused."""
        try:
            asked = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310  our own server
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        return found

    def wait_for(self, expression: str, *, seconds: float = 60) -> list[dict[str, Any]]:
        """Return what a query finds as soon as it finds something. Fails when it never does."""
        until = time.monotonic() + seconds
        while True:
            if found := self.query(expression):
                return found
            assert time.monotonic() < until, f"nothing after {seconds} s: {expression}"
            time.sleep(0.25)


@contextlib.contextmanager
def prometheus(
    directory: Path, targets: Mapping[str, Mapping[str, str]], groups: list[dict[str, Any]]
) -> Iterator[Prometheus]:
    """Run a server that scrapes targets (`host:port`, with their labels) and evaluates rules every second."""
    program = _program("prometheus")
    rules = directory / "rules.yml"
    every_second = [{**group, "interval": "1s"} for group in groups]
    rules.write_text(yaml.safe_dump({"groups": every_second}, sort_keys=False), encoding="utf-8")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "tested",
                "static_configs": [
                    {"targets": [target], "labels": dict(labels)} for target, labels in targets.items()
                ],
            }
        ],
    }
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        program,
        f"--config.file={path}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (directory / "prometheus.log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()  # noqa: S310  our own server
                    break
                assert process.poll() is None, (directory / "prometheus.log").read_text()
                time.sleep(0.05)
            yield Prometheus(url)
        finally:
            process.terminate()
