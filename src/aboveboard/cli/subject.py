"""`aboveboard subject`: what is held about a person, and its erasure."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.markup import escape

from aboveboard.cli.app import json_always, json_option, output_of
from aboveboard.cli.workspace import Workspace
from aboveboard.files import write_atomically
from aboveboard.ids import subject_token


@click.group(name="subject")
def command() -> None:
    """Show, export or erase what is held about a person.

    SUBJECT is the identifier the person is known by, or the token that stands for it (sub-…). The identifier is
    turned into the token here and is not stored. Looking at personal data is itself an entry of the log.
    """


def token_of(workspace: Workspace, subject: str) -> str:
    """Return the token of a person named by identifier or by token."""
    if subject.startswith("sub-") and len(subject) == 36:
        return subject
    return subject_token(workspace.token_key(), subject)


@command.command()
@click.argument("subject")
@json_option
@click.pass_context
def token(ctx: click.Context, subject: str, as_json: bool) -> None:
    """Print the token that stands for a person."""
    out = output_of(as_json)
    name = token_of(Workspace.of(ctx), subject)
    out.say(name)
    out.document({"subject": name})


@command.command()
@click.argument("subject")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write here (mode 0600).")
@click.option("--purpose", default="access request (GDPR art. 15)", show_default=True, help="Why; it is logged.")
@json_always
@click.pass_context
def export(ctx: click.Context, subject: str, output: Path | None, purpose: str) -> None:
    """Print everything held about a person, as JSON (GDPR art. 15 and 20)."""
    workspace = Workspace.of(ctx)
    with workspace.log() as log:
        held = log.export(token_of(workspace, subject), actor=workspace.actor, purpose=purpose)
    content = msgspec.json.format(msgspec.json.encode(held), indent=2) + b"\n"
    if output is None:
        click.echo(content, nl=False)
    else:
        write_atomically(output, content, mode=0o600)


@command.command()
@click.argument("subject")
@click.option("--reason", default="request of the person (GDPR art. 17)", show_default=True, help="It is logged.")
@click.option("--defer", is_flag=True, help="While a retention period runs: erase when it ends, instead of refusing.")
@click.option("--override", help="Erase although a retention period runs, on this authority. It is logged.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def erase(
    ctx: click.Context, subject: str, reason: str, defer: bool, override: str | None, yes: bool, as_json: bool
) -> None:
    """Destroy the key and salts of a person's records. The proofs still hold; the person is gone.

    This cannot be undone. A record that the law says must be kept is refused with the date from which it may go.
    """
    from aboveboard.audit.cosigning import NoQuorum

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    name = token_of(workspace, subject)
    if not yes and not as_json:
        click.confirm(f"Erase everything held about {name}? This cannot be undone", abort=True, err=True)
    with workspace.log() as log:
        done = log.erase(name, actor=workspace.actor, reason=reason, defer=defer, override=override)
        with suppress(
            NoQuorum
        ):  # the erasure is done and durable; its checkpoint follows when the witnesses are back
            log.publish()
    if done.deferred_until:
        out.say(
            f"[yellow]noted[/]: will be erased when the retention period ends, {escape(str(done.deferred_until))}"
        )
    else:
        out.say(f"[green]✓[/] erased: {len(done.erased_entries)} entries of the log are commitments to nothing now")
        out.next("aboveboard audit fsck", "every proof still holds")
    out.document(msgspec.to_builtins(done))


@command.command()
@click.argument("subject")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), required=True, help="The day on which it ends.")
@click.option("--basis", required=True, help="Why the records must be kept, e.g. a lawsuit. It is logged.")
@json_option
@click.pass_context
def hold(ctx: click.Context, subject: str, until: datetime, basis: str, as_json: bool) -> None:
    """Bar the erasure of a person until a day, for another reason than the retention period."""
    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    with workspace.log() as log:
        hold_id = log.place_hold(token_of(workspace, subject), until=until.date(), basis=basis, actor=workspace.actor)
    out.say(f"[green]✓[/] held until {until.date()}: {hold_id}")
    out.next(f"aboveboard subject release-hold {hold_id} --reason …", "ends it before its day")
    out.document({"hold_id": hold_id, "until": str(until.date())})


@command.command(name="release-hold")
@click.argument("hold_id")
@click.option("--reason", required=True, help="Why it ends before its day. It is logged.")
@json_option
@click.pass_context
def release_hold(ctx: click.Context, hold_id: str, reason: str, as_json: bool) -> None:
    """End a hold before its day. A retention period is the law's and runs on."""
    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    with workspace.log() as log:
        log.lift_hold(hold_id, actor=workspace.actor, reason=reason)
    out.say(f"[green]✓[/] the hold {escape(hold_id)} has ended")
    out.document({"hold_id": hold_id})
