"""How much a decision service needs: pods, autoscaler bounds, partitions, PostgreSQL, storage, and what to price.

A plan is arithmetic over figures that are each marked measured or assumed, with where they come from, so that a
reader can replace what does not fit their models and machines. It promises nothing: measure your own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Annotated, Any, Final

import msgspec

from aboveboard.errors import Misuse
from aboveboard.spec.regions import Regions, failover_set
from aboveboard.spec.types import Purpose

SECONDS_A_MONTH: Final = 30.44 * 86_400
DAYS_A_MONTH: Final = 30.44


class Ground(StrEnum):
    """What a figure stands on."""

    MEASURED = "measured"
    ASSUMED = "assumed"
    GIVEN = "given"
    """By whoever asked for the plan."""


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number a plan rests on."""

    value: Annotated[float, msgspec.Meta(gt=0)]
    unit: str
    ground: Ground
    source: str
    """How it was measured, or why it is assumed."""


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The numbers a plan rests on; `capacity.json` holds ours."""

    decisions_per_core: Figure
    target_utilisation: Figure
    cores_per_pod: Figure
    memory_per_pod: Figure
    journal_bytes: Figure
    index_bytes: Figure
    event_bytes: Figure
    partition_bytes_per_second: Figure
    postgresql_writes_per_core: Figure
    storage_headroom: Figure


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of the service."""

    peak_tps: float
    """Decisions a second at the busiest, over all regions."""
    average_share: float
    """The average load as a share of the peak, in (0, 1]."""
    regions: tuple[str, ...]
    retention_months: int
    """How long decisions are kept."""
    zones: int = 3
    """Over how many zones the pods of a region are spread; one of them may be lost at the peak."""


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """What one region needs."""

    region: str
    peak_tps: float
    """Its share of the peak, and what it takes over when another region fails."""
    takes_over: float
    """How much of that is for another region, in decisions a second."""
    min_replicas: int
    max_replicas: int
    decisions_per_second_per_pod: int
    """What the autoscaler aims at."""
    cpu_cores: float
    """Requested by `max_replicas` pods."""
    memory_mib: int
    journal_gib_per_pod: int
    postgresql_cores: int
    postgresql_gib: int
    kafka_partitions: int
    kafka_gib: int
    """On each of three brokers, for a week."""

    def as_dict(self) -> dict[str, Any]:
        """Return the plan of the region, JSON-ready."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Plan:
    """What all regions need, and what to multiply with your prices."""

    regions: tuple[RegionPlan, ...]
    costs: dict[str, float]
    """Units a month, by what is priced."""
    figures: Figures

    def as_dict(self) -> dict[str, Any]:
        """Return the plan, JSON-ready, with the figures it rests on."""
        return {
            "regions": [region.as_dict() for region in self.regions],
            "cost_inputs_per_month": self.costs,
            "figures": msgspec.to_builtins(self.figures),
        }


def load_figures() -> Figures:
    """Return the figures that come with this package."""
    content = resources.files("aboveboard.deploy").joinpath("capacity.json").read_bytes()
    return msgspec.json.decode(content, type=Figures)


def plan_capacity(demand: Demand, figures: Figures, regions: Regions | None = None) -> Plan:
    """Return the plan for a demand.

    The peak is divided evenly. With `regions`, each region also carries what it takes over from the one region whose
    failure would bring it the most; where nothing may take over, the plan says so by taking over nothing. Raises
    `Misuse` for a demand that makes no sense and `NotFound` for an unknown region.
    """
    if not demand.regions or len(set(demand.regions)) != len(demand.regions):
        raise Misuse("name each region once", hint="--regions eu-west,us-east")
    if not (math.isfinite(demand.peak_tps) and demand.peak_tps > 0 and 0 < demand.average_share <= 1):
        raise Misuse(
            "a plan needs a peak above 0 and an average of at most the peak", hint="--tps 2000 --average 0.3"
        )
    if demand.zones < 1 or demand.retention_months < 1:
        raise Misuse("a plan needs at least one zone and one month", hint="--zones 3 --retention 25")
    own = demand.peak_tps / len(demand.regions)
    planned = tuple(
        _region_plan(name, own, own * _taken_over(name, demand.regions, regions), demand, figures)
        for name in demand.regions
    )
    return Plan(planned, _costs(planned, demand, figures), figures)


def _taken_over(name: str, planned: tuple[str, ...], regions: Regions | None) -> float:
    """Return, as a share of one region's load, the most that one other region's failure brings here.

    The first region that may take over does, as regions.yaml has it.
    """
    if regions is None:
        return 0.0
    load = 0.0
    for other in planned:
        targets = [target.name for target in failover_set(regions, other, Purpose.CREDIT_DECISION)]
        first = next((target for target in targets if target in planned), None)
        if first == name:
            load = 1.0  # one region at a time is planned for
    return load


def _region_plan(name: str, own: float, taken_over: float, demand: Demand, figures: Figures) -> RegionPlan:
    peak = own + taken_over
    aim = figures.decisions_per_core.value * figures.cores_per_pod.value * figures.target_utilisation.value
    needed = math.ceil(peak / aim)
    # With one zone gone, those that stay carry the peak.
    spread = max(demand.zones, math.ceil(needed * demand.zones / (demand.zones - 1)) if demand.zones > 1 else needed)
    least = max(demand.zones, 2, math.ceil(own * demand.average_share / aim) + 1)
    most = max(spread, least)
    month = own * demand.average_share * SECONDS_A_MONTH
    kept = month * demand.retention_months
    headroom = figures.storage_headroom.value
    event_rate = peak * figures.event_bytes.value
    week = month / DAYS_A_MONTH * 7
    return RegionPlan(
        region=name,
        peak_tps=peak,
        takes_over=taken_over,
        min_replicas=min(least, most),
        max_replicas=most,
        decisions_per_second_per_pod=max(1, math.floor(aim)),
        cpu_cores=most * figures.cores_per_pod.value,
        memory_mib=math.ceil(most * figures.memory_per_pod.value),
        journal_gib_per_pod=_gib(kept * figures.journal_bytes.value * headroom / min(least, most)),
        postgresql_cores=max(2, math.ceil(peak / figures.postgresql_writes_per_core.value)),
        postgresql_gib=_gib(kept * figures.index_bytes.value * headroom),
        # One consumer for each partition keeps up with a pod's events; never fewer than brokers.
        kafka_partitions=max(3, most, math.ceil(event_rate / figures.partition_bytes_per_second.value)),
        kafka_gib=_gib(week * figures.event_bytes.value * headroom),
    )


def _costs(planned: tuple[RegionPlan, ...], demand: Demand, figures: Figures) -> dict[str, float]:
    hours = SECONDS_A_MONTH / 3600
    average = {
        # What autoscaling leaves running on average: never below the least, in proportion above it.
        region.region: max(region.min_replicas, math.ceil(region.max_replicas * demand.average_share))
        for region in planned
    }
    pods = sum(average.values())
    month = demand.peak_tps * demand.average_share * SECONDS_A_MONTH
    return {
        "decisions": round(month),
        "pod_core_hours": round(pods * figures.cores_per_pod.value * hours),
        "pod_memory_gib_hours": round(pods * figures.memory_per_pod.value / 1024 * hours),
        "postgresql_core_hours": round(sum(region.postgresql_cores for region in planned) * 3 * hours),
        "postgresql_storage_gib": sum(region.postgresql_gib for region in planned) * 3,
        "journal_storage_gib": sum(region.journal_gib_per_pod * region.min_replicas for region in planned),
        "kafka_storage_gib": sum(region.kafka_gib for region in planned) * 3,
    }


def _gib(count: float) -> int:
    return max(1, math.ceil(count / 2**30))
