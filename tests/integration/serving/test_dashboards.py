"""A real Prometheus scrapes a real decision server: every panel of every dashboard has something to show."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from aboveboard.clock import system_clock
from aboveboard.cluster import desired_objects, load_service
from aboveboard.deploy.dashboards import dashboard_files
from aboveboard.settings import Home
from tests.cluster_cases import CONTEXT, PROMETHEUS, document
from tests.golden.deploy.test_dashboards import asked, dashboard, queries
from tests.integration.serving.process import Released, Server, ask_all, running
from tests.prometheus_server import Prometheus, prometheus

LABELS = {"namespace": "lending", "job": "loans", "pod": "loans-0"}
CHOSEN = {"__rate_interval": "10s", "window": "5s", "before": "4s"}
"""Short windows, so that the test is: two of five seconds, four apart."""


@contextmanager
def traffic(server: Server, released: Released) -> Iterator[None]:
    """Send a little of everything until the block ends."""
    done = threading.Event()

    def send() -> None:
        with server.client() as client:
            turn, today = 0, system_clock().date().isoformat()
            while not done.wait(0.05):
                turn += 1
                asyncio.run(ask_all(server.port, released.clients[:40], connections=2))
                keyed = {**released.clients[0], "idempotency_key": f"turn-{turn}"}
                decided = client.post("/v1/decisions", json=keyed).json()["decision_id"]
                client.post("/v1/decisions", json=keyed)
                assert client.post("/v1/decisions", content=b"{").status_code == 415
                outcome = {"decision_id": decided, "label": "repaid", "observed": today}
                assert client.post("/v1/outcomes", json=outcome).status_code == 201

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            yield
        finally:
            done.set()
    sending.result()


@pytest.fixture(scope="module")
def watched(released: Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Prometheus]]:
    """A server under traffic, with the rules of its service."""
    directory = tmp_path_factory.mktemp("watched")
    for name in ("keys", "releases"):
        shutil.copytree(released.home.root / name, directory / "home" / name)
    service = load_service(document(integrations={"prometheus": PROMETHEUS}))
    [rule] = [each for each in desired_objects(service, CONTEXT) if each["kind"] == "PrometheusRule"]
    options = {"release": released.digests[0], "shadows": [released.digests[1]]}
    with running(Home(directory / "home"), **options) as server, traffic(server, released):
        targets = {f"127.0.0.1:{server.port}": LABELS}
        with prometheus(directory, targets, rule["spec"]["groups"]) as started:
            yield server, started


@pytest.mark.parametrize("name", [name for name in dashboard_files() if name != "control-plane.json"])
def test_every_panel_has_data(name: str, watched: tuple[Server, Prometheus]) -> None:
    _, prometheus = watched
    found = dashboard(name)
    for title, query in queries(found):
        values = [sample["value"][1] for sample in prometheus.wait_for(asked(query, found, **CHOSEN))]
        assert any(value != "NaN" for value in values), title


def test_what_autoscalers_and_alerts_read_is_recorded(watched: tuple[Server, Prometheus]) -> None:
    _, prometheus = watched
    for name in (
        "aboveboard_decisions_per_second",
        "aboveboard_decision_p99_seconds",
        "aboveboard:group_adverse_impact_ratio:increase7d",
        "aboveboard:group_adverse_impact_z:increase7d",
    ):
        for sample in prometheus.wait_for(name):
            assert sample["metric"]["namespace"] == "lending", name
            assert sample["metric"]["job"] == "loans", name
    assert prometheus.query('ALERTS{alertname="AboveboardUnavailable"}') == []
