"""`aboveboard release`: create, approve, list, show and verify releases."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.markup import escape

from aboveboard.audit.events import ReleaseApproved, ReleaseCreated, ReleaseRefused
from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.workspace import Workspace
from aboveboard.clock import timestamp
from aboveboard.errors import AboveboardError, NotFound, NotVerified
from aboveboard.release import Approval, Release, Role


@click.group(name="release")
def command() -> None:
    """Create, approve, list, show and verify releases.

    A release is a content-addressed, signed OCI artifact: the model, its report, the verdict and the approvals.
    RELEASE below is a digest, the beginning of one, or a model's name for its newest release.
    """


def create_release(workspace: Workspace, run: Path) -> Release:
    """Release a run as its author, and record that it was released or refused."""
    author = workspace.actor
    with workspace.log() as log:
        workspace.keyring().ensure(author, [Role.AUTHOR], at=workspace.clock())
        try:
            release = workspace.releases().create(run, author=author)
        except AboveboardError as refusal:
            log.append(
                ReleaseRefused(
                    time=timestamp(workspace.clock()),
                    actor=author,
                    release=None,
                    model=run.name,
                    reason=refusal.message,
                )
            )
            raise
        log.append(
            ReleaseCreated(
                time=timestamp(workspace.clock()),
                actor=author,
                release=release.digest,
                model=release.document.name,
                run_id=release.document.run_id,
                report_digest=release.document.report_digest,
            )
        )
    return release


def approve_release(workspace: Workspace, reference: str, *, comment: str) -> Approval:
    """Approve a release as somebody other than its author, and record it."""
    approver = workspace.actor
    with workspace.log() as log:
        workspace.keyring().ensure(approver, [Role.APPROVER], at=workspace.clock())
        approval = workspace.releases().approve(reference, approver=approver, comment=comment)
        log.append(
            ReleaseApproved(
                time=timestamp(workspace.clock()),
                actor=approver,
                release=approval.digest,
                role=Role.APPROVER.value,
                comment=comment,
            )
        )
    return approval


@command.command()
@click.argument("run", default="latest")
@json_option
@click.pass_context
def create(ctx: click.Context, run: str, as_json: bool) -> None:
    """Bundle and sign a run whose gate passed. You become its author."""
    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    release = create_release(workspace, workspace.run_directory(run))
    out.say(f"[green]✓[/] released {escape(release.document.name)}  [bold]{release.digest}[/]")
    out.say(f"  signed by {escape(workspace.actor)}; somebody else has to approve it")
    out.next(f"aboveboard --actor SOMEBODY-ELSE release approve {release.digest[:19]}")
    out.document({"release": release.digest, **msgspec.to_builtins(release.document)})


@command.command()
@click.argument("release")
@click.option("--comment", default="", help="What you looked at, and why it may run. It is signed and logged.")
@json_option
@click.pass_context
def approve(ctx: click.Context, release: str, comment: str, as_json: bool) -> None:
    """Say, under your signature, that a release may run. Nobody approves their own work."""
    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    approval = approve_release(workspace, release, comment=comment)
    out.say(f"[green]✓[/] {escape(approval.approver)} approved [bold]{approval.digest}[/]")
    out.next(f"aboveboard serve {approval.digest[:19]}")
    out.document(msgspec.to_builtins(approval))


@command.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the releases here, newest first, and whether each may run."""
    out = output_of(as_json)
    summaries = Workspace.of(ctx).releases().list()
    out.table(
        ("release", "model", "created", "author", "approved by", "may run"),
        (
            (
                release.digest[:19],
                escape(release.name),
                release.created,
                escape(release.author),
                escape(", ".join(release.approvers)),
                f"[red]{escape(release.problem)}[/]"
                if release.problem
                else "[green]yes[/]"
                if release.approved
                else "[yellow]not approved yet[/]",
            )
            for release in summaries
        ),
    )
    if not summaries:
        out.say("no releases yet")
        out.next("aboveboard release create latest")
    out.document({"releases": msgspec.to_builtins(summaries)})


