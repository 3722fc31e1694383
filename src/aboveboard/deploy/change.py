"""A change of what is in service, as files of the environment repository and the words of its commit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aboveboard.cluster.types import DecisionService
from aboveboard.deploy.services import (
    PLACEHOLDER,
    parse_service,
    placements,
    promoted,
    service_text,
    tracks_beside,
    with_arm,
    with_challenger,
    with_champion,
    without_arm,
)
from aboveboard.errors import GateRefused, Misuse, NotFound, SpecInvalid
from aboveboard.release import VerifiedRelease
from aboveboard.spec.load import parse_spec
from aboveboard.spec.regions import Regions, residency_problems


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be committed."""

    files: Mapping[str, str]
    branch: str
    message: str
    release: str
    """The release that is given a track."""
    track: str
    weight: int
    replaces: str | None
    """The champion so far, where it is another."""
    regions: tuple[str, ...]


def service_path(environment: str, region: str, name: str) -> str:
    """Return where the environment repository keeps a service of a region."""
    return f"{environment}/{region}/decisionservice-{name}.yaml"


def services_in(files: Mapping[str, str], environment: str, name: str) -> dict[str, DecisionService]:
    """Return a service as it stands in each region, by region. Raises `SpecInvalid` for a file that is none."""
    found = {}
    for path, text in files.items():
        parts = path.split("/")
        if len(parts) == 3 and path == service_path(environment, parts[1], name):
            found[parts[1]] = parse_service(text, name=path)
    return found


def deployment(
    release: VerifiedRelease,
    standing: Mapping[str, DecisionService],
    template: DecisionService | None,
    regions: Regions,
    *,
    environment: str,
    weight: int | None = None,
    arm: str | None = None,
) -> Change:
    """Return the change that puts a verified release in service: as champion, or with a weight as challenger or arm.

    Where the service stands already only its releases change; `template` says how it is run in further regions.
    Raises `GateRefused` when release and service do not belong together, or data would go where they may not.
    """
    named = template or next(iter(standing.values()), None)
    if named is None:
        raise NotFound(
            "the environment repository has no such service",
            hint="say how it is run: --service FILE, a DecisionService",
        )
    name = named.metadata.name
    _belongs(release, named, regions)
    wanted = dict(standing)
    if template is not None:
        for place, service in placements(template, regions):
            so_far = standing.get(place.name, template).spec.releases
            wanted[place.name] = service.model_copy(
                update={"spec": service.spec.model_copy(update={"releases": so_far})}
            )

    def tracked(service: DecisionService) -> DecisionService:
        if weight is None:
            return with_champion(service, release.digest)
        if arm is None:
            return with_challenger(service, release.digest, weight)
        return with_arm(service, arm, release.digest, weight)

    changed = {region: tracked(service) for region, service in wanted.items()}
    for region in changed:
        if region not in release.document.regions:
            raise GateRefused(
                f"{release.document.name} was not released for {region}",
                hint=f"its regions are {', '.join(release.document.regions)}",
                rule="residency",
            )
    track = "champion" if weight is None else arm or "challenger"
    return _change(
        changed,
        standing,
        environment=environment,
        name=name,
        release=release.digest,
        track=track,
        weight=100 if weight is None else weight,
        verb="Deploy",
        evidence=(
            f"Model: {release.document.name}",
            f"Released-by: {release.document.author}",
            *(f"Approved-by: {approval.approver}" for approval in release.approvals),
        ),
    )


def promotion(
    standing: Mapping[str, DecisionService], *, environment: str, name: str, arm: str | None = None
) -> Change:
    """Return the change that makes the challenger, or an arm, champion in every region that has it.

    All that stands beside the champion leaves. Raises `NotFound` where there is no such service, `Misuse` where there
    is no challenger or no such arm, or regions differ in it.
    """
    track = arm or "challenger"
    if not standing:
        raise NotFound(f"no service {name!r} in {environment}", hint="deploy it first: aboveboard deploy release")
    changed = {
        region: promoted(service, arm) for region, service in standing.items() if track in tracks_beside(service)
    }
    digests = {service.spec.releases.champion for service in changed.values()}
    if len(digests) != 1:
        none, many = ("challenger", "challengers") if arm is None else (f"arm {arm}", f"releases as arm {arm}")
        raise Misuse(
            f"{name} has {f'several {many}' if digests else f'no {none}'} in {environment}",
            hint=f"deploy one release with --{'challenger' if arm is None else 'arm'}",
        )
    return _change(
        changed,
        standing,
        environment=environment,
        name=name,
        release=digests.pop(),
        track="champion",
        weight=100,
        verb="Promote",
    )


