"""Whatever is typed into model.yaml, the loader answers with a spec or with our error."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aboveboard.errors import SpecInvalid
from aboveboard.spec.load import parse_spec

EXAMPLE = (Path(__file__).parents[3] / "examples" / "01-credit-default" / "model.yaml").read_text(encoding="utf-8")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 40), st.text(max_size=8))
def test_a_spec_with_any_span_overwritten_parses_or_is_refused(start: int, length: int, inserted: str) -> None:
    text = EXAMPLE[:start] + inserted + EXAMPLE[start + length :]
    try:
        spec = parse_spec(text, name="model.yaml")
    except SpecInvalid as refusal:
        assert refusal.problems
        assert all(problem.line >= 1 for problem in refusal.problems)
    else:
        assert spec.kind == "Model"


@given(st.text(max_size=200))
def test_any_text_is_refused_with_our_error(text: str) -> None:
    try:
        parse_spec(text, name="model.yaml")
    except SpecInvalid as refusal:
        assert refusal.problems
    else:
        raise AssertionError("arbitrary text became a model spec")