@command.command()
@click.argument("release")
@json_option
@click.pass_context
def show(ctx: click.Context, release: str, as_json: bool) -> None:
    """Show what a release holds, who signed it and who approved it."""
    out = output_of(as_json)
    details = Workspace.of(ctx).releases().show(release)
    for name, value in msgspec.to_builtins(details.document).items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        out.say(f"[bold]{name.replace('_', ' '):<20}[/] {escape(text)}")
    out.table(("file", "bytes#", "digest"), ((escape(f.name), f"{f.size:,}", f.digest[:19]) for f in details.files))
    for approval in details.approvals:
        out.say(
            f"[green]✓[/] approved by {escape(approval.approver)} {approval.approved}  {escape(approval.comment)}"
        )
    for complaint in details.ignored:
        out.say(f"[yellow]a statement does not count:[/] {escape(complaint)}")
    if details.summary.problem:
        out.say(f"[red]✗[/] {escape(details.summary.problem)}")
    out.document(msgspec.to_builtins(details))


@command.command()
@click.argument("release")
@json_option
@click.pass_context
def verify(ctx: click.Context, release: str, as_json: bool) -> None:
    """Check every byte, signature and approval of a release, as the decision server does before it loads one."""
    out = output_of(as_json)
    verified = Workspace.of(ctx).releases().verify(release)
    approvers = [approval.approver for approval in verified.approvals]
    out.say(f"[green]✓[/] {verified.digest}")
    out.say(f"  {len(verified.files)} files match their digests; signed by {escape(verified.document.author)}")
    out.say(f"  approved by {escape(', '.join(approvers))}; verdict {escape(verified.document.verdict)}")
    out.document(
        {"verified": True, "release": verified.digest, "approvers": approvers, "files": sorted(verified.files)}
    )


_PLAIN_HTTP = click.option("--plain-http", is_flag=True, help="For a registry on this machine, without TLS.")


@command.command()
@click.argument("release")
@click.option("--to", "repository", required=True, help="The repository, e.g. registry.bank.example/models/releases.")
@_PLAIN_HTTP
@json_option
@click.pass_context
def push(ctx: click.Context, release: str, repository: str, plain_http: bool, as_json: bool) -> None:
    """Store a release, its signature and its approvals in an OCI registry.

    User and password are those of `docker login` (DOCKER_CONFIG). Push again after an approval.
    """
    from aboveboard.release.registry import from_environment

    out = output_of(as_json)
    registry = from_environment(repository, plain_http=plain_http)
    digest, statements = Workspace.of(ctx).releases().push(release, registry)
    out.say(f"[green]✓[/] {escape(repository)}@{digest}  with {statements} statements")
    out.document({"release": digest, "repository": repository, "statements": statements})


@command.command()
@click.argument("releases", metavar="DIGEST...", nargs=-1, required=True)
@click.option(
    "--from", "repository", required=True, help="The repository, e.g. registry.bank.example/models/releases."
)
@click.option("--trust", type=click.Path(path_type=Path, dir_okay=False), help="A trust.json to put in place first.")
@click.option(
    "--subject-key", type=click.Path(path_type=Path, dir_okay=False), help="A subject.key to put in place first."
)
@click.option(
    "--volume",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder to look for blobs in first, e.g. where image volumes are mounted.",
)
@_PLAIN_HTTP
@json_option
@click.pass_context
def fetch(
    ctx: click.Context,
    releases: tuple[str, ...],
    repository: str,
    trust: Path | None,
    subject_key: Path | None,
    folder: Path | None,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Fetch releases from an OCI registry by digest, and verify every byte, signature and approval.

    What is here already and holds is not asked for: without its registry a pod starts from its volume. This is what
    a pod does before its decision server starts; where anything does not hold, it does not start.
    """
    from aboveboard.files import close_to_group, storage_errors, write_atomically
    from aboveboard.release.manifest import hexadecimal
    from aboveboard.release.registry import from_environment
    from aboveboard.release.volume import Volume

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    for digest in releases:
        hexadecimal(digest)
    keys = workspace.home.keys
    if keys.is_dir():
        close_to_group(keys)
    for source, target in ((trust, keys / "trust.json"), (subject_key, workspace.home.subject_key)):
        if source is not None:
            with storage_errors(source):
                keys.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_atomically(target, source.read_bytes(), mode=0o600)
    store = workspace.releases()
    volume = Volume(folder) if folder is not None else None
    for digest in releases:
        try:
            verified = store.verify(digest)
        except (NotFound, NotVerified):  # not here, damaged, or an approval that has been given since
            store.take(from_environment(repository, plain_http=plain_http).fetch(digest, volume))
            verified = store.verify(digest)
        approvers = ", ".join(approval.approver for approval in verified.approvals)
        out.say(
            f"[green]✓[/] {digest}  signed by {escape(verified.document.author)}, approved by {escape(approvers)}"
        )
    out.document({"releases": list(releases), "verified": True})
