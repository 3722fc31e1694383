"""docs/reference/metrics.md is what collectors, recorded series and alerts are; `make golden` writes it anew."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from aboveboard.clock import system_clock
from aboveboard.cluster import desired_objects, load_service
from aboveboard.cluster.metrics import AdmissionMetrics, OperatorMetrics
from aboveboard.serving.cases import case_family
from aboveboard.serving.metrics import Metrics
from aboveboard.streaming.meters import CollectorMeters, RelayMeters
from aboveboard.streaming.progress import Progress
from tests.cluster_cases import CONTEXT, PROMETHEUS, document
from tests.golden.test_reference import compare

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def families() -> list[Metric]:
    """Every family of a decision server, by the collector that writes them out."""
    return [*Metrics().collect(), case_family("", {})]


def series_of(family: Metric) -> list[str]:
    """Return the names under which Prometheus has the samples of a family."""
    return [family.name + suffix for suffix in _SUFFIXES[family.type]]


def rules() -> list[dict[str, Any]]:
    """Every rule of a service with Prometheus."""
    item = load_service(document(integrations={"prometheus": PROMETHEUS}))
    [found] = [each for each in desired_objects(item, CONTEXT) if each["kind"] == "PrometheusRule"]
    return [rule for group in found["spec"]["groups"] for rule in group["rules"]]


def control_plane() -> list[Metric]:
    """Every family of the operator and the webhook."""
    return [
        family
        for registry in (OperatorMetrics().registry, AdmissionMetrics().registry)
        for family in registry.collect()
        if family.name.startswith("aboveboard_")
    ]


CONTROL_LABELS = {
    "aboveboard_operator_reconciliations": ("result",),
    "aboveboard_operator_policy_packs": ("state",),
    "aboveboard_admission_requests": ("verdict", "rule"),
}


def known_series() -> set[str]:
    """Every name that may be asked of Prometheus: what servers write out, and what rules record."""
    written = {name for family in [*families(), *control_plane()] for name in series_of(family)}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return written | recorded | set(PROCESS)


PROCESS = {
    "process_cpu_seconds_total": "CPU time used",
    "process_resident_memory_bytes": "memory held",
    "process_open_fds": "open files and connections",
    "process_start_time_seconds": "when it started",
}
"""Of the Prometheus client library, for every process; there are more, named `process_` and `python_`."""

RECORDED = {
    "aboveboard_decisions_per_second": "decisions per second of each pod, over a minute; autoscalers read it",
    "aboveboard_decision_p99_seconds": "99th percentile of each pod, over two minutes; autoscalers read it",
    "aboveboard:group_decisions:increase7d": "decisions about each protected group in a week",
    "aboveboard:group_selection_rate:increase7d": "their share of favourable outcomes",
    "aboveboard:best_group_selection_rate:increase7d": "the highest of these, among groups of 30 or more",
    "aboveboard:best_group_decisions:increase7d": "decisions about the group that has it",
    "aboveboard:group_adverse_impact_ratio:increase7d": "a group's selection rate over the highest",
    "aboveboard:group_adverse_impact_z:increase7d": "by how many standard errors it lies below (pooled test)",
    "aboveboard:feature_stability_index:increase1d": "population stability index of a day against a week before, "
    "where both saw 1,000 decisions or more",
}


def streaming() -> list[tuple[Metric, tuple[str, ...]]]:
    """Every family of relay and collector, each with its labels."""
    registries = [CollectorRegistry(), CollectorRegistry()]
    RelayMeters(registries[0], system_clock)
    CollectorMeters(registries[1])
    Progress(registries[0], "relay", clock=system_clock)
    Progress(registries[1], "collector", clock=system_clock)
    collectors = [collector for registry in registries for collector in registry._collector_to_names]
    found = {family.name: (family, labels_of(one)) for one in collectors for family in one.collect()}
    return list(found.values())


def test_metrics(request: pytest.FixtureRequest) -> None:
    compare(request, "metrics.md", page())


def test_everything_recorded_is_explained() -> None:
    assert list(RECORDED) == [rule["record"] for rule in rules() if "record" in rule]


def test_names_follow_the_rules_of_prometheus() -> None:
    for family in [*families(), *(family for family, _ in streaming())]:
        assert family.name.startswith("aboveboard_"), family.name
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_milliseconds", "_ms")), family.name
        assert family.documentation.strip(), family.name


def page() -> str:
    served = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} | "
        f"{', '.join(f'`{name}`' for name in labels_of(family))} | {one_line(family.documentation)} |"
        for family in families()
    ]
    streamed = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} | "
        f"{', '.join(f'`{name}`' for name in labels)} | {one_line(family.documentation)} |"
        for family, labels in streaming()
    ]
    plane = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} | "
        f"{', '.join(f'`{name}`' for name in CONTROL_LABELS.get(family.name, ()))} | "
        f"{one_line(family.documentation)} |"
        for family in control_plane()
    ]
    process = [f"| `{name}` | {about} |" for name, about in PROCESS.items()]
    recorded = [f"| `{name}` | {about} |" for name, about in RECORDED.items()]
    alerts = [
        f"| [{rule['alert']}](../concepts/operator.md#{rule['alert'].lower()}) | {rule['labels']['severity']} | "
        f"{rule['for']} | {rule['annotations']['summary']} |"
        for rule in rules()
        if "alert" in rule
    ]
    return "\n".join(
        [
            "# Metrics",
            "",
            "Generated from the collectors themselves. Servers count, and nothing else: counts add up over pods and "
            "regions, rates and ratios are made by whoever asks. None holds anything about one person. A histogram "
            "has the series `_bucket`, `_sum` and `_count`.",
            "",
            "## Decision server",
            "`GET /metrics`, in the text format of Prometheus. With several workers one answer counts for all.",
            "",
            "| name | type | labels | |",
            "| --- | --- | --- | --- |",
            *served,
            "",
            "Of the process, among others:",
            "",
            "| name | |",
            "| --- | --- |",
            *process,
            "",
            "## Relay and collector",
            "Of `aboveboard events relay` and `aboveboard events collect`, on `--metrics-port`.",
            "",
            "| name | type | labels | |",
            "| --- | --- | --- | --- |",
            *streamed,
            "",
            "## Control plane",
            "Of the operator, by HTTP on the port of its health, and of the admission webhook, by HTTPS on its own.",
            "",
            "| name | type | labels | |",
            "| --- | --- | --- | --- |",
            *plane,
            "",
            "## Recorded series",
            "By the PrometheusRule of each decision service, with its `namespace` and `job` (the service's name).",
            "",
            "| name | |",
            "| --- | --- |",
            *recorded,
            "",
            "## Alerts",
            "Thresholds follow from `objectives` of the service; what to do stands behind each name.",
            "",
            "| alert | severity | after | |",
            "| --- | --- | --- | --- |",
            *alerts,
            "",
        ]
    )


def labels_of(family: object) -> tuple[str, ...]:
    return tuple(getattr(family, "_labelnames", ()))


def one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
