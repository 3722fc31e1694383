"""`aboveboard audit`: the tamper-evident log, its checkpoints, its proofs, and whether all of it holds."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.markup import escape

from aboveboard.cli.app import json_always, json_option, output_of
from aboveboard.cli.public_keys import keys_in
from aboveboard.cli.upkeep import fsck, restore_order, rotate_key
from aboveboard.cli.vouching import anchor, witnesses
from aboveboard.cli.workspace import Workspace
from aboveboard.clock import timestamp
from aboveboard.errors import NotFound, NotVerified
from aboveboard.files import write_atomically

MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"])


@click.group(name="audit")
def command() -> None:
    """Checkpoints, proofs, search and fsck of the tamper-evident log.

    Every decision and every act of governance is an entry of one Merkle tree (RFC 6962). The log holds
    commitments; records are encrypted beside it and can be erased without breaking a single proof.
    """


@command.command()
@json_option
@click.pass_context
def checkpoint(ctx: click.Context, as_json: bool) -> None:
    """Take in everything journalled so far and sign the tree's head (a C2SP checkpoint).

    Where the log has witnesses, they are asked to cosign it; without their quorum nothing is published.
    """
    from aboveboard.audit.note import parse_note

    out = output_of(as_json)
    with Workspace.of(ctx).log() as log:
        head = log.publish()
    out.say(escape(head.note.rstrip()))
    cosigned = sorted({signature.name for signature in parse_note(head.note)[1]} - {head.origin})
    root = base64.b64encode(head.root).decode()
    out.document({"origin": head.origin, "size": head.size, "root": root, "note": head.note, "cosigned_by": cosigned})


@command.command()
@click.option("--origin", help="Name a new log, e.g. bank.example/eu. A log keeps its name.")
@json_option
@click.pass_context
def key(ctx: click.Context, origin: str | None, as_json: bool) -> None:
    """Print the log's public key, as an auditor pins it (C2SP vkey)."""
    out = output_of(as_json)
    with Workspace.of(ctx).log(origin) as log:
        vkey = log.vkey
    out.say(escape(vkey))
    out.document({"key": vkey})


@command.command()
@click.argument("decision_id")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to the terminal."
)
@click.option("--purpose", default="receipt for the person concerned", show_default=True, help="Why; it is logged.")
@json_always
@click.pass_context
def receipt(ctx: click.Context, decision_id: str, output: Path | None, purpose: str) -> None:
    """Write the receipt of a decision: record, salt, proof and checkpoint in one file that anyone can check."""
    workspace = Workspace.of(ctx)
    with workspace.log() as log:
        content = log.receipt(decision_id, actor=workspace.actor, purpose=purpose).to_json()
    if output is None:
        click.echo(content)
        return
    write_atomically(output, content, mode=0o600)
    out = output_of(False)
    out.say(f"[green]✓[/] {escape(str(output))}")
    out.next(f"aboveboard audit verify {output}", "works offline, with the public key alone")


@command.command()
@click.argument("receipt_path", metavar="RECEIPT.JSON", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--key", "vkey", help="The log's public key, or a file that holds it. Default: this home's own log.")
@click.option("--witness", "witnesses", multiple=True, help="A witness's public key, or a file that holds it.")
@click.option(
    "--quorum", type=click.IntRange(min=0), help="How many witnesses must have cosigned. Default: all that are given."
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    receipt_path: Path,
    vkey: str | None,
    witnesses: tuple[str, ...],
    quorum: int | None,
    as_json: bool,
) -> None:
    """Check a receipt offline, by code that shares nothing with the log's writer but the format."""
    from aboveboard.audit.verifier import VerificationFailed, verify_receipt

    out = output_of(as_json)
    if vkey is None:
        with Workspace.of(ctx).log() as log:
            vkey = log.vkey
    elif Path(vkey).is_file():
        vkey = Path(vkey).read_text(encoding="utf-8").strip()
    trusted = [parsed for given in witnesses for parsed in keys_in(given)]
    if quorum is None:
        quorum = len({one.name for one in trusted})
    try:
        document = json.loads(receipt_path.read_bytes())
        found = verify_receipt(document, [vkey], [str(one) for one in trusted], quorum)
    except FileNotFoundError:
        raise NotFound(
            f"{receipt_path}: no such file", hint="get one with: aboveboard audit receipt DECISION"
        ) from None
    except (VerificationFailed, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NotVerified(
            f"{receipt_path}: {error}", hint="ask for the receipt again, and for an explanation"
        ) from error
    out.say(
        f"[green]✓[/] entry {found['index']} is in the log [bold]{escape(str(found['origin']))}[/]: the proof holds"
        + "".join(f", cosigned by {escape(name)}" for name in found["witnesses"])
    )
    out.document({"verified": True, **found})


@command.command()
@click.argument("old", type=click.IntRange(min=0))
@click.argument("new", type=click.IntRange(min=0), required=False)
@json_always
@click.pass_context
def consistency(ctx: click.Context, old: int, new: int | None) -> None:
    """Prove that the tree of NEW entries (default: the latest) only appended to the tree of OLD entries."""
    with Workspace.of(ctx).log() as log:
        proof = log.prove_consistency(old, new)
    click.echo(msgspec.json.format(msgspec.json.encode(proof), indent=2))


@command.command()
@click.argument("index", type=click.IntRange(min=0))
@json_always
@click.pass_context
def prove(ctx: click.Context, index: int) -> None:
    """Prove that the entry at INDEX is in the tree under the latest checkpoint."""
    with Workspace.of(ctx).log() as log:
        proof = log.prove(index)
    click.echo(msgspec.json.format(msgspec.json.encode(proof), indent=2))


@command.command()
@click.option("--decision", "decision_id", help="One decision.")
@click.option("--subject", help="A subject's token (sub-…).")
@click.option("--release", help="Decisions by one release digest.")
@click.option("--outcome", help="approve, refer, decline, …")
@click.option("--kind", help="A kind of event, e.g. decision.")
@click.option("--since", type=MOMENT)
@click.option("--until", type=MOMENT)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--purpose", default="search", show_default=True, help="Why; a search by person is logged.")
@json_option
@click.pass_context
def find(
    ctx: click.Context,
    decision_id: str | None,
    subject: str | None,
    release: str | None,
    outcome: str | None,
    kind: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    purpose: str,
    as_json: bool,
) -> None:
    """Search the log. Shows what happened and to which token, never what was in the record."""
    from aboveboard.audit import Query

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    query = Query(
        decision_id=decision_id,
        subject=subject,
        release=release,
        outcome=outcome,
        kind=kind if kind is None or "/" in kind else f"{kind}/1",
        since=_moment(since),
        until=_moment(until),
        limit=limit,
    )
    with workspace.log() as log:
        log.take_in()
        entries = log.find(query, actor=workspace.actor, purpose=purpose)
    out.table(
        ("entry#", "time", "kind", "decision", "subject", "outcome"),
        (
            (
                entry.index,
                entry.time,
                entry.kind,
                entry.decision_id or "",
                "[dim]erased[/]" if entry.erased else entry.subject or "",
                entry.outcome or "",
            )
            for entry in entries
        ),
    )
    out.document({"entries": msgspec.to_builtins(entries)})


def _moment(given: datetime | None) -> str | None:
    """Return a moment as the log writes it; one without a time zone is meant in UTC."""
    return None if given is None else timestamp(given if given.tzinfo else given.replace(tzinfo=UTC))


for further in (fsck, witnesses, anchor, rotate_key, restore_order):
    command.add_command(further)
