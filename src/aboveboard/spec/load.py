"""Reading model.yaml: every mistake at once, each with its file, line, path and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from aboveboard.errors import NotFound, Problem, SpecInvalid
from aboveboard.spec.agreement import disagreements
from aboveboard.spec.data import DataSpec, Feature
from aboveboard.spec.model import DISAGREEMENT, ModelSpec
from aboveboard.spec.protected import ProtectedAttribute
from aboveboard.spec.types import Strict

Location = tuple[str | int, ...]
"""Where a value stands in the document: keys and positions from the top."""

T = TypeVar("T", bound=Strict)

UNANSWERED = "?"
"""What `aboveboard init` writes where only a person knows the answer."""

_SPELLINGS = ("nullValues", "categories", "values")
"""Keys that hold values as they stand in the data, where a question mark is just a spelling."""


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
    problems = [
        Problem(_dotted(path), "only you know this", "replace ? with your answer; see the comment there", name, line)
        for path, line in _unanswered(document, ())
    ]
    open_paths = {problem.path for problem in problems}
    try:
        spec = ModelSpec.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        found = [*_invalid(error, document, name), *_disagreeing(error, document, name)]
        problems += [problem for problem in found if problem.path not in open_paths]
    if problems:
        problems.sort(key=lambda problem: problem.line)
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


def _unanswered(node: Any, path: Location) -> Iterator[tuple[Location, int]]:
    """Yield the path and line of every value that is still a question mark."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        if key in _SPELLINGS:
            continue
        if value == UNANSWERED and isinstance(value, str):
            yield (*path, key), _line(node, (key,))
        else:
            yield from _unanswered(value, (*path, key))


def _invalid(error: ValidationError, document: Any, name: str) -> Iterator[Problem]:
    """Yield what is wrong within single parts."""
    for detail in error.errors():
        if detail["type"] == DISAGREEMENT:
            continue
        location = _existing(document, detail["loc"], missing=detail["type"] == "missing")
        message = detail["msg"].removeprefix("Value error, ")
        hint = ""
        if detail["type"] == "extra_forbidden":
            message = "unknown key"
            hint = _did_you_mean(str(detail["loc"][-1]), detail["loc"][:-1])
        elif detail["type"] == "missing":
            message = "missing"
            hint = f"add {detail['loc'][-1]}:"
        elif detail["type"] == "string_pattern_mismatch":
            hint = f"it must match {detail['ctx']['pattern']}"
        yield Problem(_dotted(location), message[0].lower() + message[1:], hint, name, _line(document, location))


def _disagreeing(error: ValidationError, document: Any, name: str) -> Iterator[Problem]:
    """Yield what is wrong between parts, looking only at the parts that are valid by themselves."""
    found = [d for detail in error.errors() if detail["type"] == DISAGREEMENT for d in detail["ctx"]["found"]]
    body = document.get("spec")
    if not found and isinstance(body, dict):
        groups = body.get("reasonGroups", {})
        found = list(
            disagreements(
                _valid_items(Feature, body.get("features")),
                _valid_items(ProtectedAttribute, body.get("protected")),
                set(groups) if isinstance(groups, dict) else None,
                _valid_items(DataSpec, [body.get("data")]).get(0),
                body["regions"] if isinstance(body.get("regions"), list) else None,
            )
        )
    for disagreement in found:
        path = ("spec", *disagreement.path)
        yield Problem(_dotted(path), disagreement.message, disagreement.hint, name, _line(document, path))


def _valid_items(kind: type[T], items: Any) -> dict[int, T]:
    """Return those items of a list that are valid objects of a kind, by their position."""
    valid = {}
    for index, item in enumerate(items if isinstance(items, list) else ()):
        with suppress(ValidationError):
            valid[index] = kind.model_validate(item, by_alias=True, by_name=False)
    return valid


def _existing(document: Any, location: Location, *, missing: bool) -> Location:
    """Drop the names of union members that pydantic puts into a location; keep real keys, and one that is missing."""
    kept: list[str | int] = []
    node = document
    for position, key in enumerate(location):
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        elif not (missing and position == len(location) - 1):
            continue
        kept.append(key)
    return tuple(kept)


def _did_you_mean(key: str, parent: Location) -> str:
    known = _keys_at(parent)
    if close := difflib.get_close_matches(key, known, n=1):
        return f"did you mean {close[0]}?"
    return f"known here: {', '.join(known)}" if known else ""


def _keys_at(location: Location) -> list[str]:
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


def _line(document: Any, path: Location) -> int:
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


def _dotted(path: Location) -> str:
    """Write a path as `spec.features[3].name`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
