"""`aboveboard release`: create, approve, list, show and verify releases."""

from __future__ import annotations

import click
import msgspec
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.workspace import Workspace
from aboveboard.clock import timestamp
from aboveboard.errors import AboveboardError


@click.group(name="release")
def command() -> None:
    """Create, approve, list, show and verify releases.

    A release is a content-addressed, signed OCI artifact: the model, its report, the verdict and the approvals.
    RELEASE below is a digest, the beginning of one, or a model's name for its newest release.
    """


@command.command()
@click.argument("run", default="latest")
@json_option
@click.pass_context
def create(ctx: click.Context, run: str, as_json: bool) -> None:
    """Bundle and sign a run whose gate passed. You become its author."""
    from aboveboard.audit.events import ReleaseCreated, ReleaseRefused
    from aboveboard.release import Role

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    directory = workspace.run_directory(run)
    with workspace.log() as log:
        workspace.keyring().ensure(workspace.actor, [Role.AUTHOR], at=workspace.clock())
        try:
            release = workspace.releases().create(directory, author=workspace.actor)
        except AboveboardError as refusal:
            log.append(
                ReleaseRefused(
                    time=timestamp(workspace.clock()),
                    actor=workspace.actor,
                    release=None,
                    model=directory.name,
                    reason=refusal.code,
                )
            )
            raise
        log.append(
            ReleaseCreated(
                time=timestamp(workspace.clock()),
                actor=workspace.actor,
                release=release.digest,
                model=release.document.name,
                run_id=release.document.run_id,
                report_digest=release.document.report_digest,
            )
        )
    out.say(f"[green]✓[/] released {escape(release.document.name)}  [bold]{release.digest}[/]")
    out.say(f"  signed by {escape(workspace.actor)}, to be approved by somebody else")
    out.next(f"aboveboard --actor SOMEBODY-ELSE release approve {release.digest[:19]}")
    out.document({"release": release.digest, **msgspec.to_builtins(release.document)})
