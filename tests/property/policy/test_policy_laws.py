"""Laws of the gate: what is missing never helps, what is misspelt never passes, and text stays text."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from aboveboard.policy import Engine, PolicyPack, Verdict, built_in_packs, load_pack, load_packs

LATE = date(2028, 1, 1)
PACKS = load_packs(built_in_packs())
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

Path_ = tuple[str | int, ...]

BETTER = {Verdict.FAIL: 0, Verdict.INSUFFICIENT: 1, Verdict.NOT_APPLICABLE: 2, Verdict.PASS: 3}


def small_facts() -> dict[str, Any]:
    """Return the case cut down to three features and two attributes of two groups, so that judging it is quick."""
    whole = Path(__file__).parents[2] / "golden" / "data" / "policy-facts.json"
    facts: dict[str, Any] = json.loads(whole.read_text(encoding="utf-8"))
    facts["features"] = facts["features"][:3]
    codes = {feature["reason_code"] for feature in facts["features"]}
    facts["explanation"]["codes"] = [code for code in facts["explanation"]["codes"] if code in codes]
    facts["protected"] = [facts["protected"][0], facts["protected"][2]]
    facts["protected"][1]["groups"] = facts["protected"][1]["groups"][:2]
    facts["protected"][1]["declared_groups"] = 2
    facts["declared"] = {"features": 3, "protected": 2}
    facts["retention"]["decisions_months"] = 36
    return facts


FACTS = small_facts()


@cache
def engine() -> Engine:
    return Engine(PACKS)


def verdicts(facts: dict[str, Any]) -> dict[str, Verdict]:
    return {result.rule: result.verdict for result in engine().judge(facts, LATE).results}


def paths(node: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every entry of every object and list."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*at, key)
        yield from paths(value, (*at, key))


def without(facts: dict[str, Any], path: Path_) -> dict[str, Any]:
    smaller = copy.deepcopy(facts)
    node: Any = smaller
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return smaller


def kind(path: Path_) -> Path_:
    """Return the path with positions in lists left out, but for the two ends of `groups`."""
    return tuple("*" if isinstance(step, int) and path[i - 1] != "groups" else step for i, step in enumerate(path))


PATHS = list(paths(FACTS))
ONE_OF_EACH = list({kind(path): path for path in PATHS}.values())
FREE = {("explanation", "codes"), ("evaluation", "caveats"), ("model", "regions"), ("model", "jurisdictions")}
"""Lists and maps whose entries may be more or fewer: one less is another model, not a fact left out."""


def is_free(path: Path_) -> bool:
    return path[:-1] in FREE or path[-2:-1] == ("reason_texts",)


def test_the_small_case_passes() -> None:
    assert engine().judge(FACTS, LATE).verdict is Verdict.PASS
    assert len(ONE_OF_EACH) > 150


@pytest.mark.parametrize("path", ONE_OF_EACH, ids=lambda path: ".".join(map(str, path)))
def test_a_fact_left_out_makes_the_verdict_no_better_and_never_a_pass(path: Path_) -> None:
    smaller = without(FACTS, path)
    verdict = engine().judge(smaller, LATE)
    if not is_free(path):
        assert verdict.verdict is Verdict.FAIL
    assert all(BETTER[r.verdict] <= BETTER[VERDICTS[r.rule]] for r in verdict.results if r.rule in VERDICTS)


VERDICTS = verdicts(FACTS)


SPOILT: list[tuple[str, Any]] = [
    ("performance.auc.value", 0.6),
    ("performance.brier.value", 0.4),
    ("calibration.error.value", 0.4),
    ("protected.0.groups.1.adverse_impact_ratio", {"value": 0.6, "low": 0.5, "high": 0.7, "n": 1500}),
    ("protected.0.groups.1.adverse_impact_ratio", {"value": 0.85, "low": 0.7, "high": 1.1, "n": 1500}),
    ("protected.0.groups.1.equal_opportunity_difference", {"value": -0.4, "low": -0.5, "high": -0.3, "n": 1500}),
    ("protected.1.groups.1.n", 3),
    ("protected.0.used_as_feature", True),
    ("features.0.is_protected", True),
    ("features.1.origin", "social-network"),
    ("features.1.classification", "sensitive"),
    ("features.2.legal_basis", "none"),
    ("governance.validator", "retail-credit-risk@bank.example"),
    ("governance.dpia", None),
    ("governance.human_review", None),
    ("governance.monitoring_plan", None),
    ("explanation.largest_additivity_error", 0.5),
    ("explanation.monotonic_violations", 7),
    ("evaluation.data_digest", "sha256:0"),
    ("evaluation.confidence", 0.6),
    ("data.identifier", "raw"),
    ("decision.max_reasons", 9),
    ("decision.reference", "none"),
    ("retention.decisions_months", 3),
    ("retention.releases_months", 3),
]


@SLOW
@given(spoilt=st.sampled_from(SPOILT), path=st.sampled_from(PATHS))
@example(spoilt=("protected.1.groups.1.n", 3), path=("protected", 1, "groups"))
@example(spoilt=("protected.1.groups.1.n", 3), path=("protected", 1, "groups", 1, "group"))
@example(spoilt=("protected.1.groups.1.n", 3), path=("protected", 1, "declared_groups"))
@example(spoilt=SPOILT[3], path=("evaluation", "confidence"))
def test_leaving_out_a_fact_never_hides_what_is_wrong(spoilt: tuple[str, Any], path: Path_) -> None:
    """Judged by the Rego alone, without the gate's own check of the shape."""
    facts = copy.deepcopy(FACTS)
    *way, last = (int(step) if step.isdigit() else step for step in spoilt[0].split("."))
    node: Any = facts
    for step in way:
        node = node[step]
    node[last] = spoilt[1]
    before = verdicts(facts)
    wrong = [rule for rule, verdict in before.items() if verdict in (Verdict.FAIL, Verdict.INSUFFICIENT)]
    assert wrong
    assume(path in set(paths(facts)))
    # An entry of a list that is left out takes its fault with it; that lists are whole is a rule of its own.
    after = verdicts(without(facts, path))
    if isinstance(path[-1], int) and not is_free(path):
        assert Verdict.FAIL in (after["house-lists-complete"], after["gate-facts-whole"])
    else:
        assert all(BETTER[after[rule]] <= BETTER[before[rule]] for rule in wrong)


