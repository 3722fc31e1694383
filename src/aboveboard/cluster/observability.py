"""What is measured and when somebody is called: ServiceMonitor and PrometheusRule of the Prometheus operator."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.naming import instance, selector
from aboveboard.cluster.rollout import VERDICT_METRIC
from aboveboard.cluster.scaling import LATENCY_METRIC, RATE_METRIC
from aboveboard.cluster.types import DecisionService

FAULTS = "internal|overloaded|storage-failed"
"""Codes of problems that are ours and not the caller's."""
RUNBOOK = "docs/concepts/operator.md"


def observation(service: DecisionService) -> list[dict[str, Any]]:
    """Return the monitor and the rules, where the Prometheus operator is there."""
    prometheus = service.spec.integrations.prometheus
    if prometheus is None:
        return []
    more_labels = dict(prometheus.labels)
    monitor = {
        "jobLabel": "app.kubernetes.io/instance",
        "selector": {"matchLabels": {**selector(service), "aboveboard.dev/scrape": "true"}},
        "namespaceSelector": {"matchNames": [service.metadata.namespace]},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s", "scrapeTimeout": "10s"}],
    }
    return [
        instance(service, "monitoring.coreos.com/v1", "ServiceMonitor", monitor, more_labels=more_labels),
        instance(
            service,
            "monitoring.coreos.com/v1",
            "PrometheusRule",
            {"groups": _groups(service)},
            more_labels=more_labels,
        ),
    ]


def _groups(service: DecisionService) -> list[dict[str, Any]]:
    name, namespace = service.metadata.name, service.metadata.namespace
    chosen = f'namespace="{namespace}",job="{name}"'
    objectives = service.spec.objectives
    seconds = objectives.p99_milliseconds / 1000
    bucket = f'aboveboard_decision_duration_seconds_bucket{{{chosen},stage="total"}}'
    pods = "sum by (namespace, job, pod)"
    recorded = [
        {"record": RATE_METRIC, "expr": f"{pods} (rate(aboveboard_decisions_total{{{chosen}}}[1m]))"},
        {
            "record": LATENCY_METRIC,
            # A pod that decided nothing has no percentile; it counts as fast, or no pod would ever be stopped.
            "expr": f"histogram_quantile(0.99, sum by (namespace, job, pod, le) (rate({bucket}[2m]))) >= 0 "
            f"or 0 * {pods} (aboveboard_ready{{{chosen}}})",
        },
    ]
    faults = f'sum(rate(aboveboard_refused_requests_total{{{chosen},code=~"{FAULTS}"}}[%s]))'
    decisions = f"sum(rate(aboveboard_decisions_total{{{chosen}}}[%s]))"
    share = f"{faults} / ({faults} + {decisions})"
    budget = 1 - objectives.availability
    # Burning 14.4 times too fast uses up two per cent of a month's budget in an hour (SRE workbook, chapter 5).
    burning = " and ".join(f"({share % ((window,) * 3)}) > {14.4 * budget:.6g}" for window in ("1h", "5m"))
    alerts = [
        _alert(
            "AboveboardUnavailable",
            f"absent(aboveboard_ready{{{chosen}}}) or sum(aboveboard_ready{{{chosen}}}) == 0",
            "1m",
            "critical",
            "No pod takes decisions.",
        ),
        _alert(
            "AboveboardErrorBudgetBurning", burning, "2m", "critical", "Too many requests fail through our fault."
        ),
        _alert(
            "AboveboardSlow",
            f"histogram_quantile(0.99, sum by (le) (rate({bucket}[5m]))) > {seconds:g} and {decisions % '5m'} > 1",
            "10m",
            "warning",
            f"The 99th percentile of decisions is above {objectives.p99_milliseconds} ms.",
        ),
        _alert(
            "AboveboardJournalBehind",
            f"max(aboveboard_journal_lag_seconds{{{chosen}}}) > 1",
            "2m",
            "critical",
            "Decisions wait for the disk; requests are turned away before one would go unrecorded.",
        ),
        _alert(
            "AboveboardRolloutFailed",
            f'min({VERDICT_METRIC}{{model="{service.spec.model}"}}) == -1',
            "0m",
            "warning",
            "The verdict on the release under trial is fail.",
        ),
    ]
    return [
        {"name": f"aboveboard.{namespace}.{name}.scaling", "interval": "15s", "rules": recorded},
        {"name": f"aboveboard.{namespace}.{name}.alerts", "rules": alerts},
    ]


def _alert(name: str, expression: str, duration: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": duration,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": f"{RUNBOOK}#{name.lower()}"},
    }
