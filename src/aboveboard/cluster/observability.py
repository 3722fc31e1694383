"""What is measured and when somebody is called: ServiceMonitor and PrometheusRule of the Prometheus operator."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster import promql
from aboveboard.cluster.naming import AGENT_PORT, instance, selector
from aboveboard.cluster.rollout import VERDICT_METRIC
from aboveboard.cluster.scaling import LATENCY_METRIC, RATE_METRIC
from aboveboard.cluster.types import DecisionService

GROUP_DECISIONS = "aboveboard:group_decisions:increase7d"
GROUP_RATE = "aboveboard:group_selection_rate:increase7d"
BEST_RATE = "aboveboard:best_group_selection_rate:increase7d"
BEST_DECISIONS = "aboveboard:best_group_decisions:increase7d"
GROUP_RATIO = "aboveboard:group_adverse_impact_ratio:increase7d"
GROUP_Z = "aboveboard:group_adverse_impact_z:increase7d"
STABILITY = "aboveboard:feature_stability_index:increase1d"
"""Recorded series are named level:metric:window, as Prometheus advises; what autoscalers read may have no colon."""
WEEK, DAY = "7d", "1d"
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
        "endpoints": [{"port": "http", "interval": "15s", "scrapeTimeout": "10s", **_where(service)}],
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


def _where(service: DecisionService) -> dict[str, Any]:
    """Say where a pod is scraped. In a strict mesh Istio's agent answers: Prometheus has no identity there."""
    if service.spec.integrations.istio is None:
        return {"path": "/metrics"}
    agent = {
        "action": "replace",
        "sourceLabels": ["__address__"],
        "regex": "(.+):[0-9]+",
        "replacement": f"$1:{AGENT_PORT}",
        "targetLabel": "__address__",
    }
    # The proxy's own are for Istio's own monitors to collect.
    proxys = {"action": "drop", "sourceLabels": ["__name__"], "regex": "(envoy|istio)_.+"}
    return {"path": "/stats/prometheus", "relabelings": [agent], "metricRelabelings": [proxys]}


def _groups(service: DecisionService) -> list[dict[str, Any]]:
    name, namespace = service.metadata.name, service.metadata.namespace
    chosen = f'namespace="{namespace}",job="{name}"'
    scaling = {
        RATE_METRIC: promql.decisions_per_pod(chosen, "1m"),
        LATENCY_METRIC: promql.latency_per_pod(chosen, "2m"),
    }
    drift = f"{promql.stability_index(chosen, DAY, WEEK)} and {promql.enough_values(chosen, DAY, WEEK)}"
    people = {
        GROUP_DECISIONS: promql.group_decisions(chosen, WEEK),
        GROUP_RATE: promql.selection_rate(chosen, WEEK),
        BEST_RATE: promql.best_rate(_of(GROUP_RATE, chosen), _of(GROUP_DECISIONS, chosen)),
        BEST_DECISIONS: promql.best_count(*(_of(each, chosen) for each in (GROUP_RATE, GROUP_DECISIONS, BEST_RATE))),
        GROUP_RATIO: promql.adverse_impact_ratio(_of(GROUP_RATE, chosen), _of(BEST_RATE, chosen)),
        GROUP_Z: promql.adverse_impact_z(
            *(_of(each, chosen) for each in (GROUP_RATE, GROUP_DECISIONS, BEST_RATE, BEST_DECISIONS))
        ),
        STABILITY: drift,
    }
    prefix = f"aboveboard.{namespace}.{name}"
    return [
        {"name": f"{prefix}.scaling", "interval": "15s", "rules": _recorded(scaling)},
        # Within a group rules are evaluated in order, so that each finds what those before it have recorded.
        {"name": f"{prefix}.people", "interval": "5m", "rules": _recorded(people)},
        {"name": f"{prefix}.alerts", "rules": _alerts(service, chosen)},
    ]


def _alerts(service: DecisionService, chosen: str) -> list[dict[str, Any]]:
    objectives = service.spec.objectives
    seconds = objectives.p99_milliseconds / 1000
    budget = 1 - objectives.availability
    # Burning 14.4 times too fast uses up two per cent of a month's budget in an hour (SRE workbook, chapter 5).
    burning = " and ".join(f"{promql.fault_share(chosen, window)} > {14.4 * budget:.6g}" for window in ("1h", "5m"))
    return [
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
            f"{promql.latency(chosen, '5m', 0.99)} > {seconds:g} and {promql.decisions(chosen, '5m')} > 1",
            "10m",
            "warning",
            f"The 99th percentile of decisions is above {objectives.p99_milliseconds} ms.",
        ),
        _alert(
            "AboveboardJournalBehind",
            f"{promql.journal_lag(chosen)} > 1",
            "2m",
            "critical",
            "Decisions wait for the disk; requests are turned away before one would go unrecorded.",
        ),
        _alert(
            "AboveboardNotPublished",
            f"{promql.publication_lag(chosen)} > {promql.UNPUBLISHED_SECONDS}",
            "5m",
            "warning",
            "Decisions are durable, and the published log does not cover them.",
        ),
        _alert(
            "AboveboardReviewOverdue",
            f"""sum({promql.review_cases(f'{chosen},overdue="true"')}) > 0""",
            "15m",
            "warning",
            "People wait for a decision by a person, beyond the deadline.",
        ),
        _alert(
            "AboveboardRolloutFailed",
            f'min({VERDICT_METRIC}{{model="{service.spec.model}"}}) == -1',
            "0m",
            "warning",
            "The verdict on the release under trial is fail.",
        ),
        _alert(
            "AboveboardAdverseImpact",
            f"{_of(GROUP_RATIO, chosen)} < {promql.FOUR_FIFTHS} and {_of(GROUP_Z, chosen)} > {promql.SIGNIFICANT}",
            "1h",
            "warning",
            "Over a week a group was selected at less than four fifths of the highest rate, and not by chance.",
        ),
        _alert(
            "AboveboardDrift",
            f"{_of(STABILITY, chosen)} > {promql.DRIFTED}",
            "1h",
            "warning",
            "The people who are decided about are not those of a week ago, by one of the features.",
        ),
    ]


def _of(name: str, chosen: str) -> str:
    return f"{name}{{{chosen}}}"


def _recorded(series: dict[str, str]) -> list[dict[str, Any]]:
    return [{"record": name, "expr": expression} for name, expression in series.items()]


def _alert(name: str, expression: str, duration: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": duration,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": f"{RUNBOOK}#{name.lower()}"},
    }
