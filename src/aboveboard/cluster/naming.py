"""How the objects of a service are named and labelled."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.types import API_VERSION, GROUP, DecisionService

PORT = 8080
"""Where the decision server listens in its pod."""
AGENT_PORT = 15020
"""Where Istio's agent in a pod tells metrics, in plain text: the proxy's and, merged with them, the server's."""

RESIDENCY_LABEL = f"{GROUP}/residency"
TAKES_FROM_PREFIX = f"from.{GROUP}/"
"""Before the name of a region: pods with this label may take the traffic of that region."""
RELEASE_LABEL = f"{GROUP}/release"
"""The first 16 hex digits of the champion's digest; labels hold at most 63 characters."""
RELEASES_ANNOTATION = f"{GROUP}/releases"
"""Every release a pod loads, whole digests, comma-separated: what admission verifies."""
MANAGER = "aboveboard"
"""The field manager of server-side apply."""


def selector(service: DecisionService) -> dict[str, str]:
    """Return the labels that all pods of a service have and no others; they never change."""
    return {"app.kubernetes.io/name": "decision-service", "app.kubernetes.io/instance": service.metadata.name}


def labels(service: DecisionService) -> dict[str, str]:
    """Return the labels of every object of a service."""
    return {
        **selector(service),
        "app.kubernetes.io/part-of": "aboveboard",
        "app.kubernetes.io/managed-by": MANAGER,
        f"{GROUP}/model": service.spec.model,
    }


def instance(
    service: DecisionService,
    api_version: str,
    kind: str,
    spec: dict[str, Any] | None = None,
    *,
    suffix: str = "",
    more_labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """Return one object of a service: its name, labels and owner, and what is its own."""
    metadata: dict[str, Any] = {
        "name": service.metadata.name + suffix,
        "namespace": service.metadata.namespace,
        "labels": {**labels(service), **(more_labels or {})},
    }
    if annotations:
        metadata["annotations"] = annotations
    if service.metadata.uid is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": "DecisionService",
                "name": service.metadata.name,
                "uid": service.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    document: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
    if spec is not None:
        document["spec"] = spec
    return {**document, **rest}
