"""A real Prometheus scrapes what operator and webhook count: every panel of their dashboard has something to show."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import start_http_server

from aboveboard.cluster.judgement import POLICY, Finding, Judgement
from aboveboard.cluster.metrics import AdmissionMetrics, OperatorMetrics
from tests.golden.deploy.test_dashboards import asked, dashboard, queries
from tests.prometheus_server import Prometheus, prometheus

NAME = "control-plane.json"
LABELS = {"namespace": "aboveboard-system"}
ENDS = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Prometheus]:
    """An operator and a webhook that are never idle."""
    operator, admission = OperatorMetrics(), AdmissionMetrics()
    operator.acting.set(1)
    operator.services.set(7)
    operator.queue.set(3)
    operator.behind.set(12)
    operator.packs_known(valid=4, invalid=1)
    admission.certificate_ends(ENDS)
    done = threading.Event()

    def act() -> None:
        while not done.wait(0.05):
            for result in ("settled", "settled", "settled", "failed"):
                operator.looked(result, 0.2)
            admission.judged(Judgement((Finding(POLICY, True, "passes"),)))
            admission.judged(Judgement((Finding(POLICY, False, "does not"),)))
            admission.broke()
            admission.duration.observe(0.03)

    acting = threading.Thread(target=act)
    served = [start_http_server(0, "127.0.0.1", registry=each.registry) for each in (operator, admission)]
    acting.start()
    try:
        targets = {f"127.0.0.1:{server.server_port}": LABELS for server, _ in served}
        with prometheus(tmp_path, targets, []) as started:
            yield started
    finally:
        done.set()
        acting.join()
        for server, thread in served:
            server.shutdown()
            server.server_close()
            thread.join()


def test_every_panel_says_what_was_counted(watched: Prometheus) -> None:
    document = dashboard(NAME)
    found: dict[str, list[float]] = {}
    for title, query in queries(document):
        samples = watched.wait_for(asked(query, document, __rate_interval="10s"))
        found[title] = sorted(float(sample["value"][1]) for sample in samples)
    assert found["Operators that act A"] == [1]
    assert found["Services looked after A"] == [7]
    assert found["Policy packs that are not valid A"] == [1]
    assert found["Services that wait for their turn A"] == [3]
    assert found["The watch is behind A"] == [12]
    assert found["Policy packs A"] == [1, 4]
    [left] = found["Certificate of the webhook ends in A"]
    assert left == pytest.approx(ENDS.timestamp() - time.time(), abs=120)
    [failed] = found["Looks that fail A"]
    assert failed == pytest.approx(0.25, abs=0.1)
    assert len(found["Looks at services by result A"]) == 3
    assert len(found["Reviews by verdict A"]) == 3
    [median] = found["Time of a look A"]
    assert 0.1 <= median <= 0.25
