"""Reading what people wrote in YAML: every mistake at once, each with its line and what to write instead.

What a file must say is a matter of its own module (`load`, `regions`); this one finds the places.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from aboveboard.errors import NotFound, Problem, SpecInvalid

DISAGREEMENT = "disagreement"
"""The type of the validation error whose context lists, under `found`, where parts of a document disagree."""

T = TypeVar("T", bound=BaseModel)

Location = tuple[str | int, ...]
"""Where a value stands in the document: keys and positions from the top."""


def read_text(path: Path, *, hint: str) -> str:
    """Return the text of the file at `path`.

    Raises `NotFound`, with the hint, when there is no such file and `SpecInvalid` when it is not readable text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file", hint=hint) from None
    except (IsADirectoryError, UnicodeDecodeError, PermissionError) as error:
        raise SpecInvalid(f"{path}: not a readable text file", [Problem("", str(error), file=str(path))]) from error


def refusal(problems: list[Problem], name: str, what: str) -> SpecInvalid:
    """Return the error that lists all problems, by line."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return SpecInvalid(
        f"{name}: {count} in {what}",
        sorted(problems, key=lambda problem: problem.line),
        hint="mend each line named and check again",
    )


def parse_yaml(text: str, name: str, what: str) -> Any:
    """Return the mapping in a YAML 1.2 text, with line numbers. Raises `SpecInvalid`, saying `what` was expected."""
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
        raise SpecInvalid(f"{name}: not {what}", [problem])
    return document


def _yaml_invalid(error: MarkedYAMLError, message: str, name: str) -> SpecInvalid:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    return SpecInvalid(f"{name}:{line}: not valid YAML", [Problem("", message.strip(), file=name, line=line)])


def valid_items(kind: type[T], items: Any) -> dict[int, T]:
    """Return those items of a list that are valid objects of a kind, by their position."""
    valid = {}
    for index, item in enumerate(items if isinstance(items, list) else ()):
        with suppress(ValidationError):
            valid[index] = kind.model_validate(item, by_alias=True, by_name=False)
    return valid


def unanswered(
    node: Any, mark: str, spellings: Collection[str], path: Location = ()
) -> Iterator[tuple[Location, int]]:
    """Yield the path and line of every value that is still `mark`; what stands under `spellings` is left alone."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        if key in spellings:
            continue
        if value == mark and isinstance(value, str):
            yield (*path, key), line_of(node, (key,))
        else:
            yield from unanswered(value, mark, spellings, (*path, key))


def invalid(error: ValidationError, document: Any, name: str, kind: type[BaseModel]) -> Iterator[Problem]:
    """Yield what is wrong within single parts."""
    for detail in error.errors():
        if detail["type"] == DISAGREEMENT:
            continue
        location = _existing(document, detail["loc"], missing=detail["type"] == "missing")
        message = detail["msg"].removeprefix("Value error, ")
        hint = ""
        if detail["type"] == "extra_forbidden":
            message = "unknown key"
            hint = _did_you_mean(str(detail["loc"][-1]), detail["loc"][:-1], kind)
        elif detail["type"] == "missing":
            message = "missing"
            hint = f"add {detail['loc'][-1]}:"
        elif detail["type"] == "string_pattern_mismatch":
            hint = f"it must match {detail['ctx']['pattern']}"
        yield Problem(dotted(location), message[0].lower() + message[1:], hint, name, line_of(document, location))


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


def _did_you_mean(key: str, parent: Location, kind: type[BaseModel]) -> str:
    known = _keys_at(parent, kind)
    if close := difflib.get_close_matches(key, known, n=1):
        return f"did you mean {close[0]}?"
    return f"known here: {', '.join(known)}" if known else ""


def _keys_at(location: Location, kind: type[BaseModel]) -> list[str]:
    """Return the keys that the schema allows at a location."""
    schema: Any = kind.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    node: Any = schema
    for key in location:
        node = node.get("items", node) if isinstance(key, int) else node.get("properties", {}).get(key, {})
        for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
            if "$ref" in option:
                node = definitions[option["$ref"].rsplit("/", 1)[-1]]
                break
    return list(node.get("properties", {}))


def line_of(document: Any, path: Location) -> int:
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


def dotted(path: Location) -> str:
    """Write a path as `spec.features[3].name`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