def rollback(
    standing: Mapping[str, DecisionService],
    earlier: Mapping[str, Iterable[str]],
    *,
    environment: str,
    name: str,
    arm: str | None = None,
) -> Change:
    """Return the change that takes out the release put in service last.

    Challenger and arms leave, or just the `arm` that is named; where there are none, the champion before this one
    comes back. `earlier` has, by region, the texts of the file on the base branch, newest first. Raises `NotFound`
    where there is nothing to go back to, and `Misuse` where regions would go back to different releases.
    """
    if arm is not None:
        return _withdrawal(standing, arm, environment=environment, name=name)
    changed = {
        region: with_champion(service, service.spec.releases.champion)
        for region, service in standing.items()
        if tracks_beside(service)
    }
    if not changed:
        for region, service in standing.items():
            before = _champion_before(service, earlier.get(region, ()), service_path(environment, region, name))
            if before is not None:
                changed[region] = with_champion(service, before)
    if not changed:
        raise NotFound(f"{name} has no earlier release in {environment}", hint="there is nothing to go back to")
    champions = {service.spec.releases.champion for service in changed.values()}
    if len(champions) != 1:
        raise Misuse(
            f"the regions of {name} had different champions before",
            hint="deploy the release you want with aboveboard deploy release",
        )
    return _change(
        changed,
        standing,
        environment=environment,
        name=name,
        release=champions.pop(),
        track="champion",
        weight=100,
        verb="Roll back",
    )


def _withdrawal(standing: Mapping[str, DecisionService], arm: str, *, environment: str, name: str) -> Change:
    """Return the change that takes out one arm in every region that has it."""
    releases = {
        region: tracks_beside(service)[arm] for region, service in standing.items() if arm in tracks_beside(service)
    }
    if not releases:
        raise NotFound(f"{name} has no arm {arm!r} in {environment}", hint="there is nothing to take out")
    return _change(
        {region: without_arm(standing[region], arm) for region in releases},
        standing,
        environment=environment,
        name=name,
        release=sorted(releases.values())[0],
        track=arm,
        weight=0,
        verb="Withdraw",
    )


def _champion_before(service: DecisionService, texts: Iterable[str], path: str) -> str | None:
    for text in texts:
        try:
            champion = parse_service(text, name=path).spec.releases.champion
        except SpecInvalid:
            continue
        if champion not in (service.spec.releases.champion, PLACEHOLDER):
            return champion
    return None


def _belongs(release: VerifiedRelease, service: DecisionService, regions: Regions) -> None:
    """Refuse a release of another model, or of a model whose data may not be where it runs."""
    if release.document.name != service.spec.model:
        raise GateRefused(
            f"release {release.digest} is of {release.document.name}, and the service of {service.spec.model}",
            hint="deploy it to a service of its own",
            rule="model",
        )
    spec = parse_spec(release.files["model.yaml"].decode(errors="replace"), name="model.yaml")
    if problems := residency_problems(spec, regions):
        raise GateRefused(
            f"{release.document.name}: {problems[0].message}",
            hint=problems[0].hint,
            rule="residency",
            problems=[str(problem) for problem in problems],
        )


def _change(
    changed: Mapping[str, DecisionService],
    standing: Mapping[str, DecisionService],
    *,
    environment: str,
    name: str,
    release: str,
    track: str,
    weight: int,
    verb: str,
    evidence: tuple[str, ...] = (),
) -> Change:
    regions = tuple(sorted(changed))
    before = {standing[region].spec.releases.champion for region in regions if region in standing}
    replaces = next(iter(sorted(before - {release, PLACEHOLDER})), None)
    share = "" if track == "champion" or verb == "Withdraw" else f" for {weight} %"
    title = track if track in ("champion", "challenger") else f"arm {track}"
    short = release.removeprefix("sha256:")[:12]
    before_beside = {d for region in regions if region in standing for d in tracks_beside(standing[region]).values()}
    taken_out = before_beside - {d for service in changed.values() for d in service.spec.releases.digests()}
    lines = [
        f"{verb} {name} {'to ' if verb == 'Roll back' else ''}{short} as {title}{share} in {environment}",
        "",
        f"Release: {release}",
        f"Track: {track}",
        *([f"Weight: {weight}"] if track != "champion" else []),
        *([f"Replaces: {replaces}"] if replaces and track == "champion" else []),
        *(f"Takes-out: {digest}" for digest in sorted(taken_out)),
        *evidence,
        f"Regions: {', '.join(regions)}",
    ]
    branch = f"{verb.lower().replace(' ', '-')}/{environment}/{name}-{short}"
    return Change(
        files={service_path(environment, region, name): service_text(changed[region]) for region in regions},
        branch={"champion": branch, "challenger": f"{branch}-{weight}"}.get(track, f"{branch}-{track}-{weight}"),
        message="\n".join(lines) + "\n",
        release=release,
        track=track,
        weight=weight,
        replaces=replaces,
        regions=regions,
    )
