"""`aboveboard outcome`: what became of decisions, told to a running server."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from aboveboard.cli import exits
from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.remote import Remote, remote_options, shown
from aboveboard.errors import DataRefused, Misuse, Problem, RequestRefused
from aboveboard.files import storage_errors

AT_ONCE: Final = 2_000
"""Outcomes in one request: well below the largest body a server takes."""
FIELDS: Final = ("decision_id", "label", "observed")
_MOST_NAMED: Final = 20


@click.command(name="outcome")
@click.argument("decision", required=False)
@click.argument("label", required=False)
@click.option(
    "--observed", type=click.DateTime(["%Y-%m-%d"]), help="The day on which it was known. Default: today, in UTC."
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A file of them instead: .csv with the columns decision_id, label and observed, or one JSON object a line.",
)
@remote_options
@json_option
def command(
    decision: str | None,
    label: str | None,
    observed: datetime | None,
    source: Path | None,
    remote: Remote,
    as_json: bool,
) -> int:
    """Tell what became of a decision: LABEL is repaid, defaulted, charged-back, or a word of your own.

    It asks a running decision server with the role `decide`. What was told before is recorded once, so a file may be
    sent again. Exit code 65 when one of a file was refused; the others are recorded.
    """
    out = output_of(as_json)
    server = remote()
    if source is None:
        if decision is None or label is None:
            raise Misuse("name a decision and what became of it", hint="or a file of them: --from outcomes.csv")
        day = (observed or datetime.now(UTC)).date()
        told = server.post("/v1/outcomes", {"decision_id": decision, "label": label, "observed": str(day)})
        out.say(f"[green]✓[/] {shown(told['label'])}, entry {told['receipt']['ordinal']} of its journal")
        out.document(told)
        return exits.PASS
    if decision is not None or label is not None or observed is not None:
        raise Misuse("a file says itself what became of which decision", hint="give --from alone")
    outcomes = _read(source)
    answers: list[dict[str, Any]] = []
    for start in range(0, len(outcomes), AT_ONCE):
        part = {"outcomes": outcomes[start : start + AT_ONCE]}
        answers += server.post("/v1/outcomes/batch", part)["answers"]
    counts = {status: sum(answer["status"] == status for answer in answers) for status in (200, 201)}
    refused = [(number, answer) for number, answer in enumerate(answers, start=1) if answer["status"] not in counts]
    out.say(f"[green]✓[/] {counts[201]:,} recorded, {counts[200]:,} known before")
    if refused:
        out.say(f"[red]✗[/] {len(refused):,} refused")
        rows = [(str(number), shown(a["code"]), shown(a.get("detail", ""))) for number, a in refused[:_MOST_NAMED]]
        out.table(("outcome#", "problem", ""), rows)
    out.document({"recorded": counts[201], "known": counts[200], "refused": len(refused), "answers": answers})
    return exits.for_error(RequestRefused("")) if refused else exits.PASS


def _read(path: Path) -> list[object]:
    """Return what a file holds, one outcome each. Raises `DataRefused`, naming lines and no values."""
    if str(path) != "-" and not path.is_file():
        raise Misuse(f"{path}: no such file", hint="--from names a file of outcomes, or - for standard input")
    try:
        with storage_errors(path), click.open_file(str(path), encoding="utf-8-sig") as opened:
            text = opened.read()
    except UnicodeDecodeError as error:
        raise DataRefused(f"{path} is not UTF-8", [Problem("", "not UTF-8", file=str(path))]) from error
    found = _of_csv(path, text) if path.suffix.lower() == ".csv" else _of_lines(path, text)
    if not found:
        raise DataRefused(f"{path} holds no outcome", [Problem("", "empty", file=str(path))])
    return found


def _of_csv(path: Path, text: str) -> list[object]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if missing := [name for name in FIELDS if name not in (rows.fieldnames or ())]:
        raise DataRefused(
            f"{path} lacks columns", [Problem(name, "no such column", file=str(path)) for name in missing]
        )
    try:
        return [{name: row[name] for name in FIELDS} for row in rows]
    except csv.Error as error:
        line = rows.line_num
        raise DataRefused(f"{path} is no CSV file", [Problem("", str(error), file=str(path), line=line)]) from error


def _of_lines(path: Path, text: str) -> list[object]:
    found: list[object] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except ValueError:
                problems.append(Problem("", "not a JSON document", file=str(path), line=number))
    if problems:
        raise DataRefused(f"{path} cannot be read", problems[:_MOST_NAMED], hint="one JSON object a line")
    return found
