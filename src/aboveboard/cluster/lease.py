"""Which of several operators acts: the holder of a Lease (coordination.k8s.io/v1), as client-go does it.

Pure decisions over what the Lease says and when this process saw it change: clocks of different machines are never
compared. Every write carries the resourceVersion that was read, so that of two who try at once one fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

DURATION_SECONDS = 15
"""For which a Lease that nobody renews is honoured."""
RENEW_SECONDS = 5
DEADLINE_SECONDS = 10
"""Without a renewal for so long the holder stops acting: before anybody else may begin."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A Lease as this process last saw it change, on its own steady clock."""

    version: str
    holder: str
    seen: float
    """Seconds of the steady clock."""


def sighted(lease: Mapping[str, Any], before: Sighting | None, now: float) -> Sighting:
    """Return what is now known of a Lease: the moment moves only when the Lease did."""
    version = str(lease["metadata"].get("resourceVersion", ""))
    holder = str((lease.get("spec") or {}).get("holderIdentity") or "")
    if before is not None and before.version == version:
        return replace(before, holder=holder)
    return Sighting(version, holder, now)


def may_take(sighting: Sighting, me: str, now: float) -> bool:
    """Tell whether this process may write itself into the Lease."""
    return sighting.holder in ("", me) or now - sighting.seen > DURATION_SECONDS


def held_by(lease: Mapping[str, Any] | None, me: str, *, name: str, namespace: str, at: datetime) -> dict[str, Any]:
    """Return the Lease as this process writes it: renewed, or taken over."""
    metadata = dict(lease["metadata"]) if lease is not None else {"name": name, "namespace": namespace}
    spec = dict((lease.get("spec") or {}) if lease is not None else {})
    moment = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # MicroTime
    if spec.get("holderIdentity") != me:
        spec["acquireTime"] = moment
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if lease is not None else 0)
    spec |= {"holderIdentity": me, "renewTime": moment, "leaseDurationSeconds": DURATION_SECONDS}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def released(lease: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Lease as its holder leaves it when it stops in good order: free at once."""
    spec = {key: value for key, value in (lease.get("spec") or {}).items() if key != "holderIdentity"}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": dict(lease["metadata"]),
        "spec": {**spec, "leaseDurationSeconds": 1},
    }
