"""`aboveboard init`: a commented model.yaml for a stranger's file."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.errors import Conflict
from aboveboard.files import write_atomically
from aboveboard.spec.types import LegalBasis, Purpose


@click.command(name="init")
@click.argument("data_path", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="The column to predict.")
@click.option("--favourable", required=True, help="The value of the target that is good for the person concerned.")
@click.option("--protected", required=True, help="Columns of protected attributes, separated by commas.")
@click.option("--identifier", help="The column that names the person. Default: found by its name and values.")
@click.option("--name", help="The model's name. Default: from the file's name.")
@click.option("--owner", help="Who answers for the model, an e-mail address.")
@click.option("--purpose", type=click.Choice([purpose.value for purpose in Purpose]), help="What the model decides.")
@click.option("--jurisdictions", help="Whose law applies, separated by commas, e.g. us,eu.")
@click.option("--legal-basis", type=click.Choice([basis.value for basis in LegalBasis]), help="GDPR art. 6(1).")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), default="model.yaml", show_default=True
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def command(
    data_path: Path,
    target: str,
    favourable: str,
    protected: str,
    identifier: str | None,
    name: str | None,
    owner: str | None,
    purpose: str | None,
    jurisdictions: str | None,
    legal_basis: str | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write a model.yaml for a CSV or Parquet file, with an inferred contract and comments to read.

    What the file cannot tell (who owns the model, whose law applies …) stays a question mark for you to answer;
    `aboveboard check` lists the questions.
    """
    from aboveboard.data.infer import infer_spec

    out = output_of(as_json)
    if output.exists() and not force:
        raise Conflict(f"{output} exists already", hint="give another name with --output, or replace it with --force")
    text = infer_spec(
        data_path,
        target=target,
        favourable=favourable,
        protected=_split(protected),
        identifier=identifier,
        name=name,
        owner=owner,
        purpose=purpose,
        jurisdictions=_split(jurisdictions or ""),
        legal_basis=legal_basis,
        relative_to=output.parent,
    )
    write_atomically(output, text.encode())
    questions = [number for number, line in enumerate(text.splitlines(), 1) if '"?"' in line.split("#")[0]]
    out.say(f"[green]✓[/] wrote {escape(str(output))}")
    if questions:
        lines = ", ".join(map(str, questions))
        out.say(f"  {len(questions)} questions only you can answer, marked [bold]?[/] on lines {lines}")
    out.next(f"aboveboard check {output}")
    out.document({"model": str(output), "questions": questions})


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
