"""Roll-outs in separate pods: Argo Rollouts moves the traffic, and the verdict of the monitoring decides.

The verdict metric is 1 (pass), 0 (not enough evidence) or -1 (fail). Success and failure are stated; everything else,
an empty answer included, is inconclusive: the measurement is taken again, and at last a person is asked. Time alone
promotes nothing.
"""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.mesh import ROUTE
from aboveboard.cluster.naming import instance, selector
from aboveboard.cluster.pod import pod_template
from aboveboard.cluster.types import DecisionService

VERDICT_METRIC = "aboveboard_rollout_verdict"
_QUERY = f"min({VERDICT_METRIC}" + '{model="{{args.model}}",release="{{args.release}}"})'


def rollout(service: DecisionService, context: ReconcileContext) -> list[dict[str, Any]]:
    """Return the analysis and the Rollout, which stands in for the Deployment."""
    argo = service.spec.integrations.argo_rollouts
    prometheus = service.spec.integrations.prometheus
    assert argo is not None  # noqa: S101  the type saw to both
    assert prometheus is not None  # noqa: S101
    name = service.metadata.name
    analysis = {
        "args": [{"name": "model"}, {"name": "release"}, {"name": "inconclusive-limit"}],
        "metrics": [
            {
                "name": "verdict",
                "interval": f"{argo.verdict_every_seconds}s",
                "successCondition": "len(result) > 0 && result[0] == 1",
                "failureCondition": "len(result) > 0 && result[0] == -1",
                "consecutiveSuccessLimit": 1,
                "failureLimit": 0,
                "inconclusiveLimit": "{{args.inconclusive-limit}}",
                # A Prometheus that is away for a while is no verdict on the release.
                "consecutiveErrorLimit": 30,
                "provider": {
                    "prometheus": {
                        "address": prometheus.address,
                        "query": _QUERY,
                    }
                },
            }
        ],
    }
    steps: list[dict[str, Any]] = []
    for step in service.spec.rollout.steps:
        limit = max(1, step.evidence_within_minutes * 60 // argo.verdict_every_seconds)
        arguments = {
            "model": service.spec.model,
            "release": service.spec.releases.champion,
            "inconclusive-limit": str(limit),
        }
        steps += [
            {"setWeight": step.weight},
            {
                "analysis": {
                    "templates": [{"templateName": name}],
                    "args": [{"name": key, "value": value} for key, value in arguments.items()],
                }
            },
        ]
    spec = {
        "revisionHistoryLimit": 5,
        "minReadySeconds": 5,
        "progressDeadlineSeconds": 600,
        "selector": {"matchLabels": selector(service)},
        "template": pod_template(service, context, hash_label="rollouts-pod-template-hash"),
        "strategy": {
            "canary": {
                "stableService": f"{name}-stable",
                "canaryService": f"{name}-canary",
                "trafficRouting": _routing(service),
                "steps": steps,
                "maxSurge": 1,
                "maxUnavailable": 0,
                # The old pods stay for a while: going back needs no start.
                "scaleDownDelaySeconds": 600,
            }
        },
    }
    return [
        instance(service, "argoproj.io/v1alpha1", "AnalysisTemplate", analysis),
        instance(service, "argoproj.io/v1alpha1", "Rollout", spec),
    ]


def _routing(service: DecisionService) -> dict[str, Any]:
    name = service.metadata.name
    if service.spec.integrations.istio is not None:
        return {"istio": {"virtualService": {"name": name, "routes": [ROUTE]}}}
    route = {"httpRoute": name, "namespace": service.metadata.namespace}
    return {"plugins": {"argoproj-labs/gatewayAPI": route}}
