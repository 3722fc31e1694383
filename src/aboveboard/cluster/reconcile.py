"""Which objects a DecisionService becomes. Pure: the same service and context give the same objects, in one order."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.types import DecisionService

__all__ = ["ReconcileContext", "desired_objects"]


def desired_objects(service: DecisionService, context: ReconcileContext) -> list[dict[str, Any]]:
    """Return every object a service needs, in the order in which they are applied.

    Raises `GateRefused` when the service may not run where this cluster is.
    """
    raise NotImplementedError
