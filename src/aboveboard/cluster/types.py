"""The custom resources people write: DecisionService, Model and PolicyPack, group `aboveboard.dev/v1alpha1`.

Every list and text has a bound: the API server estimates the cost of a CEL rule from them, and refuses a definition
whose rules might cost too much.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aboveboard.cluster.placement import Journal, ObjectName, Placement, Resources, Scaling
from aboveboard.cluster.surroundings import Access, Integrations, Log, Network
from aboveboard.errors import Problem, SpecInvalid
from aboveboard.policy.pack import Manifest
from aboveboard.policy.rehearsal import PackTest
from aboveboard.spec.model import Spec
from aboveboard.spec.types import Fraction, Strict, Text

GROUP = "aboveboard.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", max_length=63)]
"""A DNS-1123 label, bounded for CEL."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
"""A release, by the digest of its manifest: never by a tag, which somebody could move."""


class ObjectMeta(BaseModel):
    """What we read of Kubernetes' own metadata; the rest of it is the API server's business."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=Strict.model_config["alias_generator"])

    name: Annotated[Label, Field(max_length=50)]
    """Short enough for the labels and the services derived from it."""
    namespace: Label = "default"
    uid: str | None = None
    """Set by the API server. Without one, as when rendering to files, objects get no owner reference."""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    deletion_timestamp: str | None = None


class Challenger(Strict):
    """A release that decides about a share of subjects beside the champion."""

    release: Digest
    weight: Annotated[int, Field(ge=0, le=100)]
    """Its share of subjects now, in per cent. The same person always meets the same release."""


class Arm(Strict):
    """A release that decides about a share of subjects under a name of its own, as in an A/B test."""

    name: Label
    """Stands in answers, metrics and the log. `champion`, `challenger` and `shadow` are taken."""
    release: Digest
    """The champion's own makes a control group, so that like is compared with like."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """Its share of subjects now, in per cent."""


class Releases(Strict):
    """Which releases are in service, by digest."""

    champion: Digest
    challenger: Challenger | None = None
    arms: Annotated[
        tuple[Arm, ...],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    """Further releases that decide beside the champion. Who is in no arm is decided about by the champion."""
    shadows: Annotated[tuple[Digest, ...], Field(max_length=8)] = ()
    """Releases that score every request beside the one that decides, and answer nobody."""

    def digests(self) -> tuple[str, ...]:
        """Return every release named, each once, the champion first."""
        challenger = (self.challenger.release,) if self.challenger else ()
        return tuple(dict.fromkeys((self.champion, *challenger, *(arm.release for arm in self.arms), *self.shadows)))

    def shares(self) -> dict[str, int]:
        """Return the share of subjects by track, in per cent, the champion's first."""
        beside = {"challenger": self.challenger.weight} if self.challenger else {}
        beside |= {arm.name: arm.weight for arm in self.arms}
        return {"champion": 100 - sum(beside.values()), **beside}

    @model_validator(mode="after")
    def _tracks_differ(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms have one name")
        if taken := {"champion", "challenger", "shadow"} & set(names):
            raise ValueError(f"an arm cannot be called {' or '.join(sorted(taken))}: those are tracks of their own")
        if self.shares()["champion"] < 0:
            raise ValueError("the weights of challenger and arms add up to more than 100")
        if self.challenger is not None and self.challenger.release == self.champion:
            raise ValueError("a release cannot be challenger to itself")
        # An arm may have the champion's release, as a control group.
        arms = [*([self.challenger.release] if self.challenger else []), *(arm.release for arm in self.arms)]
        if len(set(arms)) != len(arms):
            raise ValueError("each arm has a release of its own")
        shadows = set(self.shadows)
        if len(shadows) != len(self.shadows) or shadows & {self.champion, *arms}:
            raise ValueError("a release cannot be shadow to itself")
        return self


class RolloutForm(StrEnum):
    """How a new release takes over."""

    IN_PROCESS = "in-process"
    """All releases side by side in every pod; the track is chosen by a keyed hash of the subject."""
    SEPARATE_PODS = "separate-pods"
    """Argo Rollouts shifts traffic between pods of the old and the new champion; for heavy models."""


class Step(Strict):
    """A share of traffic for the new release, and how long to wait for evidence before a person is asked."""

    weight: Annotated[int, Field(ge=1, le=99)]
    evidence_within_minutes: Annotated[int, Field(ge=1, le=43_200)] = 10_080
    """Minutes without a verdict after which the roll-out pauses; a week by default. Time alone promotes nothing."""


class Rollout(Strict):
    """How a new release takes over from the old one."""

    form: RolloutForm = RolloutForm.IN_PROCESS
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=16)] = (
        Step(weight=1),
        Step(weight=5),
        Step(weight=25),
    )
    """The shares on the way to everything, for separate pods. In one process the challenger's weight is set."""

    @model_validator(mode="after")
    def _weights_grow(self) -> Self:
        weights = [step.weight for step in self.steps]
        if weights != sorted(set(weights)):
            raise ValueError("each step's weight is above the one before")
        return self


class Objectives(Strict):
    """The service level that alerts are derived from."""

    p99_milliseconds: Annotated[int, Field(ge=1, le=60_000)] = 100
    availability: Annotated[Fraction, Field(lt=1)] = 0.999


