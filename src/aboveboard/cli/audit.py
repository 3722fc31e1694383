"""`aboveboard audit`: the tamper-evident log, its checkpoints, its proofs, and whether all of it holds."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.markup import escape

from aboveboard.cli import exits
from aboveboard.cli.app import json_always, json_option, output_of
from aboveboard.cli.public_keys import keys_in
from aboveboard.cli.workspace import Workspace
from aboveboard.clock import timestamp
from aboveboard.errors import Misuse, NotFound, NotVerified, RequestRefused
from aboveboard.files import storage_errors, write_atomically

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


@command.command()
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


@command.command()
@click.argument("given", metavar="[URL=VKEY]...", nargs=-1)
@click.option("--quorum", type=click.IntRange(min=0), help="How many must cosign. Default: all of them.")
@json_option
@click.pass_context
def witnesses(ctx: click.Context, given: tuple[str, ...], quorum: int | None, as_json: bool) -> None:
    """Set the witnesses whose cosignatures this log needs, or show them.

    VKEY is a witness's public key, or a file that holds its keys. From the next checkpoint on, none is published
    without the quorum, whichever process publishes; a server that runs takes this in when it is started again.
    """
    from aboveboard.audit.witnesses import Asked, Witnesses, read_witnesses, write_witnesses

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    directory = workspace.where.witnesses or workspace.home.audit
    if given:
        keys: dict[str, list[str]] = {}
        for text in given:
            url, equals, vkey = text.partition("=")
            if not equals:
                raise Misuse(f"{text!r} names no key", hint="write https://witness.example=KEY")
            keys.setdefault(url, []).extend(str(key) for key in keys_in(vkey))
        chosen = Witnesses(len(keys) if quorum is None else quorum, [Asked(url, of) for url, of in keys.items()])
        write_witnesses(directory, chosen)
    elif quorum is not None:
        raise Misuse(
            "a quorum needs witnesses", hint="name all of them: aboveboard audit witnesses URL=VKEY --quorum 1"
        )
    found = read_witnesses(directory)
    if found is None:
        out.say("this log has no witnesses")
    else:
        out.say(f"a checkpoint needs {found.quorum} of {len(found.witnesses)} witnesses")
        out.table(
            ("witness", "name"), ((escape(w.url), escape(w.keys[0].partition("+")[0])) for w in found.witnesses)
        )
    out.document(msgspec.to_builtins(found))


@command.command()
@click.argument("checkpoint_path", metavar="CHECKPOINT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--key", "vkey", required=True, help="The other log's public key, or a file that holds it.")
@click.option(
    "--proof",
    "proof_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Shows that it extends the checkpoint anchored before: the other region's `audit consistency OLD NEW`.",
)
@json_option
@click.pass_context
def anchor(ctx: click.Context, checkpoint_path: Path, vkey: str, proof_path: Path | None, as_json: bool) -> None:
    """Make another region's checkpoint an entry of this log.

    CHECKPOINT is a file with the signed note, as in the other log's tiles. Two histories of one log cannot both be
    anchored: the second one is refused, and whoever offers it has signed the evidence against themselves.
    """
    from aboveboard.audit.anchoring import anchor as record
    from aboveboard.audit.proof import ConsistencyProof

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    keys = [str(parsed) for parsed in keys_in(vkey)]
    note = _content(checkpoint_path).decode(errors="replace")
    proof = None
    if proof_path is not None:
        try:
            proof = msgspec.json.decode(_content(proof_path), type=ConsistencyProof)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RequestRefused(f"{proof_path}: no consistency proof: {error}") from error
    with workspace.log() as log:
        done = record(log, note, keys, actor=workspace.actor, clock=workspace.clock, proof=proof)
    out.say("[green]✓[/] anchored" if done else "this checkpoint is anchored already")
    out.document({"anchored": done is not None, "acknowledgement": None if done is None else done.as_dict()})


@command.command(name="rotate-key")
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


@command.command(name="restore-order")
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


def _content(path: Path) -> bytes:
    """Return what is in a file the user named. Raises `NotFound`."""
    with storage_errors(path):
        if not path.is_file():
            raise NotFound(f"{path}: no such file")
        return path.read_bytes()


def _moment(given: datetime | None) -> str | None:
    """Return a moment as the log writes it; one without a time zone is meant in UTC."""
    return None if given is None else timestamp(given if given.tzinfo else given.replace(tzinfo=UTC))
