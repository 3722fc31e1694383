"""Trying a pack before it is believed: it compiles in the engine that judges, and its own tests come out as said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from aboveboard.errors import AboveboardError, Problem
from aboveboard.policy.engine import Engine
from aboveboard.policy.pack import PolicyPack
from aboveboard.policy.rego import LIBRARY, CompiledRego, RegoFailed
from aboveboard.policy.verdict import Verdict
from aboveboard.spec.types import Name, Text


class PackTest(BaseModel):
    """One test that a pack carries: facts, a day, and what some of its rules must say about them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    name: Text
    as_of: date
    """The day whose law is applied."""
    facts: dict[str, Any]
    """What the rules are asked about, in the shape of a run's `facts.json`; what no rule looks at may be left out."""
    expect: Annotated[dict[Name, Annotated[Verdict, Field(strict=False)]], Field(min_length=1)]
    """The verdict by rule."""


def rehearse(
    pack: PolicyPack, tests: Sequence[PackTest], *, before: Callable[[], None] = lambda: None
) -> list[Problem]:
    """Return why a pack cannot be relied on: it does not compile, or a test comes out otherwise than it says.

    `before` is called before each test: one may never end.
    """
    try:
        CompiledRego([pack.package], {LIBRARY.name: LIBRARY.read_text(encoding="utf-8"), **pack.modules})
    except RegoFailed as error:
        return [Problem("modules", str(error), "see docs/how-to/write-a-policy-pack.md", pack.name)]
    engine = Engine([pack])
    return [problem for test in tests for problem in _play(pack, engine, test, before)]


def _play(pack: PolicyPack, engine: Engine, test: PackTest, before: Callable[[], None]) -> list[Problem]:
    path = f"tests: {test.name}"
    try:
        verdict = engine.judge(test.facts, test.as_of, before=lambda _: before())
    except AboveboardError as error:
        return [Problem(path, error.message, error.hint, pack.name)]
    said = {result.rule: result for result in verdict.results if result.pack == pack.name}
    problems = []
    for rule, expected in test.expect.items():
        if rule not in said:
            problems.append(Problem(path, f"there is no rule {rule!r}", "name rules of this pack", pack.name))
        elif said[rule].verdict is not expected:
            message = f"{rule} says {said[rule].verdict.value}, not {expected.value}: {said[rule].message}"
            problems.append(Problem(path, message, "mend the rule or the test", pack.name))
    return problems
