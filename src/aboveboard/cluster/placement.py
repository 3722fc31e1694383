"""How much hardware a decision service gets, where, and where its journal is kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aboveboard.spec.types import Strict

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=32)]
"""A Kubernetes quantity, e.g. `500m`, `2Gi`."""

LabelKey = Annotated[str, Field(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$", max_length=63)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", max_length=253)]
"""A DNS-1123 subdomain, as most Kubernetes objects are named."""


class Scaling(Strict):
    """Between how many pods, and what each should carry."""

    min: Annotated[int, Field(ge=1, le=1000)] = 3
    """One pod in each of three zones by default."""
    max: Annotated[int, Field(ge=1, le=1000)] = 12
    decisions_per_second: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """What one pod should carry on average; above it another is started."""
    latency_milliseconds: Annotated[int, Field(ge=1, le=60_000)] = 50
    """The 99th percentile above which another pod is started: below the objective, so that it comes in time."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class Gpu(Strict):
    """Accelerators for the families of models that need them."""

    resource: LabelKey = "nvidia.com/gpu"
    count: Annotated[int, Field(ge=1, le=16)] = 1


class Resources(Strict):
    """What each pod asks for. Memory is also its limit; CPU has none, so that it is never throttled mid-decision."""

    cpu: Quantity = "1"
    memory: Quantity = "512Mi"
    gpu: Gpu | None = None


class Journal(Strict):
    """Where decisions are made durable before they are answered."""

    mode: Literal["per-pod", "shared", "ephemeral"] = "per-pod"
    """`per-pod`: a volume for each pod (StatefulSet), kept when pods go. `shared`: a folder for each pod on one claim
    that many can write. `ephemeral`: gone with the pod, for trying out."""
    size: Quantity = "20Gi"
    storage_class: ObjectName | None = None
    """The cluster's default class where none is named."""
    claim: ObjectName | None = None
    """The PersistentVolumeClaim (ReadWriteMany) of `shared`."""

    @model_validator(mode="after")
    def _claim_goes_with_shared(self) -> Self:
        if (self.mode == "shared") != (self.claim is not None):
            raise ValueError("claim goes with mode shared, and mode shared with a claim")
        return self


class Toleration(Strict):
    """A taint the pods tolerate, e.g. that of a GPU pool."""

    key: LabelKey
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _value_goes_with_equal(self) -> Self:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("a value goes with Equal, and none with Exists")
        return self


class Placement(Strict):
    """On which nodes pods may be, beyond the regions."""

    priority_class: ObjectName | None = None
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
