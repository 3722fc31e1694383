"""Aboveboard on Kubernetes: custom resources, the objects they become, the operator and the admission webhook.

`types` says what people write, `crds` turns it into CustomResourceDefinitions, `reconcile` says which objects a
DecisionService becomes (pure: the same service and context give the same objects), `plan` what has to change, and
`operator` and `admission` are the two processes that act on it. Nothing is scored, trained or evaluated here, and no
chart is rendered. `cli` and `deploy` import this package; it imports `release`, `policy`, `spec` and what is below.
Only `operator` and `kube` touch kopf and an HTTP client, and only when they are called.
"""

from __future__ import annotations

from aboveboard.cluster.crds import crd_documents
from aboveboard.cluster.reconcile import ReconcileContext, desired_objects
from aboveboard.cluster.types import DecisionService, load_service

__all__ = ["DecisionService", "ReconcileContext", "crd_documents", "desired_objects", "load_service"]
