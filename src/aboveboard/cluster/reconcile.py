"""Which objects a DecisionService becomes. Pure: the same service and context give the same objects, in one order."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.mesh import traffic
from aboveboard.cluster.network import network_policies, services
from aboveboard.cluster.observability import observation
from aboveboard.cluster.rollout import rollout
from aboveboard.cluster.scaling import autoscaler, recommender
from aboveboard.cluster.types import DecisionService, RolloutForm
from aboveboard.cluster.workload import account, config_map, disruption_budget, workload

__all__ = ["ReconcileContext", "desired_objects"]


def desired_objects(service: DecisionService, context: ReconcileContext) -> list[dict[str, Any]]:
    """Return every object a service needs, in the order in which they are applied.

    What pods refer to comes before them, and what keeps strangers out before anything listens. Raises `GateRefused`
    when the service may not run where this cluster is.
    """
    separate = service.spec.rollout.form is RolloutForm.SEPARATE_PODS
    return [
        account(service),
        config_map(service),
        *network_policies(service, context),
        *services(service),
        *traffic(service, context),
        *observation(service),
        disruption_budget(service),
        *(rollout(service, context) if separate else [workload(service, context)]),
        autoscaler(service),
        *recommender(service),
    ]
