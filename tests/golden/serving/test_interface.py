"""What clients and dashboards rely on: the OpenAPI document, the metrics and the problem codes."""

from __future__ import annotations

import json
from collections.abc import Callable

from prometheus_client.exposition import generate_latest

from aboveboard.audit.review import State
from aboveboard.serving import openapi
from aboveboard.serving.cases import case_family
from aboveboard.serving.gathered import exposition
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.problems import catalogue

Golden = Callable[[str, str], None]


def test_openapi(golden: Golden) -> None:
    golden("serving/openapi.json", json.dumps(openapi.document(), indent=2, ensure_ascii=False) + "\n")


def test_metrics(golden: Golden) -> None:
    metrics = Metrics()
    counts = metrics.of_release("credit-default", "sha256:" + "a" * 64, "champion")
    counts.decided("approve", 0.81, ("sex",), ("female",))
    metrics.timed(0.0, 0.0001, 0.0003, 0.004)
    metrics.refuse("not-json")
    metrics.compare("sha256:" + "b" * 64, "approve", "refer")
    metrics.refuse_shadow("sha256:" + "b" * 64, "request-refused")
    metrics.outcomes["repaid"] = 2
    cases = case_family("credit-default", {(state, False): 1 for state in State})
    text = generate_latest(metrics.registry()) + exposition([cases])
    lines = [line for line in text.decode().splitlines() if "aboveboard_" in line and "_bucket{" not in line]
    golden("serving/metrics.txt", "\n".join(lines) + "\n")


def test_problems(golden: Golden) -> None:
    documents = sorted(catalogue().values(), key=lambda document: (document.status, document.code))
    golden("serving/problems.txt", "".join(f"{d.status} {d.code}: {d.detail}\n" for d in documents))
