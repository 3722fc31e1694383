"""`aboveboard gate`: judge a run again, under the law of today or of another day."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
import msgspec

from aboveboard.cli import exits
from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import NotVerified


@click.command(name="gate")
@click.argument("reference", metavar="[RUN]", default="latest")
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day whose law applies. Default: today. Nothing is kept."
)
@click.option(
    "--pack",
    "extra",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="A further policy pack (a directory with pack.yaml and Rego). May be given several times.",
)
@click.option("--all", "everything", is_flag=True, help="Show the rules that pass, too.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    reference: str,
    as_of: datetime | None,
    extra: tuple[Path, ...],
    everything: bool,
    as_json: bool,
) -> int:
    """Judge a run again, today or as of another day.

    RUN is an id, the beginning of one, a directory, or `latest`. The facts are those the run found; the rules are
    those in force on the day. Exit code: 0 pass, 1 fail, 2 insufficient evidence.
    """
    from aboveboard.cli.evidence import show_verdict, verdict_document
    from aboveboard.policy import gate, load_packs

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    directory = workspace.run_directory(reference)
    try:
        facts = msgspec.json.decode((directory / "facts.json").read_bytes(), type=dict[str, object])
        jurisdictions = msgspec.convert(facts["model"], dict[str, object])["jurisdictions"]
        names = msgspec.convert(jurisdictions, list[str])
    except (msgspec.MsgspecError, FileNotFoundError, KeyError) as error:
        raise NotVerified(f"{directory}/facts.json is damaged or missing", hint="run the pipeline again") from error
    day = (as_of or workspace.clock()).date()
    verdict = gate(facts, load_packs(names, extra), day)
    show_verdict(out, verdict, everything=everything)
    out.document({"run": directory.name, **verdict_document(verdict)})
    return exits.for_verdict(verdict.verdict)
