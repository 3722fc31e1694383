"""What services consist of, as it changes: which change concerns which service. Pure but for what it remembers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aboveboard.cluster.naming import MANAGER
from aboveboard.cluster.types import GROUP
from aboveboard.ids import sha256_digest

LABELS: Mapping[str, str] = {"app.kubernetes.io/managed-by": MANAGER}
"""By which the API server tells our objects from everybody else's: nothing else is sent."""

WATCHED: Mapping[str, str] = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Rollout": "argoproj.io/v1alpha1",
    "Service": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
}
"""What runs, and what keeps strangers out or pods up. ConfigMaps and accounts are not among them: the right to watch
ours would be the right to read everybody's. They are looked at with the rest."""

_WORKLOADS = frozenset({"Deployment", "StatefulSet", "Rollout"})
_STANDING = ("observedGeneration", "replicas", "readyReplicas", "updatedReplicas")
"""What a service's own status is made of; the rest of a workload's status changes more often than it matters."""


class OwnedObjects:
    """How each object stood when it was last heard of, as a digest: 64 bytes for each, not the object."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._seen: dict[str, tuple[str, str]] = {}

    def listed(self, items: Iterable[Mapping[str, Any]]) -> set[str]:
        """Take a whole list; return the uids of the services of which something came, went or changed."""
        before, self._seen = self._seen, {}
        for item in items:
            self._note(item)
        return {
            owner
            for uid in {**before, **self._seen}
            if before.get(uid) != self._seen.get(uid)
            for owner, _ in (self._seen.get(uid) or before[uid],)
        }

    def happened(self, what: str, item: Mapping[str, Any]) -> set[str]:
        """Take one event of a watch; return the uid of the service it matters to, if it does to any."""
        uid = item["metadata"]["uid"]
        before = self._seen.pop(uid, None)
        if what == "DELETED":
            return {before[0]} if before is not None else set()
        if what not in ("ADDED", "MODIFIED"):
            return set()
        self._note(item)
        now = self._seen.get(uid)
        return {found[0] for found in (before, now) if found is not None} if before != now else set()

    def _note(self, item: Mapping[str, Any]) -> None:
        owner = owner_of(item)
        if owner is not None:
            self._seen[item["metadata"]["uid"]] = owner, fingerprint(self._kind, item)


def owner_of(item: Mapping[str, Any]) -> str | None:
    """Return the uid of the service that an object belongs to."""
    for reference in item["metadata"].get("ownerReferences") or ():
        ours = reference.get("kind") == "DecisionService" and str(reference.get("apiVersion")).startswith(f"{GROUP}/")
        if ours and reference.get("controller"):
            return str(reference["uid"])
    return None


def fingerprint(kind: str, item: Mapping[str, Any]) -> str:
    """Return a digest of what matters to a service about one of its objects."""
    metadata, status = item["metadata"], item.get("status") or {}
    matters = [
        {key: value for key, value in item.items() if key not in ("metadata", "status")},
        [metadata.get(key) for key in ("labels", "annotations", "ownerReferences", "deletionTimestamp")],
        [status.get(key) for key in _STANDING] if kind in _WORKLOADS else None,
    ]
    return sha256_digest(json.dumps(matters, sort_keys=True, default=str).encode())