def misspellings() -> list[tuple[str, int, int]]:
    """Return where, in each pack's Rego, a name stands that means something."""
    return [
        (f"{pack.name}/{name}", match.start(), match.end())
        for pack in PACKS
        for name, text in pack.modules.items()
        for match in re.finditer(r"\b(?:answers|input(?:\.[a-z_]+)+|lib\.[a-z_]+)\b", text)
    ]


@settings(SLOW, max_examples=30)
@given(place=st.sampled_from(misspellings()))
def test_a_misspelt_rule_function_or_fact_never_turns_into_a_better_verdict(place: tuple[str, int, int]) -> None:
    where, start, end = place
    pack_name, _, name = where.partition("/")
    pack = next(pack for pack in PACKS if pack.name == pack_name)
    text = pack.modules[name]
    misspelt = text[: end - 1] + "zz" + text[end - 1 :]
    assert text[start:end] not in misspelt[start : end + 2]
    broken = replace(pack, modules={**pack.modules, name: misspelt})
    facts = copy.deepcopy(FACTS)
    facts["model"]["jurisdictions"] = ["us"]
    others = [other for other in PACKS if other.name != pack_name]
    after = {result.rule: result.verdict for result in Engine([*others, broken]).judge(facts, LATE).results}
    assert all(BETTER[after[rule]] <= BETTER[verdict] for rule, verdict in VERDICTS.items())


@cache
def echo(folder: Path) -> PolicyPack:
    folder.mkdir(exist_ok=True)
    (folder / "pack.yaml").write_text(
        "{name: echo, title: t, version: 1.0.0, jurisdiction: echo, rules: [{id: echo-a, title: t, citation: c, "
        "text: t, confirmed: true, purposes: any, remedy: r}]}",
        encoding="utf-8",
    )
    (folder / "echo.rego").write_text(
        "package aboveboard.packs.echo\n\n"
        'answers["echo-a"] := {"verdict": "fail", "message": sprintf("<%s>", [input.text]), '
        '"measured": input.number, "group": input.text}\n',
        encoding="utf-8",
    )
    return load_pack(folder)


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine([echo(tmp_path_factory.mktemp("packs") / "echo")])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    number=st.floats(-1e12, 1e12).filter(lambda number: number == 0 or abs(number) > 1e-300),
)
def test_text_and_numbers_come_through_the_engine_as_they_are(echoing: Engine, text: str, number: float) -> None:
    assume(text.strip())
    result = next(r for r in echoing.judge({"text": text, "number": number}, LATE).results if r.rule == "echo-a")
    assert result.verdict is Verdict.FAIL
    assert result.group == text, result.message
    assert result.message == f"<{text}>"
    assert result.measured == pytest.approx(number, rel=1e-15, abs=0)


@settings(max_examples=200, deadline=None)
@given(one=st.floats(-1e6, 1e6), other=st.floats(-1e6, 1e6))
@example(one=0.0, other=2.2250738585072014e-308)
@example(one=0.0, other=5e-324)
@example(one=0.8, other=0.7999999)
def test_numbers_are_compared_as_numbers(one: float, other: float) -> None:
    from aboveboard.policy.rego import CompiledRego

    assume(abs(one - other) > max(1e-300, 1e-12 * max(abs(one), abs(other))) or one == other)
    compared = compare()
    assert isinstance(compared, CompiledRego)
    compared.consider({"one": one, "other": other})
    answers = compared.answers("aboveboard.packs.compare")
    assert answers == {"less": one < other, "most": one <= other, "least": one >= other, "more": one > other}


@cache
def compare() -> Any:
    from aboveboard.policy.rego import CompiledRego

    text = """package aboveboard.packs.compare

answers["less"] := input.one < input.other
answers["most"] := input.one <= input.other
answers["least"] := input.one >= input.other
answers["more"] := input.one > input.other
"""
    return CompiledRego(["aboveboard.packs.compare"], {"compare.rego": text})
