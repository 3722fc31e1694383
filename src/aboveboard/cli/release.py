"""`aboveboard release`: create, approve, withdraw, list, show and verify releases."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.markup import escape

from aboveboard.audit.events import ReleaseApproved, ReleaseCreated, ReleaseRefused, ReleaseWithdrawn
from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.registry import fetch, push
from aboveboard.cli.workspace import Workspace
from aboveboard.clock import timestamp
from aboveboard.errors import AboveboardError
from aboveboard.release import Approval, Release, ReleaseSummary, Role, Withdrawal
from aboveboard.release.approval import withdrawing_role


@click.group(name="release")
def command() -> None:
    """Create, approve, withdraw, list, show and verify releases.

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


def withdraw_release(workspace: Workspace, reference: str, *, reason: str) -> Withdrawal:
    """Take a release back, as its author or as somebody who may approve, and record it."""
    withdrawer = workspace.actor
    store = workspace.releases()
    with workspace.log() as log:
        document = store.show(reference).document
        role = withdrawing_role(withdrawer, author=document.author)
        workspace.keyring().ensure(withdrawer, [role], at=workspace.clock())
        withdrawal = store.withdraw(reference, withdrawer=withdrawer, reason=reason)
        log.append(
            ReleaseWithdrawn(
                time=timestamp(workspace.clock()),
                actor=withdrawer,
                release=withdrawal.digest,
                model=document.name,
                reason=reason,
            )
        )
    return withdrawal


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


@command.command()
@click.argument("release")
@click.option("--reason", required=True, help="Why it may not run any more. It is signed and logged.")
@json_option
@click.pass_context
def withdraw(ctx: click.Context, release: str, reason: str, as_json: bool) -> None:
    """Say, under your signature, that a release may not run any more. Nothing takes that back.

    Its author may, and whoever may approve. No server loads it from then on; one that runs it goes on until it is
    given another release or starts again, so put another in service first.
    """
    out = output_of(as_json)
    withdrawal = withdraw_release(Workspace.of(ctx), release, reason=reason)
    out.say(f"[green]✓[/] {escape(withdrawal.withdrawer)} withdrew [bold]{withdrawal.digest}[/]")
    out.say("  where it was published, others learn of it when you push it again")
    out.next(f"aboveboard release push {withdrawal.digest[:19]} --to REPOSITORY")
    out.document(msgspec.to_builtins(withdrawal))


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
                _may_run(release),
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
    if details.summary.withdrawal is not None:
        out.say(f"[red]✗[/] {escape(str(details.summary.withdrawal))}")
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


def _may_run(release: ReleaseSummary) -> str:
    if release.problem is not None:
        return f"[red]{escape(release.problem)}[/]"
    if release.withdrawal is not None:
        return f"[red]withdrawn by {escape(release.withdrawal.withdrawer)}[/]"
    return "[green]yes[/]" if release.approved else "[yellow]not approved yet[/]"


command.add_command(push)
command.add_command(fetch)
