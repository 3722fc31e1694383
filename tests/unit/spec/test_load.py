"""Every mistake in a model.yaml is reported at once, with its place and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from aboveboard.errors import NotFound, SpecInvalid
from aboveboard.spec import load_spec
from aboveboard.spec.load import parse_spec
from aboveboard.spec.types import LegalBasis, Purpose

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default" / "model.yaml"


@pytest.fixture(scope="module")
def text() -> str:
    return EXAMPLE.read_text(encoding="utf-8")


RECOURSE = ", recourse: {%s}, reasonGroup: credit-line"


def problems_in(text: str) -> dict[str, tuple[int, str]]:
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(text, name="model.yaml")
    return {p.path: (p.line, f"{p.message} ({p.hint})") for p in caught.value.problems}


def line_of(text: str, fragment: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if fragment in line)


def test_the_example_says_what_it_declares() -> None:
    spec = load_spec(EXAMPLE)
    assert spec.metadata.name == "credit-default"
    assert spec.spec.purpose is Purpose.CREDIT_DECISION
    assert {attribute.column for attribute in spec.spec.protected} == {"SEX", "AGE", "MARRIAGE", "EDUCATION"}
    limit = spec.spec.features[0]
    assert spec.spec.legal_basis_of(limit) is LegalBasis.CONTRACT
    code, texts = spec.spec.reason_texts(limit)
    assert code == "credit-line"
    assert set(texts) == {"en", "de", "zh"}


def test_six_mistakes_are_reported_at_once_with_their_lines(text: str) -> None:
    wrong = (
        text.replace("purpose: credit-decision", "purpose: credit")
        .replace("approveAt: 0.6", "aproveAt: 0.6")
        .replace("      aucAtLeast: 0.75\n", "")
        .replace("name: LIMIT_BAL,", "name: SEX,")
        .replace("region: eu-west}", "region: mars}")
        .replace("maximum: 2500000, reasonGroup: balances", "maximum: lots, reasonGroup: balances", 1)
    )
    found = problems_in(wrong)
    assert found["spec.purpose"][0] == line_of(wrong, "purpose: credit")
    assert "did you mean approveAt?" in found["spec.decision.aproveAt"][1]
    assert "add approveAt" in found["spec.decision.approveAt"][1]
    assert found["spec.evaluation.limits.aucAtLeast"] == (line_of(wrong, "limits:"), "missing (add aucAtLeast:)")
    assert "protected attribute (sex)" in found["spec.features[0].name"][1]
    assert "outside the regions" in found["spec.data.source.region"][1]
    assert found["spec.features[7].maximum"][0] == line_of(wrong, "maximum: lots")
    assert len(found) == 7


def test_a_question_left_open_is_asked_once(text: str) -> None:
    found = problems_in(text.replace("purpose: credit-decision", 'purpose: "?"'))
    assert list(found) == ["spec.purpose"]
    assert "only you know this" in found["spec.purpose"][1]


@pytest.mark.parametrize(
    ("before", "after", "path", "says"),
    [
        ("legalBasis: contract", "legalBasis: because", "spec.data.legalBasis", "'consent'"),
        ("reasonGroup: credit-line", "reasonGroup: credit-lines", "spec.features[0].reasonGroup", "no reason group"),
        ("name: PAY_2,", "name: PAY_0,", "spec.features[2].name", "declared twice"),
        ("name: PAY_2,", "name: ID,", "spec.features[2].name", "target or the identifier"),
        ("referAt: 0.45", "referAt: 0.9", "spec.decision", "referAt is above approveAt"),
        ("reference: male", "reference: mail", "spec.protected[0]", "reference group 'mail' is not one of"),
        ("below: 50}", "below: 55}", "spec.protected[1]", "bands overlap"),
        ("values: [2]}]", "values: [1]}]", "spec.protected[0]", "belongs to two groups"),
        ("decisions: P25M", "decisions: 25 months", "spec.retention.decisions", "it must match"),
        ("weight: 25", "weight: 3", "spec.rollout", "above the one before"),
        ("name: sex\n      column: SEX", "name: age\n      column: SEX", "spec.protected[1].name", "declared twice"),
        ("split: {method: seed, seed: 2005,", "split: {method: time,", "spec.data.split", "needs the column"),
        ("monotonic: increasing, reasonGroup: credit-line", "monotonic: increasing", "spec.features[0]", "reasons"),
        ("type: integer, unit: TWD", "type: category, unit: TWD", "spec.features[0]", "lists its categories"),
        ("minimum: 0, maximum: 2000000", "minimum: 9, maximum: 2", "spec.features[0]", "minimum is above maximum"),
        ("{low: 7, high: 31}", "{low: 31, high: 7}", "spec.model.search.space.num_leaves", "low is above high"),
        (", reasonGroup: credit-line", RECOURSE % "step: 5", "spec.features[0].recourse", "which way"),
        (", reasonGroup: credit-line", RECOURSE % "change: decrease", "spec.features[0]", "never helps"),
        (", reasonGroup: credit-line", RECOURSE % "change: up", "spec.features[0].recourse.change", "'increase'"),
        (", reasonGroup: credit-line", RECOURSE % "change: increase, step: 0.5", "spec.features[0]", "whole number"),
        (
            ", maximum: 2000000, monotonic: increasing",
            ", recourse: {change: either}",
            "spec.features[0]",
            "needs most",
        ),
        (
            "LIMIT_BAL, type: integer",
            "LIMIT_BAL, recourse: {change: either}, type: number",
            "spec.features[0]",
            "step",
        ),
        (
            "reasonGroup: credit-line",
            "reasonGroup: credit-line, proxyFor: [race]",
            "spec.features[0].proxyFor[0]",
            "race",
        ),
        (
            "reasonGroup: credit-line",
            "reasonGroup: credit-line, proxyFor: [sex], recourse: {change: increase}",
            "spec.features[0]",
            "what stands in for one",
        ),
    ],
)
def test_each_mistake_names_its_place(text: str, before: str, after: str, path: str, says: str) -> None:
    assert before in text
    wrong = text.replace(before, after, 1)
    found = problems_in(wrong)
    assert says in found[path][1]
    assert found[path][0] > 1


@pytest.mark.parametrize(
    "text",
    ["", "a: [", "a: 1\na: 2", "- x", "\x00", "x: !!python/object:os.system y", "'", "a: &a [*a]", "%YAML 9\n---\n:"],
)
def test_what_is_no_spec_is_refused_with_our_error(text: str) -> None:
    assert problems_in(text)


def test_yaml_1_2_keeps_norway(text: str) -> None:
    spec = parse_spec(text.replace("jurisdictions: [us, eu]", "jurisdictions: [no]"), name="model.yaml")
    assert spec.spec.jurisdictions == ("no",)


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file") as caught:
        load_spec(tmp_path / "model.yaml")
    assert "aboveboard init" in caught.value.hint


def test_a_directory_and_a_binary_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "model.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, binary):
        with pytest.raises(SpecInvalid, match="not a readable text file"):
            load_spec(path)
