"""`aboveboard deploy`: what should run where, proposed as a commit to the environment repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.workspace import Workspace

if TYPE_CHECKING:
    from aboveboard.deploy.change import Change
    from aboveboard.deploy.environment import EnvironmentRepository

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="deploy")
def command() -> None:
    """Propose what should run where, as a commit to a Git repository.

    The repository has a folder for each environment and in it one for each region. A change is pushed to a branch of
    its own; merging it is the approval, and Argo CD or Flux takes it to the clusters.
    """


def repository_options(function: F) -> F:
    """Add the options that say which repository, branch and environment."""
    options = [
        click.option(
            "--to", "url", required=True, metavar="REPOSITORY", help="The environment repository: a URL or a path."
        ),
        click.option("--environment", default="production", show_default=True, help="Its folder."),
        click.option("--base", default="main", show_default=True, help="The branch the change is for."),
        click.option("--dry-run", is_flag=True, help="Show the change; push nothing."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


regions_option = click.option(
    "--regions",
    "regions_path",
    type=click.Path(path_type=Path),
    default="regions.yaml",
    show_default=True,
    help="Where models may run, and which data may flow where.",
)


@command.command()
@click.argument("release")
@repository_options
@regions_option
@click.option(
    "--service",
    "service_path",
    type=click.Path(path_type=Path),
    help="A DecisionService that says how it is run. Needed the first time, and to change it.",
)
@click.option(
    "--challenger",
    "weight",
    type=click.IntRange(0, 100),
    help="Beside the champion, for this share of people in per cent. By default the release becomes champion.",
)
@click.option(
    "--arm",
    metavar="NAME@WEIGHT",
    callback=lambda _context, _option, given: None if given is None else arm_of(given),
    help="Beside the champion and other arms, under a name, for this share of people in per cent: an A/B test.",
)
@json_option
@click.pass_context
def release(
    ctx: click.Context,
    release: str,
    url: str,
    environment: str,
    base: str,
    dry_run: bool,
    regions_path: Path,
    service_path: Path | None,
    weight: int | None,
    arm: tuple[str, int] | None,
    as_json: bool,
) -> None:
    """Put a release in service: as champion, or as challenger or named arm for a share of people.

    It is verified first, as the decision server does, and must be approved. A new champion ends what was tried beside
    the one before: challenger and arms leave.
    """
    from aboveboard.deploy.change import deployment, services_in
    from aboveboard.deploy.environment import EnvironmentRepository
    from aboveboard.deploy.services import load_service_file
    from aboveboard.spec.regions import load_regions

    if weight is not None and arm is not None:
        raise click.UsageError("a release is either challenger or arm: give --challenger or --arm")
    name_of_arm, weight = arm if arm is not None else (None, weight)
    workspace = Workspace.of(ctx)
    regions = load_regions(regions_path)
    template = load_service_file(service_path) if service_path is not None else None
    verified = workspace.releases().verify(release)
    name = template.metadata.name if template is not None else verified.document.name
    with EnvironmentRepository.clone(url, base=base) as repository:
        standing = services_in(repository.files(environment), environment, name)
        change = deployment(
            verified, standing, template, regions, environment=environment, weight=weight, arm=name_of_arm
        )
        _propose(repository, change, workspace, dry_run=dry_run, as_json=as_json)


@command.command()
@click.argument("service")
@repository_options
@click.option("--arm", metavar="NAME", help="This arm instead of the challenger.")
@json_option
@click.pass_context
def promote(
    ctx: click.Context,
    service: str,
    url: str,
    environment: str,
    base: str,
    dry_run: bool,
    arm: str | None,
    as_json: bool,
) -> None:
    """Make the challenger of SERVICE its champion, in every region; what else was beside the champion leaves."""
    from aboveboard.deploy.change import promotion, services_in
    from aboveboard.deploy.environment import EnvironmentRepository

    with EnvironmentRepository.clone(url, base=base) as repository:
        standing = services_in(repository.files(environment), environment, service)
        change = promotion(standing, environment=environment, name=service, arm=arm)
        _propose(repository, change, Workspace.of(ctx), dry_run=dry_run, as_json=as_json)


@command.command()
@click.argument("service")
@repository_options
@click.option("--arm", metavar="NAME", help="Take out this arm only.")
@json_option
@click.pass_context
def rollback(
    ctx: click.Context,
    service: str,
    url: str,
    environment: str,
    base: str,
    dry_run: bool,
    arm: str | None,
    as_json: bool,
) -> None:
    """Take out what is beside the champion: challenger and arms. Without any, bring back the champion before."""
    from aboveboard.deploy.change import rollback as roll_back
    from aboveboard.deploy.change import service_path, services_in
    from aboveboard.deploy.environment import EnvironmentRepository

    with EnvironmentRepository.clone(url, base=base) as repository:
        standing = services_in(repository.files(environment), environment, service)
        earlier = {region: repository.history(service_path(environment, region, service)) for region in standing}
        change = roll_back(standing, earlier, environment=environment, name=service, arm=arm)
        _propose(repository, change, Workspace.of(ctx), dry_run=dry_run, as_json=as_json)


@command.command()
@click.option("--repository", required=True, help="The URL of the environment repository, as Argo CD reads it.")
@click.option("--environment", default="production", show_default=True, help="Its folder.")
@regions_option
@click.option("--namespace", "namespaces", multiple=True, required=True, help="Where decision services may be put.")
@click.option("--chart-repository", default="", help="The Git repository with deploy/chart. Default: the same.")
@click.option("--revision", default="main", show_default=True, help="The branch of both.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The directory to write to."
)
@json_option
def applications(
    repository: str,
    environment: str,
    regions_path: Path,
    namespaces: tuple[str, ...],
    chart_repository: str,
    revision: str,
    out: Path,
    as_json: bool,
) -> None:
    """Write the Argo CD objects for every region: a project, and applications for control plane and services."""
    from aboveboard.deploy.argocd import GitOps, argocd_objects, root_application
    from aboveboard.deploy.manifests import file_name, to_yaml
    from aboveboard.files import write_atomically
    from aboveboard.spec.regions import load_regions

    output = output_of(as_json)
    places = GitOps(
        environment=environment,
        repository=repository,
        revision=revision,
        chart_repository=chart_repository,
        chart_revision=revision,
        namespaces=namespaces,
    )
    files = {f"{environment}/argocd/{file_name(d)}": d for d in argocd_objects(load_regions(regions_path), places)}
    files["root.yaml"] = root_application(places, path=f"{environment}/argocd")
    for name, document in files.items():
        write_atomically(out / name, to_yaml([document]).encode())
        output.say(f"[green]✓[/] {escape(str(out / name))}")
    output.next(f"kubectl apply -f {out}/root.yaml", "once; commit the rest to the environment repository")
    output.document({"files": [str(out / name) for name in files]})


def arm_of(text: str) -> tuple[str, int]:
    """Return name and weight of NAME@WEIGHT. Raises `BadParameter`."""
    name, _, weight = text.rpartition("@")
    if not name or not weight.isascii() or not weight.isdecimal() or int(weight) > 100:
        raise click.BadParameter(f"{text!r} is not NAME@WEIGHT with a weight from 0 to 100, e.g. longer-history@10")
    return name, int(weight)


def _propose(
    repository: EnvironmentRepository, change: Change, workspace: Workspace, *, dry_run: bool, as_json: bool
) -> None:
    """Commit a change, or show it, and say how to have it approved."""
    out = output_of(as_json)
    proposal = repository.propose(
        change.files,
        branch=change.branch,
        message=change.message,
        actor=workspace.actor,
        clock=workspace.clock,
        dry_run=dry_run,
    )
    document: dict[str, Any] = {
        "release": change.release,
        "track": change.track,
        "weight": change.weight,
        "replaces": change.replaces,
        "regions": list(change.regions),
        "message": change.message,
    }
    if proposal is None:
        out.say(f"nothing to change: {', '.join(change.regions)} say so already")
        out.document({**document, "changed": []})
        return
    if dry_run:
        out.say(escape(proposal.diff))
        out.say(f"[yellow]nothing was pushed[/]; the commit would say:\n\n{escape(change.message)}")
    else:
        out.say(f"[green]✓[/] {escape(change.message.splitlines()[0])}")
        out.say(f"  commit {proposal.commit[:12]} on branch {escape(proposal.branch)}, for {escape(proposal.base)}")
        if proposal.open_at is not None:
            out.say(f"  open the change at {escape(proposal.open_at)}")
        else:
            out.say("  somebody else reads it and merges it")
    out.document(
        {
            **document,
            "changed": list(proposal.changed),
            "branch": proposal.branch,
            "base": proposal.base,
            "commit": proposal.commit or None,
            "open_at": proposal.open_at,
            "diff": proposal.diff,
        }
    )
