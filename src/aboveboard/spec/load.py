"""Reading model.yaml: every mistake at once, each with its file, line, path and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aboveboard.errors import Problem
from aboveboard.spec.agreement import disagreements
from aboveboard.spec.data import DataSpec, Feature
from aboveboard.spec.model import ModelSpec
from aboveboard.spec.protected import ProtectedAttribute
from aboveboard.spec.reading import (
    DISAGREEMENT,
    dotted,
    invalid,
    line_of,
    parse_yaml,
    read_text,
    refusal,
    unanswered,
    valid_items,
)

UNANSWERED = "?"
"""What `aboveboard init` writes where only a person knows the answer."""

_SPELLINGS = ("nullValues", "categories", "values")
"""Keys that hold values as they stand in the data, where a question mark is just a spelling."""


def load_spec(path: Path) -> ModelSpec:
    """Return the model spec in the YAML file at `path`.

    Raises `NotFound` when there is no such file and `SpecInvalid` with every problem when it is not valid.
    """
    return parse_spec(
        read_text(path, hint="write one with: aboveboard init DATA --target COLUMN"),
        name=str(path),
    )


def parse_spec(text: str, *, name: str) -> ModelSpec:
    """Return the model spec in `text`; `name` stands for the file in messages. Raises `SpecInvalid`."""
    document = parse_yaml(text, name, "a model spec")
    problems = [
        Problem(dotted(path), "only you know this", "replace ? with your answer; see the comment there", name, line)
        for path, line in unanswered(document, UNANSWERED, _SPELLINGS)
    ]
    open_paths = {problem.path for problem in problems}
    try:
        spec = ModelSpec.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        found = [*invalid(error, document, name, ModelSpec), *_disagreeing(error, document, name)]
        problems += [problem for problem in found if problem.path not in open_paths]
    if problems:
        raise refusal(problems, name, "the model spec")
    return spec


def _disagreeing(error: ValidationError, document: Any, name: str) -> Iterator[Problem]:
    """Yield what is wrong between parts, looking only at the parts that are valid by themselves."""
    found = [d for detail in error.errors() if detail["type"] == DISAGREEMENT for d in detail["ctx"]["found"]]
    body = document.get("spec")
    if not found and isinstance(body, dict):
        groups = body.get("reasonGroups", {})
        found = list(
            disagreements(
                valid_items(Feature, body.get("features")),
                valid_items(ProtectedAttribute, body.get("protected")),
                set(groups) if isinstance(groups, dict) else None,
                valid_items(DataSpec, [body.get("data")]).get(0),
                body["regions"] if isinstance(body.get("regions"), list) else None,
            )
        )
    for disagreement in found:
        path = ("spec", *disagreement.path)
        yield Problem(dotted(path), disagreement.message, disagreement.hint, name, line_of(document, path))
