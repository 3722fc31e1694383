"""DecisionServices as files: every mistake at once, written as short as they were, changed one step at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from aboveboard.cluster.types import Challenger, DecisionService, Releases, RolloutForm
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
    """Return the service with a release that decides about everybody; a challenger leaves, shadows stay."""
    shadows = tuple(shadow for shadow in service.spec.releases.shadows if shadow != digest)
    return _with_releases(service, champion=digest, challenger=None, shadows=shadows)


def with_challenger(service: DecisionService, digest: str, weight: int) -> DecisionService:
    """Return the service with a release that decides about a share of people, in per cent, beside the champion.

    Raises `Misuse` where the champion is the same release, or where roll-outs go by separate pods.
    """
    releases = service.spec.releases
    if releases.champion in (digest, PLACEHOLDER):
        raise Misuse(
            "a challenger stands beside another champion", hint="deploy the first release of a service as champion"
        )
    if service.spec.rollout.form is RolloutForm.SEPARATE_PODS:
        raise Misuse(
            "with separate pods Argo Rollouts takes a new champion through the steps",
            hint="deploy the release as champion",
        )
    shadows = tuple(shadow for shadow in releases.shadows if shadow != digest)
    challenger = Challenger(release=digest, weight=weight)
    return _with_releases(service, champion=releases.champion, challenger=challenger, shadows=shadows)


def promoted(service: DecisionService) -> DecisionService:
    """Return the service with its challenger as champion. Raises `Misuse` where there is none."""
    challenger = service.spec.releases.challenger
    if challenger is None:
        raise Misuse(f"{service.metadata.name} has no challenger", hint="deploy one with --challenger WEIGHT")
    return with_champion(service, challenger.release)


def _with_releases(
    service: DecisionService, *, champion: str, challenger: Challenger | None, shadows: tuple[str, ...]
) -> DecisionService:
    given: dict[str, Any] = {"champion": champion}
    if challenger is not None:
        given["challenger"] = challenger
    if shadows:
        given["shadows"] = shadows
    return _with_spec(service, releases=Releases(**given))


def _with_spec(service: DecisionService, **changes: Any) -> DecisionService:
    return service.model_copy(update={"spec": service.spec.model_copy(update=changes)})
