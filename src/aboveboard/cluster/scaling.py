"""How many pods: by decision rate and latency, by a HorizontalPodAutoscaler or by KEDA; VPA only recommends."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.naming import instance
from aboveboard.cluster.types import DecisionService
from aboveboard.cluster.workload import workload_reference

RATE_METRIC = "aboveboard_decisions_per_second"
"""Recorded for each pod by our PrometheusRule, and served to the autoscaler by a metrics adapter."""
LATENCY_METRIC = "aboveboard_decision_p99_seconds"

BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 30},
            {"type": "Pods", "value": 4, "periodSeconds": 30},
        ],
    },
    # Slowly down: a lull is not the end of the day, and every stopped pod drains first.
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    },
}


def autoscaler(service: DecisionService) -> dict[str, Any]:
    """Return the ScaledObject where KEDA is there, else the HorizontalPodAutoscaler.

    Without Prometheus there are no metrics of ours to scale by, and CPU stands in for the decision rate.
    """
    return _keda(service) if service.spec.integrations.keda is not None else _horizontal(service)


def recommender(service: DecisionService) -> list[dict[str, Any]]:
    """Return the VerticalPodAutoscaler in recommendation mode, where the cluster has it."""
    if service.spec.integrations.vertical_pod_autoscaler is None:
        return []
    spec = {"targetRef": workload_reference(service), "updatePolicy": {"updateMode": "Off"}}
    return [instance(service, "autoscaling.k8s.io/v1", "VerticalPodAutoscaler", spec)]


def _horizontal(service: DecisionService) -> dict[str, Any]:
    scaling = service.spec.scaling
    metrics: list[dict[str, Any]]
    if service.spec.integrations.prometheus is None:
        utilization = {"type": "Utilization", "averageUtilization": 60}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}]
    else:
        metrics = [
            _pods_metric(RATE_METRIC, str(scaling.decisions_per_second)),
            _pods_metric(LATENCY_METRIC, f"{scaling.latency_milliseconds}m"),
        ]
    return instance(
        service,
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        {
            "scaleTargetRef": workload_reference(service),
            "minReplicas": scaling.min,
            "maxReplicas": scaling.max,
            "metrics": metrics,
            "behavior": BEHAVIOR,
        },
    )


def _pods_metric(name: str, average: str) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": average}},
    }


def _keda(service: DecisionService) -> dict[str, Any]:
    scaling, integrations = service.spec.scaling, service.spec.integrations
    assert integrations.keda is not None  # noqa: S101  the caller saw to it, and the type to Prometheus
    assert integrations.prometheus is not None  # noqa: S101
    chosen = f'{{namespace="{service.metadata.namespace}",job="{service.metadata.name}"}}'
    address = integrations.prometheus.address

    def trigger(query: str, threshold: str, kind: str) -> dict[str, Any]:
        metadata = {
            "serverAddress": address,
            "query": query,
            "threshold": threshold,
            # No data is an error, never a zero: without an answer the number of pods stays what it is.
            "ignoreNullValues": "false",
        }
        return {"type": "prometheus", "metricType": kind, "metadata": metadata}

    return instance(
        service,
        "keda.sh/v1alpha1",
        "ScaledObject",
        {
            "scaleTargetRef": workload_reference(service),
            "minReplicaCount": scaling.min,
            "maxReplicaCount": scaling.max,
            "cooldownPeriod": integrations.keda.cooldown_seconds,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": BEHAVIOR}},
            "triggers": [
                trigger(f"sum({RATE_METRIC}{chosen})", str(scaling.decisions_per_second), "AverageValue"),
                trigger(f"max({LATENCY_METRIC}{chosen})", f"{scaling.latency_milliseconds / 1000:g}", "Value"),
            ],
        },
    )
