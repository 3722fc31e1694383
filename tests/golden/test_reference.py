"""The reference pages are what the program says of itself; `make golden` writes them anew."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import click
import pytest

from aboveboard.cli import exits
from aboveboard.cli.app import COMMANDS, root
from aboveboard.spec.schema import json_schema

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def compare(request: pytest.FixtureRequest, name: str, text: str) -> None:
    path = REFERENCE / name
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"docs/reference/{name} is not current: run `make golden`"


def test_commands(request: pytest.FixtureRequest) -> None:
    compare(request, "commands.md", commands_page())


def test_model_yaml(request: pytest.FixtureRequest) -> None:
    compare(request, "model.schema.json", json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    compare(request, "model-yaml.md", model_page(json_schema()))


def commands_page() -> str:
    codes = [
        (exits.PASS, "pass, done"),
        (exits.FAIL, "the gate failed, or something does not verify"),
        (exits.INSUFFICIENT, "the evidence is insufficient"),
        (exits.MISUSE, "the command was put wrongly"),
        (65, "a spec, data or a request that is not valid"),
        (66, "no such file, run, release or decision"),
        (69, "somebody else holds it: a port, a home, a name"),
        (exits.BUG, "a defect of ours"),
        (74, "a disk or database did not take it"),
        (75, "not now: overloaded, or retained by law"),
        (77, "not authorised"),
        (exits.INTERRUPTED, "interrupted with Ctrl-C; nothing half-written was left"),
    ]
    parts = [
        "# Commands",
        "Generated from the program itself. Every command takes `--help`; most take `--json`, which prints one "
        "document to standard output and errors, as documents, to standard error.",
        "| exit code | means |\n| --- | --- |\n" + "\n".join(f"| {code} | {meaning} |" for code, meaning in codes),
        "```console\n" + help_of(root, "aboveboard") + "\n```",
    ]
    for name in COMMANDS:
        command = importlib.import_module(f"aboveboard.cli.{name}").command
        parts.append(f"## {name}\n\n```console\n{help_of(command, f'aboveboard {name}')}\n```")
        if isinstance(command, click.Group):
            for below, leaf in command.commands.items():
                help_text = help_of(leaf, f"aboveboard {name} {below}")
                parts.append(f"### {name} {below}\n\n```console\n{help_text}\n```")
    return "\n\n".join(parts) + "\n"


def help_of(command: click.Command, name: str) -> str:
    names = root.context_settings["help_option_names"]
    context = click.Context(
        command, info_name=name, max_content_width=100, terminal_width=100, help_option_names=names
    )
    return command.get_help(context).rstrip()


def model_page(schema: dict[str, Any]) -> str:
    parts = [
        "# model.yaml",
        "Generated from the types that read it. For completion in your editor, save `aboveboard schema` beside your "
        "model and begin the file with `# yaml-language-server: $schema=model.schema.json`.",
        section("Model", schema, schema["$defs"]),
    ]
    objects = {name: node for name, node in schema["$defs"].items() if "properties" in node}
    parts += [section(name, node, schema["$defs"]) for name, node in objects.items()]
    lists = {name: node for name, node in schema["$defs"].items() if "enum" in node}
    parts.append(
        "## Enumerations\n\n| type | values | |\n| --- | --- | --- |\n"
        + "\n".join(
            f"| {name} | {', '.join(f'`{value}`' for value in node['enum'])} | {one_line(node)} |"
            for name, node in lists.items()
        )
    )
    return "\n\n".join(parts) + "\n"


def section(name: str, node: dict[str, Any], definitions: dict[str, Any]) -> str:
    required = set(node.get("required", ()))
    rows = [
        f"| `{key}` | {type_of(value)} | {'**yes**' if key in required else default_of(value)} | {one_line(value)} |"
        for key, value in node["properties"].items()
    ]
    return (
        f"## {name}\n\n{node.get('description', '')}\n\n"
        "| key | type | required, or default | |\n| --- | --- | --- | --- |\n" + "\n".join(rows)
    )


def type_of(node: dict[str, Any]) -> str:
    if "$ref" in node:
        return str(node["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in node or "oneOf" in node:
        options = [type_of(option) for option in [*node.get("anyOf", ()), *node.get("oneOf", ())]]
        return " or ".join(option for option in options if option != "null")
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if node.get("type") == "array":
        return f"list of {type_of(node['items'])}" if "items" in node else "list"
    if node.get("type") == "object":
        values = node.get("additionalProperties")
        return f"map to {type_of(values)}" if isinstance(values, dict) else "map"
    bounds = [
        f"{sign} {node[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in node
    ]
    return str(node.get("type", "any")) + (f" {', '.join(bounds)}" if bounds else "")


def default_of(node: dict[str, Any]) -> str:
    default = node.get("default")
    return "" if default is None or isinstance(default, dict | list) else f"`{json.dumps(default)}`"


def one_line(node: dict[str, Any]) -> str:
    return " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
