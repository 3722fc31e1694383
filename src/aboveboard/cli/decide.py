"""`aboveboard decide`: the server's decision path, for one applicant or a file of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.markup import escape

from aboveboard.cli import exits
from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.output import Output
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import AboveboardError, Misuse, NotFound
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.serving.service import Answer
from aboveboard.spec import ModelSpec
from aboveboard.spec.load import parse_spec
from aboveboard.spec.tables import is_table


@click.command(name="decide")
@click.argument("release")
@click.argument("requests", metavar="[FILE]", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option("--template", is_flag=True, help="Print a request to fill in, and stop.")
@json_option
@click.pass_context
def command(ctx: click.Context, release: str, requests: Path | None, template: bool, as_json: bool) -> int:
    """Decide about one applicant, or a file of them, with reasons and a receipt for each.

    FILE holds requests as the server takes them, one JSON object or one on each line (`-` reads standard input).
    Or it is a table (.csv, .parquet) with the columns of the model's data; the target need not be there. Each
    decision is in the log before it is shown. Exit code 65 when a request was refused.
    """
    from aboveboard.serving.local import decide_here

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    verified = workspace.releases().verify(release)
    deployment = deploy(verified.digest, verified.files)
    if template:
        click.echo(json.dumps(_template(deployment), indent=2, ensure_ascii=False))
        return exits.PASS
    if requests is None:
        raise Misuse("no file of requests was named", hint=f"aboveboard decide {release} --template > request.json")
    spec = parse_spec(verified.files["model.yaml"].decode(), name="model.yaml")
    bodies = _rows(spec, requests) if is_table(requests) else _bodies(requests)
    with workspace.log() as log:
        answers = decide_here(deployment, log, bodies, token_key=workspace.token_key(), clock=workspace.clock)
    refusals = [answer for answer in answers if isinstance(answer, AboveboardError)]
    if len(answers) == 1 and refusals:
        raise refusals[0]
    _show(out, answers)
    decided = next((answer for answer in answers if isinstance(answer, Answer)), None)
    if decided is not None:
        out.next(f"aboveboard audit receipt {decided.decision_id} -o receipt.json")
    out.document(
        {"decisions": [a.as_dict() if isinstance(a, AboveboardError) else msgspec.to_builtins(a) for a in answers]}
    )
    return exits.for_error(refusals[0]) if refusals else exits.PASS


def _rows(spec: ModelSpec, path: Path) -> list[bytes]:
    """Return a request for each row of a table."""
    from aboveboard.data.applicants import read_applicants

    return [
        msgspec.json.encode({"subject": person.subject, "features": person.features, "cohort": person.cohort})
        for person in read_applicants(spec, path)
    ]


def _bodies(path: Path) -> list[bytes]:
    """Return the requests in a file: one JSON document, or one on each line."""
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise NotFound(
            f"{path}: {error.strerror}", hint="name a file of requests, or - for standard input"
        ) from error
    try:
        json.loads(content)
    except ValueError:
        return [line for line in content.splitlines() if line.strip()]
    return [content]


def _template(deployment: Deployment) -> dict[str, Any]:
    """Return a request whose values are those of the reference the reasons compare with."""
    encoding = deployment.model.encoding
    return {
        "subject": "the identifier this person is known by",
        "locale": "en",
        "features": encoding.decode(deployment.model.reference()),
        "cohort": dict.fromkeys(deployment.attributes),
    }


def _show(out: Output, answers: list[Answer | AboveboardError]) -> None:
    rows = []
    for answer in answers:
        if isinstance(answer, AboveboardError):
            rows.append(("", "[red]refused[/]", "", escape(answer.message)))
        else:
            reasons = escape("; ".join(reason.text for reason in answer.reasons))
            rows.append((answer.decision_id, answer.outcome, f"{answer.score:.3f}", reasons))
    out.table(("decision", "outcome", "score#", "reasons"), rows)
