"""DecisionServices as files: every mistake at once, written as short as they were, changed one step at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from aboveboard.cluster.types import Arm, Challenger, DecisionService, Releases, RolloutForm
from aboveboard.deploy.manifests import to_yaml
from aboveboard.errors import GateRefused, Misuse
from aboveboard.spec.reading import invalid, parse_yaml, read_text, refusal
from aboveboard.spec.regions import Region, Regions

PLACEHOLDER: Final = "sha256:" + "0" * 64
"""The champion of a service file that was never deployed: no release has this digest."""


def load_service_file(path: Path) -> DecisionService:
    """Return the DecisionService in a YAML file. Raises `NotFound`, and `SpecInvalid` with every problem."""
    return parse_service(read_text(path, hint="see docs/how-to/deploy-to-a-cluster.md for one"), name=str(path))


def parse_service(text: str, *, name: str) -> DecisionService:
    """Return the DecisionService in `text`; `name` stands for the file in messages. Raises `SpecInvalid`."""
    document = parse_yaml(text, name, "a DecisionService")
    try:
        return DecisionService.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise refusal(list(invalid(error, document, name, DecisionService)), name, "the DecisionService") from error


def service_document(service: DecisionService) -> dict[str, Any]:
    """Return the resource with what was written in it, and no defaults: those are the cluster's to fill in."""
    document: dict[str, Any] = service.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"status"})
    return document


def service_text(service: DecisionService) -> str:
    """Return the resource as a YAML file."""
    return to_yaml([service_document(service)])


def placed(service: DecisionService, region: Region) -> DecisionService:
    """Return the service as it is in one region: bound to it.

    Raises `GateRefused` where the service may not run there, or is not judged under the law that holds there.
    """
    name = service.metadata.name
    if region.name not in service.spec.regions:
        raise GateRefused(
            f"{name} may not run in {region.name}",
            hint=f"its regions are {', '.join(service.spec.regions)}; the release must name a region, too",
            rule="residency",
        )
    if missing := [law for law in region.jurisdictions if law not in service.spec.jurisdictions]:
        raise GateRefused(
            f"{region.name} is under the law of {' and '.join(missing)}, which does not judge {name}",
            hint="add the jurisdiction to the model, and have it judged and released again",
            rule="jurisdiction",
        )
    return _with_spec(service, regions=(region.name,))


def placements(service: DecisionService, regions: Regions) -> list[tuple[Region, DecisionService]]:
    """Return the service in each of its regions. Raises `NotFound` for an unknown one, and `GateRefused`."""
    known = [regions.region(name) for name in service.spec.regions]
    return [(region, placed(service, region)) for region in known]


def with_champion(service: DecisionService, digest: str) -> DecisionService:
    """Return the service with a release that decides about everybody; challenger and arms leave, shadows stay."""
    return _with_releases(service, champion=digest)


def with_challenger(service: DecisionService, digest: str, weight: int) -> DecisionService:
    """Return the service with a release that decides about a share of people, in per cent, beside the champion.

    Raises `Misuse` where the champion is the same release, or where roll-outs go by separate pods.
    """
    releases = service.spec.releases
    if releases.champion in (digest, PLACEHOLDER):
        raise Misuse(
            "a challenger stands beside another champion", hint="deploy the first release of a service as champion"
        )
    _in_process(service)
    arms = tuple(arm for arm in releases.arms if arm.release != digest)
    challenger = Challenger(release=digest, weight=weight)
    return _with_releases(service, champion=releases.champion, challenger=challenger, arms=arms)


def with_arm(service: DecisionService, name: str, digest: str, weight: int) -> DecisionService:
    """Return the service with a release that decides about a share of people under a name, beside the champion.

    An arm of that name is replaced where it stands. The champion's own release makes a control group. Raises `Misuse`
    where there is no champion yet, for a name that is taken or none, or where roll-outs go by separate pods.
    """
    releases = service.spec.releases
    if releases.champion == PLACEHOLDER:
        raise Misuse("an arm stands beside a champion", hint="deploy the first release of a service as champion")
    _in_process(service)
    try:
        arm = Arm(name=name, release=digest, weight=weight)
    except ValidationError as error:
        raise Misuse(f"{name!r} is no name for an arm", hint="write it like longer-history") from error
    others = {each.name: each for each in releases.arms if each.release != digest or each.name == name}
    challenger = releases.challenger if releases.challenger and releases.challenger.release != digest else None
    arms = tuple({**others, name: arm}.values())
    return _with_releases(service, champion=releases.champion, challenger=challenger, arms=arms)


def without_arm(service: DecisionService, name: str) -> DecisionService:
    """Return the service without an arm. Raises `Misuse` where there is none of that name."""
    releases = service.spec.releases
    _arm(service, name)
    arms = tuple(arm for arm in releases.arms if arm.name != name)
    return _with_releases(service, champion=releases.champion, challenger=releases.challenger, arms=arms)


def promoted(service: DecisionService, arm: str | None = None) -> DecisionService:
    """Return the service with its challenger, or an arm, as champion. Raises `Misuse` where there is none."""
    if arm is not None:
        return with_champion(service, _arm(service, arm).release)
    challenger = service.spec.releases.challenger
    if challenger is None:
        raise Misuse(f"{service.metadata.name} has no challenger", hint="deploy one with --challenger WEIGHT")
    return with_champion(service, challenger.release)


def tracks_beside(service: DecisionService) -> dict[str, str]:
    """Return the releases that decide beside the champion, by track."""
    releases = service.spec.releases
    challenger = {"challenger": releases.challenger.release} if releases.challenger else {}
    return {**challenger, **{arm.name: arm.release for arm in releases.arms}}


def _arm(service: DecisionService, name: str) -> Arm:
    found = next((arm for arm in service.spec.releases.arms if arm.name == name), None)
    if found is None:
        raise Misuse(
            f"{service.metadata.name} has no arm {name!r}",
            hint=f"its arms are {', '.join(arm.name for arm in service.spec.releases.arms) or 'none'}",
        )
    return found


def _in_process(service: DecisionService) -> None:
    if service.spec.rollout.form is RolloutForm.SEPARATE_PODS:
        raise Misuse(
            "with separate pods Argo Rollouts takes a new champion through the steps",
            hint="deploy the release as champion",
        )


def _with_releases(
    service: DecisionService, *, champion: str, challenger: Challenger | None = None, arms: tuple[Arm, ...] = ()
) -> DecisionService:
    """Return the service with other releases that decide; one that decides is nobody's shadow any more."""
    given: dict[str, Any] = {"champion": champion}
    if challenger is not None:
        given["challenger"] = challenger
    if arms:
        given["arms"] = arms
    deciding = {champion, *(arm.release for arm in arms), *([challenger.release] if challenger else [])}
    if shadows := tuple(shadow for shadow in service.spec.releases.shadows if shadow not in deciding):
        given["shadows"] = shadows
    try:
        return _with_spec(service, releases=Releases(**given))
    except ValidationError as error:
        reasons = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise Misuse(reasons, hint="give a smaller weight or another name, or take out an arm first") from error


def _with_spec(service: DecisionService, **changes: Any) -> DecisionService:
    return service.model_copy(update={"spec": service.spec.model_copy(update=changes)})
