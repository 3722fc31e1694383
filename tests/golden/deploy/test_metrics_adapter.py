"""Autoscalers find what they ask for: recorded by our rules, offered by the adapter, by Prometheus's own promtool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster import desired_objects, load_service
from aboveboard.deploy.metrics_adapter import FILE, adapter_file, adapter_values
from tests.cluster_cases import CONTEXT, PROMETHEUS, document
from tests.prometheus_server import try_rules

DEPLOY = Path(__file__).parents[3] / "deploy"
CHOSEN = 'namespace="lending",job="loans"'


def made(**integrations: Any) -> dict[str, dict[str, Any]]:
    item = load_service(document(integrations={"prometheus": PROMETHEUS, **integrations}))
    return {each["kind"]: each for each in desired_objects(item, CONTEXT)}


def recorded() -> list[str]:
    groups = made()["PrometheusRule"]["spec"]["groups"]
    return [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]


def test_the_file_is_current(request: pytest.FixtureRequest) -> None:
    path = DEPLOY / FILE
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(adapter_file(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == adapter_file(), f"deploy/{FILE}: run `make golden`"


def test_every_metric_of_the_autoscaler_is_recorded_and_offered() -> None:
    metrics = made()["HorizontalPodAutoscaler"]["spec"]["metrics"]
    asked = [each["pods"]["metric"]["name"] for each in metrics]
    assert asked == [rule["name"]["as"] for rule in adapter_values()["rules"]["custom"]]
    assert set(asked) <= set(recorded())


def test_keda_asks_for_series_that_are_recorded() -> None:
    queries = [each["metadata"]["query"] for each in made(keda={})["ScaledObject"]["spec"]["triggers"]]
    for query in queries:
        name = query.split("(", 1)[1].split("{", 1)[0]
        assert name in recorded()


def test_the_adapter_asks_what_prometheus_answers_for_each_pod(tmp_path: Path) -> None:
    """Its templates, filled in as the adapter fills them, over a service of two pods of which one is idle."""
    rate, latency = adapter_values()["rules"]["custom"]

    def filled(rule: dict[str, Any]) -> str:
        query: str = rule["metricsQuery"]
        given = {
            "<<.Series>>": rule["name"]["as"],
            "<<.LabelMatchers>>": 'namespace="lending",pod=~"loans-0|loans-1"',
            "<<.GroupBy>>": "pod",
        }
        for word, text in given.items():
            query = query.replace(word, text)
        return query

    bucket = f'aboveboard_decision_duration_seconds_bucket{{{CHOSEN},pod="loans-0",stage="total",le='
    series = {
        f'aboveboard_decisions_total{{{CHOSEN},pod="loans-0",track="champion"}}': "0+15000x40",
        f'aboveboard_decisions_total{{{CHOSEN},pod="loans-1",track="champion"}}': "7+0x40",
        **{f'aboveboard_ready{{{CHOSEN},pod="{pod}"}}': "1x40" for pod in ("loans-0", "loans-1")},
        **{
            f'{bucket}"{bound}"}}': f"0+{count}x40"
            for bound, count in (("0.01", 0), ("0.02", 15000), ("+Inf", 15000))
        },
    }
    expected = {
        filled(rate): {"loans-0": 1000, "loans-1": 0},
        # All between 10 and 20 ms: the 99th of a hundred even parts.
        filled(latency): {"loans-0": 0.0199, "loans-1": 0},
        rate["seriesQuery"]: None,
        latency["seriesQuery"]: None,
    }
    tests = []
    for query, values in expected.items():
        for pod, value in (values or {"loans-0": 0, "loans-1": 0}).items():
            one = f'({query}) and on (pod) aboveboard_ready{{pod="{pod}"}}'
            near = f"abs(({one}) - {value}) < 1e-9" if values is not None else one
            tests.append(
                {
                    "expr": f"count({near})",
                    "eval_time": "10m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
            )
    groups = made()["PrometheusRule"]["spec"]["groups"]
    try_rules([groups[0]], series, tmp_path, interval="15s", promql_expr_test=tests)
