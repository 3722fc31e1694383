"""`aboveboard runs`: the runs kept here."""

from __future__ import annotations

import click
import msgspec
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.output import MARKS, short
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import NotVerified


@click.command(name="runs")
@click.argument("reference", metavar="[RUN]", required=False)
@json_option
@click.pass_context
def command(ctx: click.Context, reference: str | None, as_json: bool) -> None:
    """List the runs kept here, newest last, or show one (an id, its beginning, or `latest`)."""
    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    directories = workspace.runs() if reference is None else [workspace.run_directory(reference)]
    records = []
    for directory in directories:
        try:
            records.append(msgspec.json.decode((directory / "run.json").read_bytes(), type=dict[str, object]))
        except msgspec.DecodeError as error:
            raise NotVerified(f"{directory}/run.json is damaged: {error}", hint="remove the directory") from error
    out.table(
        ("run", "model", "created", "by", "verdict"),
        (
            (r["id"], escape(str(r["model"])), r["created"], escape(str(r["actor"])), MARKS[str(r["verdict"])])
            for r in records
        ),
    )
    if reference is not None:
        out.say(f"evidence  {short(directories[0])}")
    elif not records:
        out.say("no runs yet")
        out.next("aboveboard run model.yaml")
    out.document({"runs": records})
