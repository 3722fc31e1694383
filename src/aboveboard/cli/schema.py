"""`aboveboard schema`: the JSON Schema of model.yaml, for editor completion."""

from __future__ import annotations

import json

import click

from aboveboard.cli.app import json_always
from aboveboard.spec.schema import json_schema


@click.command(name="schema")
@json_always
def command() -> None:
    """Print the JSON Schema of model.yaml.

    Save it next to your model and start the file with
    `# yaml-language-server: $schema=model.schema.json` to have your editor complete and check it.
    """
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
