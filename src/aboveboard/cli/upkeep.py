"""`aboveboard audit fsck`, `rotate-key` and `restore-order`: keeping the log sound."""

from __future__ import annotations

import click
import msgspec
from rich.markup import escape

from aboveboard.cli import exits
from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.workspace import Workspace


@click.command()
@json_option
@click.pass_context
def fsck(ctx: click.Context, as_json: bool) -> int:
    """Recompute everything from journals and vault, and report exactly what does not hold."""
    out = output_of(as_json)
    with Workspace.of(ctx).log() as log:
        report = log.fsck()
    for finding in report.findings:
        out.say(f"[red]•[/] {finding.severity} {escape(f'{finding.code}: {finding.message} ({finding.where})')}")
    out.say("[green]✓[/] the log is sound" if report.clean else f"[red]✗[/] {len(report.findings)} findings")
    out.document(msgspec.to_builtins(report))
    return exits.PASS if report.clean else exits.FAIL


@click.command(name="rotate-key")
@click.option(
    "--kek",
    metavar="KEY",
    help="Move to another key-encryption key: file:PATH, awskms:KEY or vault:[MOUNT/]KEY.",
)
@json_option
@click.pass_context
def rotate_key(ctx: click.Context, kek: str | None, as_json: bool) -> None:
    """Wrap the keys of all persons under a fresh vault key, and delete the old one.

    Copies of the vault made before are then of no use without the old wrapped key in them. It is logged. Signing
    keys do not change. With --kek the vault key is wrapped by that key-encryption key from now on: every other
    process refuses to seal until it is started again with ABOVEBOARD_LOG_KEK set to it.
    """
    from aboveboard.audit.location import key_encryption_key

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    new = key_encryption_key(kek, vault=workspace.where.vault) if kek is not None else None
    with workspace.log() as log:
        count = log.rotate_vault_key(actor=workspace.actor, kek=new)
    out.say(f"[green]✓[/] {count} keys are wrapped anew; now let the old copies of the vault go")
    if kek is not None:
        out.next(f"export ABOVEBOARD_LOG_KEK={kek}", "here and for every process; then destroy the old key")
    out.document({"rewrapped": count, "kek": None if new is None else new.reference})


@click.command(name="restore-order")
@json_option
@click.pass_context
def restore_order(ctx: click.Context, as_json: bool) -> None:
    """Find the order of the log again from what was published, after log.sqlite was lost.

    Move what is left of log.sqlite away first. Tiles and journals must lead to the signed root.
    """
    out = output_of(as_json)
    with Workspace.of(ctx).log() as log:
        size = log.restore_order()
        head = log.publish()
    out.say(f"[green]✓[/] {size} entries are in order again; the tree has {head.size}")
    out.next("aboveboard audit fsck", "recomputes everything")
    out.document({"restored": size, "size": head.size})
