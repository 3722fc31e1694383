"""What reconciling must know besides the service itself: image, registry and regions of this installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aboveboard.cluster.types import DecisionService
from aboveboard.errors import GateRefused

REGION_LABEL = "topology.kubernetes.io/region"
"""Which label of a node says where it stands. The cloud's controller sets it."""


@dataclass(frozen=True, slots=True)
class ReconcileContext:
    """The installation a service is reconciled for. A value: nothing in it is looked up."""

    image: str
    """The decision server, by digest: `registry/name@sha256:…`."""
    repository: str
    """Where releases are fetched from: `registry/name` of an OCI repository."""
    trust_config_map: str = "aboveboard-trust"
    """The ConfigMap, in the service's namespace, whose `trust.json` says whose signatures count."""
    registry_secret: str | None = None
    """A Secret of type kubernetes.io/dockerconfigjson for image and releases."""
    registry_is_plain_http: bool = False
    """For a registry on the same machine, in trials; a release is verified whatever brought it."""
    region: str | None = None
    """The region this cluster is in; None where it spans several."""
    node_regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of the nodes' region label by our name of the region; a region that is not here is its own value."""
    dns_namespace: str = "kube-system"
    origin: str = "aboveboard.local/log"
    """The name of the audit log on its checkpoints; each pod adds its own."""

    def node_values(self, service: DecisionService) -> tuple[str, ...]:
        """Return the values of the nodes' region label among which the pods of a service may be placed.

        Raises `GateRefused` when the service may not run in this cluster's region.
        """
        allowed = service.spec.regions
        if self.region is not None:
            if self.region not in allowed:
                raise GateRefused(
                    f"{service.metadata.name} may run in {', '.join(allowed)}, and this cluster is in {self.region}",
                    hint="deploy it in one of its regions, or add the region to the model and have it released again",
                    rule="residency",
                )
            allowed = (self.region,)
        return tuple(dict.fromkeys(value for name in allowed for value in self.node_regions.get(name, (name,))))