class DecisionServiceSpec(Strict):
    """Which releases decide, where, under whose law, and on how much hardware."""

    model: Label
    """The name of the model, as its spec has it. It stays what it is; another model is another service."""
    releases: Releases
    jurisdictions: Annotated[tuple[Label, ...], Field(min_length=1, max_length=32)]
    """Under whose law it decides; each release must have been judged under every one of them."""
    regions: Annotated[tuple[Label, ...], Field(min_length=1, max_length=32)]
    """Where it may run. Pods are bound to nodes there, and never placed anywhere else."""
    rollout: Rollout = Rollout()
    scaling: Scaling = Scaling()
    objectives: Objectives = Objectives()
    resources: Resources = Resources()
    journal: Journal = Journal()
    log: Log | None = None
    """One audit log for every pod. Without it each pod keeps one of its own, on its journal's volume."""
    placement: Placement = Placement()
    release_volume: Literal["init", "image"] = "init"
    """How releases come to a pod: `init` fetches them from the registry at each start; `image` has the kubelet pull
    them once for each node and mount them, which takes image volumes and a runtime that mounts OCI artifacts."""
    access: Access
    network: Network = Network()
    integrations: Integrations = Integrations()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        """Hold what the CEL rules of the CRD hold, for those who have no API server at hand."""
        releases, integrations = self.releases, self.integrations
        if self.rollout.form is RolloutForm.SEPARATE_PODS:
            if releases.challenger is not None or releases.arms or releases.shadows:
                raise ValueError(
                    "with separate pods name the new release as champion: Argo Rollouts takes it through the steps"
                )
            if integrations.argo_rollouts is None or integrations.prometheus is None:
                raise ValueError("separate pods need integrations.argoRollouts and integrations.prometheus")
            if integrations.istio is None and integrations.gateway is None:
                raise ValueError(
                    "separate pods need integrations.istio or integrations.gateway to divide the traffic"
                )
            if self.journal.mode == "per-pod":
                raise ValueError("separate pods cannot have a volume each: use journal.mode shared")
        if integrations.istio is not None and integrations.gateway is not None:
            raise ValueError("integrations.istio and integrations.gateway exclude each other")
        if integrations.keda is not None and integrations.prometheus is None:
            raise ValueError("integrations.keda asks Prometheus: name integrations.prometheus")
        return self


class ServiceMeta(ObjectMeta):
    """The metadata of a DecisionService. Services are named after it, and theirs begin with a letter (RFC 1035)."""

    name: Annotated[Label, Field(max_length=50, pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]


class DecisionService(Strict):
    """A model in service: custom resource `decisionservices.aboveboard.dev`."""

    model_config = ConfigDict(extra="forbid")

    api_version: Literal["aboveboard.dev/v1alpha1"]
    kind: Literal["DecisionService"]
    metadata: ServiceMeta
    spec: DecisionServiceSpec
    status: dict[str, Any] = {}
    """What the operator found. Never read when deciding what should be."""


class PolicyPackSpec(Strict):
    """The rules of an organisation, in the shape of a policy pack's folder."""

    manifest: Manifest
    """The content of `pack.yaml`."""
    modules: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}\.rego$")], Annotated[str, Field(max_length=65_536)]],
        Field(min_length=1, max_length=16),
    ]
    """Rego by file name."""
    tests: Annotated[tuple[PackTest, ...], Field(max_length=64, strict=False)] = ()
    """What its rules must say about some facts; a pack whose tests come out otherwise is not valid."""
    namespaces: Annotated[tuple[Label, ...], Field(max_length=256)] = ()
    """Which namespaces a pack of the policy namespace judges; none means all. Any other pack judges its own."""


class Pipeline(Strict):
    """How the pipeline of a model runs in the cluster: `aboveboard run`, once when asked, or on a schedule."""

    run: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$", max_length=63)] | None = None
    """Asks for one run, under a name of your choice; another name asks for another run."""
    schedule: Annotated[str, Field(pattern=r"^[0-9A-Za-z*/,@ -]{5,100}$", max_length=100)] | None = None
    """When it runs by itself, as cron writes it, in UTC."""
    suspend: bool = False
    """Whether the schedule rests."""
    fast: bool = False
    """Whether the search is skipped."""
    image: Annotated[str, Field(pattern=r"^[^\s@]+@sha256:[0-9a-f]{64}$", max_length=512)] | None = None
    """An image with the packages for training, by digest. The operator's own where none is named."""
    service_account: ObjectName = "default"
    data_claim: ObjectName
    """The PersistentVolumeClaim with the data, mounted to be read: `data/` beside model.yaml."""
    home_claim: ObjectName
    """The PersistentVolumeClaim where runs, releases and the log are kept."""
    resources: Resources = Resources(cpu="2", memory="4Gi")
    deadline_minutes: Annotated[int, Field(ge=1, le=10_080)] = 720
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """How many Jobs that succeeded are kept, of those asked for and of those of the schedule each."""
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=100)] = 1
    """How many Jobs that failed are kept, likewise."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """Seconds after which a Job that has ended goes, too, with its pods and what they printed."""


class ModelResourceSpec(Spec):
    """A model as a custom resource: what model.yaml says under `spec`, and its owner beside it."""

    owner: Annotated[Text, Field(max_length=320)]
    description: Text | None = None
    pipeline: Pipeline | None = None
    """How it is trained in this cluster, if it is."""


def load_service(document: Any, *, name: str = "DecisionService") -> DecisionService:
    """Return the DecisionService in a JSON-like document. Raises `SpecInvalid` with every problem."""
    try:
        return DecisionService.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [
            Problem(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "), file=name)
            for e in error.errors()
        ]
        raise SpecInvalid(f"{name}: not a valid DecisionService", problems, hint="mend each field named") from error
