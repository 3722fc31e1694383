"""`aboveboard contest`: the person concerned wants a human to look at a decision."""

from __future__ import annotations

from pathlib import Path

import click

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.remote import Remote, decision_path, remote_options, shown, text_of, text_options


@click.command(name="contest")
@click.argument("decision")
@text_options("statement", "What the person says, in their own words.")
@remote_options
@json_option
def command(
    decision: str,
    statement: str | None,
    statement_file: Path | None,
    remote: Remote,
    as_json: bool,
) -> None:
    """Contest a decision for the person it is about: a human looks at it (GDPR art. 22(3)).

    It asks a running decision server with the role `decide`. The case waits in the queue of `aboveboard review`; who
    brings it does not review it.
    """
    out = output_of(as_json)
    body = {"statement": text_of(statement, statement_file, "statement")}
    done = remote().post(decision_path(decision, "contest"), body)
    out.say(f"[green]✓[/] {shown(done['decision_id'])} waits for a person")
    out.next("aboveboard review list --state waiting")
    out.document(done)
