"""What reconciling must know besides the service itself: image, registry and regions of this installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aboveboard.cluster.types import DecisionService
from aboveboard.errors import GateRefused
from aboveboard.spec.regions import Region, Regions, failover_set

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
    regions: Regions | None = None
    """regions.yaml, for which region may take over from which; without it none may."""
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

    def takes_over(self, service: DecisionService) -> tuple[Region, ...]:
        """Return the regions that may take over the traffic of this one, the first first; none where it is not known.

        Personal data may flow there without a condition, and the service is judged under the law of both places.
        """
        here = self._known(self.region)
        if self.regions is None or here is None:
            return ()
        laws = set(service.spec.jurisdictions)
        return tuple(
            target
            for target in failover_set(self.regions, here.name)
            if laws >= {*here.jurisdictions, *target.jurisdictions}
        )

    def stands_in(self, service: DecisionService) -> tuple[str, ...]:
        """Return the regions whose traffic pods here may take: this one first, then those it takes over from."""
        if self.region is None:
            return ()
        others = () if self.regions is None else (region.name for region in self.regions.spec.regions)
        return (
            self.region,
            *(
                name
                for name in others
                if self.region in (r.name for r in replace(self, region=name).takes_over(service))
            ),
        )

    def _known(self, name: str | None) -> Region | None:
        regions = () if self.regions is None else self.regions.spec.regions
        return next((region for region in regions if region.name == name), None)


def node_regions_of(regions: Regions | None) -> dict[str, tuple[str, ...]]:
    """Return, by our name of a region, what its nodes carry as `topology.kubernetes.io/region`."""
    return {region.name: (region.topology,) for region in regions.spec.regions} if regions is not None else {}
