"""Reading model.yaml: every mistake at once, each with its file, line, path and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from aboveboard.errors import NotFound, Problem, SpecInvalid
from aboveboard.spec.model import ModelSpec

UNANSWERED = "?"
"""What `aboveboard init` writes where only a person knows the answer."""


def load_spec(path: Path) -> ModelSpec:
    """Return the model spec in the YAML file at `path`.

    Raises `NotFound` when there is no such file and `SpecInvalid` with every problem when it is not valid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file", hint="write one with: aboveboard init DATA --target COLUMN") from None
    except (IsADirectoryError, UnicodeDecodeError, PermissionError) as error:
        raise SpecInvalid(f"{path}: not a readable text file", [Problem("", str(error), file=str(path))]) from error
    return parse_spec(text, name=str(path))


def parse_spec(text: str, *, name: str) -> ModelSpec:
    """Return the model spec in `text`; `name` stands for the file in messages. Raises `SpecInvalid`."""
    document = _parse_yaml(text, name)
    questions = [
        Problem(path, "only you know this", "replace ? with your answer; the comment beside it helps", name, line)
        for path, line in _unanswered(document, ())
    ]
    try:
        spec = ModelSpec.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        open_paths = {problem.path for problem in questions}
        problems = [p for e in error.errors() for p in _problems(e, document, name) if p.path not in open_paths]
    else:
        problems = []
    problems = sorted([*questions, *problems], key=lambda problem: problem.line)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise SpecInvalid(f"{name}: {count} in the model spec", problems, hint="mend each line named and check again")
    return spec


def _parse_yaml(text: str, name: str) -> Any:
    parser = YAML(typ="rt", pure=True)
    try:
        document = parser.load(text)
    except DuplicateKeyError as error:
        raise _yaml_invalid(error, "the same key stands here twice", name) from error
    except MarkedYAMLError as error:
        raise _yaml_invalid(error, error.problem or "not valid YAML", name) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpecInvalid(f"{name}: not valid YAML", [Problem("", str(error), file=name, line=1)]) from error
    if not isinstance(document, dict):
        problem = Problem("", "the file is not a mapping", "start with apiVersion: and kind:", name, 1)
        raise SpecInvalid(f"{name}: not a model spec", [problem])
    return document


def _yaml_invalid(error: MarkedYAMLError, message: str, name: str) -> SpecInvalid:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    return SpecInvalid(f"{name}:{line}: not valid YAML", [Problem("", message.strip(), file=name, line=line)])


def _unanswered(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, int]]:
    """Yield the path and line of every value that is still a question mark."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        if value == UNANSWERED and isinstance(value, str):
            yield _dotted((*path, key)), _line(node, (key,))
        else:
            yield from _unanswered(value, (*path, key))


def _problems(error: Any, document: Any, name: str) -> Iterator[Problem]:
    """Turn one pydantic error into problems with a place; a rule that spans parts reports several at once."""
    location = _existing(document, tuple(error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    if "\t" in message:
        for complaint in message.splitlines():
            below, text, hint = complaint.split("\t")
            path = (*location, *(int(part) if part.isdigit() else part for part in below.split(".")))
            yield Problem(_dotted(path), text, hint, name, _line(document, path))
        return
    hint = ""
    if error["type"] == "extra_forbidden":
        message = "unknown key"
        hint = _did_you_mean(str(error["loc"][-1]), tuple(error["loc"][:-1]))
    elif error["type"] == "missing":
        message = "missing"
        hint = f"add {error['loc'][-1]}:"
    elif error["type"] == "string_pattern_mismatch":
        hint = f"it must match {error['ctx']['pattern']}"
    yield Problem(_dotted(location), message[0].lower() + message[1:], hint, name, _line(document, location))


def _existing(document: Any, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Drop the names of union members and types that pydantic puts into a location, keeping real keys."""
    kept: list[str | int] = []
    node = document
    for position, key in enumerate(location):
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        elif position < len(location) - 1 or not isinstance(node, dict):
            continue
        kept.append(key)
    return tuple(kept)


def _did_you_mean(key: str, parent: tuple[str | int, ...]) -> str:
    known = _keys_at(parent)
    if close := difflib.get_close_matches(key, known, n=1):
        return f"did you mean {close[0]}?"
    return f"known here: {', '.join(known)}" if known else ""


def _keys_at(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the schema allows at a location."""
    schema: Any = ModelSpec.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    node: Any = schema
    for key in location:
        node = node.get("items", node) if isinstance(key, int) else node.get("properties", {}).get(key, {})
        for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
            if "$ref" in option:
                node = definitions[option["$ref"].rsplit("/", 1)[-1]]
                break
    return list(node.get("properties", {}))


def _line(document: Any, path: tuple[str | int, ...]) -> int:
    """Return the 1-based line of the deepest part of `path` that is in the document."""
    line = 1
    node = document
    for key in path:
        position = getattr(node, "lc", None)
        try:
            if isinstance(node, dict):
                line = position.key(key)[0] + 1  # type: ignore[union-attr]
            elif isinstance(node, list):
                line = position.item(key)[0] + 1  # type: ignore[union-attr]
            node = node[key]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return line


def _dotted(path: tuple[str | int, ...]) -> str:
    """Write a path as `spec.features[3].name`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
