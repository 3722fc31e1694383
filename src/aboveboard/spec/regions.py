"""regions.yaml: where models may run, whose law holds there, and which data may flow from where to where.

Residency, node affinity, the list of Argo CD applications and the failover of a mesh all follow from this one file.
Whatever it does not allow is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from aboveboard.errors import NotFound, Problem
from aboveboard.spec.agreement import Disagreement
from aboveboard.spec.model import ModelSpec
from aboveboard.spec.reading import (
    DISAGREEMENT,
    dotted,
    invalid,
    line_of,
    parse_yaml,
    read_text,
    refusal,
    valid_items,
)
from aboveboard.spec.types import Name, Purpose, Strict, Text

ANYWHERE: Final = "*"
"""Stands for every jurisdiction, in `to` only: a rule is somebody's law."""

Hours = Annotated[str, Field(pattern=r"^PT[1-9]\d{0,4}H$")]
"""A duration of ISO 8601 in whole hours, e.g. `PT24H`."""


class FlowEffect(StrEnum):
    """What a rule says about data that leave their jurisdiction, from the mildest to the strictest."""

    ALLOW = "allow"
    LOCAL_COPY = "local-copy"
    """Data may leave while a copy stays where they came from."""
    DELETE_AFTER = "delete-after"
    """Data may leave to be processed, and are deleted there within a time."""
    DENY = "deny"


STRICTNESS: Final = {effect: rank for rank, effect in enumerate(FlowEffect)}


class Region(Strict):
    """A place where models run: one Kubernetes cluster, in one cloud, under the law of its jurisdictions."""

    name: Name
    cloud: Name
    """Whose it is, e.g. `aws`, `gcp`, `azure`, `on-premises`."""
    location: Text | None = None
    """The cloud's own name: what its nodes carry as `topology.kubernetes.io/region`. By default `name`."""
    zones: Annotated[tuple[Text, ...], Field(min_length=1)]
    """What the nodes carry as `topology.kubernetes.io/zone`."""
    jurisdictions: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Whose law holds there, e.g. `eu`; a place may be under several."""
    failover: tuple[Name, ...] = ()
    """Regions that take over the traffic, the first first."""
    cluster: Text | None = None
    """The URL of its Kubernetes API server, as Argo CD knows it. By default a cluster of the region's name."""

    @property
    def topology(self) -> str:
        """Return what nodes there carry as `topology.kubernetes.io/region`."""
        return self.location or self.name


class FlowRule(Strict):
    """What one law says about personal data that leave its jurisdictions."""

    name: Name
    origin: Annotated[tuple[Name, ...], Field(alias="from", min_length=1)]
    """The jurisdictions whose law this is."""
    to: Annotated[tuple[Name | Literal["*"], ...], Field(min_length=1)]
    """The jurisdictions data go to; `*` is anywhere else."""
    effect: FlowEffect
    within: Hours | None = None
    """For `delete-after`: by when the data are deleted there."""
    purposes: tuple[Purpose, ...] = ()
    """The purposes the rule is about; none means every purpose."""
    citation: Text
    basis: Text | None = None
    """What makes the flow lawful in your case, e.g. the contract that holds the clauses."""

    @model_validator(mode="after")
    def _the_effect_is_complete(self) -> Self:
        if (self.effect is FlowEffect.DELETE_AFTER) != (self.within is not None):
            raise ValueError("delete-after says within what time, and nothing else does")
        return self

    def concerns(self, jurisdiction: str, target: Region, purpose: Purpose | None) -> bool:
        """Tell whether the rule is about data of a jurisdiction that go to a region.

        Where the purpose is not known, a rule about some purposes counts only when it forbids.
        """
        named = set(self.to) & {ANYWHERE, *target.jurisdictions}
        for_purpose = not self.purposes or (
            self.effect is FlowEffect.DENY if purpose is None else purpose in self.purposes
        )
        return jurisdiction in self.origin and bool(named) and for_purpose


class RegionsSpec(Strict):
    """The regions, and the rules about data that flow between them."""

    regions: Annotated[tuple[Region, ...], Field(min_length=1)]
    flows: tuple[FlowRule, ...] = ()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        found = tuple(_disagreements(dict(enumerate(self.regions)), dict(enumerate(self.flows))))
        if found:
            raise PydanticCustomError(DISAGREEMENT, "parts of the file disagree", {"found": found})
        return self


