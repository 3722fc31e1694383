"""`aboveboard audit witnesses` and `anchor`: who vouches for a log, and for whom it vouches."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.public_keys import keys_in
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import Misuse, NotFound, RequestRefused
from aboveboard.files import storage_errors


@click.command()
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


@click.command()
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
            raise RequestRefused(
                f"{proof_path}: no consistency proof: {error}",
                hint="the other region makes one: aboveboard audit consistency OLD NEW",
            ) from error
    with workspace.log() as log:
        done = record(log, note, keys, actor=workspace.actor, clock=workspace.clock, proof=proof)
    out.say("[green]✓[/] anchored" if done else "this checkpoint is anchored already")
    out.document({"anchored": done is not None, "acknowledgement": None if done is None else done.as_dict()})


def _content(path: Path) -> bytes:
    """Return what is in a file the user named. Raises `NotFound`."""
    with storage_errors(path):
        if not path.is_file():
            raise NotFound(f"{path}: no such file", hint="get it from whoever keeps the other log")
        return path.read_bytes()