class Regions(Strict):
    """A regions.yaml, version `aboveboard.dev/v1alpha1`."""

    api_version: Literal["aboveboard.dev/v1alpha1"]
    kind: Literal["Regions"]
    spec: RegionsSpec

    def region(self, name: str) -> Region:
        """Return the region of a name. Raises `NotFound`."""
        for region in self.spec.regions:
            if region.name == name:
                return region
        raise NotFound(
            f"no region {name!r} in regions.yaml",
            hint=f"known: {', '.join(region.name for region in self.spec.regions)}",
        )


@dataclass(frozen=True, slots=True)
class FlowVerdict:
    """Whether data may flow from one region to another, and why."""

    source: str
    target: str
    allowed: bool
    effect: FlowEffect
    rules: tuple[FlowRule, ...]
    """The rules that decided; none when nothing crosses a border, or when no rule speaks."""
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON-ready document."""
        return {
            "from": self.source,
            "to": self.target,
            "allowed": self.allowed,
            "effect": self.effect.value,
            "reason": self.reason,
            "rules": [
                {"name": rule.name, "effect": rule.effect.value, "within": rule.within, "citation": rule.citation}
                for rule in self.rules
            ],
        }


def judge_flow(
    rules: Sequence[FlowRule], source: Region, target: Region, purpose: Purpose | None = None
) -> FlowVerdict:
    """Decide whether personal data kept in `source` may go to `target` for a purpose.

    Every law that holds at the source has its say. Data that stay under a law need no rule of it; data that leave
    it need one. Of all rules that speak the strictest decides; where a law is silent the flow is refused. A rule
    that denies also holds between two regions that share a jurisdiction.
    """
    if source.name == target.name:
        return _verdict(source, target, FlowEffect.ALLOW, (), "the data stay where they are")
    deciding: list[FlowRule] = []
    for jurisdiction in source.jurisdictions:
        speaking = [rule for rule in rules if rule.concerns(jurisdiction, target, purpose)]
        if jurisdiction in target.jurisdictions:
            # Anywhere means anywhere else: a law that keeps data at home does not keep them from moving at home.
            speaking = [rule for rule in speaking if jurisdiction in rule.to]
        elif not speaking:
            reason = f"no rule of {jurisdiction} lets data go to {' or '.join(target.jurisdictions)}"
            return _verdict(source, target, FlowEffect.DENY, (), reason)
        deciding += [rule for rule in speaking if rule not in deciding]
    if not deciding:
        shared = ", ".join(source.jurisdictions)
        return _verdict(source, target, FlowEffect.ALLOW, (), f"both lie in {shared}")
    effect = max((rule.effect for rule in deciding), key=STRICTNESS.__getitem__)
    decisive = tuple(rule for rule in deciding if rule.effect is effect)
    words = {
        FlowEffect.ALLOW: "allowed",
        FlowEffect.LOCAL_COPY: f"allowed while a copy stays in {source.name}",
        FlowEffect.DELETE_AFTER: f"allowed when deleted in {target.name} within {shortest(decisive)}",
        FlowEffect.DENY: "denied",
    }[effect]
    citations = "; ".join(dict.fromkeys(rule.citation for rule in decisive))
    return _verdict(source, target, effect, decisive, f"{words}: {citations}")


def shortest(rules: Sequence[FlowRule]) -> str | None:
    """Return the shortest time any of the rules grants before data are deleted."""
    times = [rule.within for rule in rules if rule.within is not None]
    return min(times, key=lambda within: int(within[2:-1]), default=None)


def failover_set(regions: Regions, name: str, purpose: Purpose | None = None) -> tuple[Region, ...]:
    """Return the regions that may take over the traffic of a region, the first first. Raises `NotFound`.

    Only flows that are allowed without a condition count: a copy cannot stay behind in a region that is down.
    """
    source = regions.region(name)
    targets = (regions.region(target) for target in source.failover)
    verdicts = ((target, judge_flow(regions.spec.flows, source, target, purpose)) for target in targets)
    return tuple(target for target, verdict in verdicts if verdict.effect is FlowEffect.ALLOW)


def residency_problems(model: ModelSpec, regions: Regions, *, name: str = "model.yaml") -> list[Problem]:
    """Return what a model spec asks for that the regions do not allow.

    Its regions must be known, their law must be among those the model is judged under, and its data must be
    allowed to flow from where they are kept to everywhere the model runs.
    """
    body = model.spec
    known = {region.name: region for region in regions.spec.regions}
    problems = []
    source = known.get(body.data.source.region)
    for index, asked in enumerate(body.regions):
        path = f"spec.regions[{index}]"
        target = known.get(asked)
        if target is None:
            problems.append(Problem(path, f"no region {asked!r} in regions.yaml", _suggest(asked, known), name))
            continue
        if missing := [law for law in target.jurisdictions if law not in body.jurisdictions]:
            message = f"{asked} is under the law of {' and '.join(missing)}, which does not judge this model"
            problems.append(Problem(path, message, "add it under jurisdictions, or do not run there", name))
        if (
            source is not None
            and not (verdict := judge_flow(regions.spec.flows, source, target, body.purpose)).allowed
        ):
            message = f"data in {source.name} may not flow to {asked}: {verdict.reason}"
            hint = "do not run there, keep the data elsewhere, or add the rule that allows it to regions.yaml"
            problems.append(Problem(path, message, hint, name))
    return problems


def load_regions(path: Path) -> Regions:
    """Return the regions in the YAML file at `path`.

    Raises `NotFound` when there is no such file and `SpecInvalid` with every problem when it is not valid.
    """
    return parse_regions(read_text(path, hint="copy examples/regions.yaml and make it yours"), name=str(path))


def parse_regions(text: str, *, name: str) -> Regions:
    """Return the regions in `text`; `name` stands for the file in messages. Raises `SpecInvalid`."""
    document = parse_yaml(text, name, "a regions file")
    try:
        return Regions.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [*invalid(error, document, name, Regions), *_disagreeing(document, name)]
        raise refusal(problems, name, "the regions") from error


def _disagreeing(document: Any, name: str) -> Iterator[Problem]:
    """Yield what is wrong between parts, looking only at the parts that are valid by themselves."""
    body = document.get("spec")
    if not isinstance(body, dict):
        return
    regions = valid_items(Region, body.get("regions"))
    whole = isinstance(body.get("regions"), list) and len(regions) == len(body["regions"])
    for found in _disagreements(regions, valid_items(FlowRule, body.get("flows")), whole=whole):
        path = ("spec", *found.path)
        yield Problem(dotted(path), found.message, found.hint, name, line_of(document, path))


def _disagreements(
    regions: Mapping[int, Region], flows: Mapping[int, FlowRule], *, whole: bool = True
) -> Iterator[Disagreement]:
    """Yield everything that is wrong between the parts. `whole` tells that no region was left out as invalid."""
    yield from _twice("regions", {index: region.name for index, region in regions.items()})
    yield from _twice("flows", {index: rule.name for index, rule in flows.items()})
    if not whole:
        return
    by_name = {region.name: region for region in regions.values()}
    laws = {law for region in regions.values() for law in region.jurisdictions}
    for index, rule in flows.items():
        for key, names in (("from", rule.origin), ("to", rule.to)):
            for position, law in enumerate(names):
                if law not in laws and law != ANYWHERE:
                    message = f"no region lies in {law!r}"
                    yield Disagreement(("flows", index, key, position), message, _suggest(law, laws))
    for index, region in regions.items():
        for position, other in enumerate(region.failover):
            path = ("regions", index, "failover", position)
            if other not in by_name:
                yield Disagreement(path, f"no region {other!r}", _suggest(other, by_name))
            elif other == region.name:
                yield Disagreement(path, "a region does not take over from itself", "remove it")
            elif not _ever_allowed(tuple(flows.values()), region, by_name[other]):
                reason = judge_flow(tuple(flows.values()), region, by_name[other]).reason
                yield Disagreement(
                    path,
                    f"{other} may not take over from {region.name}: {reason}",
                    "failover stays where data may go",
                )


def _ever_allowed(flows: Sequence[FlowRule], source: Region, target: Region) -> bool:
    purposes = (None, *Purpose)
    return any(judge_flow(flows, source, target, purpose).effect is FlowEffect.ALLOW for purpose in purposes)


def _twice(key: str, names: Mapping[int, str]) -> Iterator[Disagreement]:
    seen: set[str] = set()
    for index, name in names.items():
        if name in seen:
            yield Disagreement((key, index, "name"), f"{name!r} is declared twice", "remove one")
        seen.add(name)


def _suggest(name: str, known: Collection[str]) -> str:
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(sorted(known))}"


def _verdict(
    source: Region, target: Region, effect: FlowEffect, rules: tuple[FlowRule, ...], reason: str
) -> FlowVerdict:
    return FlowVerdict(source.name, target.name, effect is not FlowEffect.DENY, effect, rules, reason)
