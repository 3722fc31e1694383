"""The gate fails closed: whatever a pack does not say in full is a failure that names the rule."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aboveboard.errors import Conflict, RequestRefused
from aboveboard.policy import Engine, GateVerdict, PolicyPack, Verdict, built_in_packs, gate, load_pack, load_packs

FACTS = json.loads((Path(__file__).parents[2] / "golden" / "data" / "policy-facts.json").read_text(encoding="utf-8"))
TODAY = date(2026, 11, 21)

GOOD = 'answers["toy-a"] := {"verdict": "pass", "message": "all is well"}\n'

MakePack = Callable[..., PolicyPack]


@pytest.fixture
def make_pack(tmp_path: Path) -> MakePack:
    """Write a pack named toy with one rule, toy-a, and load it."""

    def make(rego: str, *, name: str = "toy", rule: str = "") -> PolicyPack:
        folder = tmp_path / name
        folder.mkdir()
        manifest = f"""\
name: {name}
title: A toy
version: 1.0.0
jurisdiction: {name}
rules:
  - id: {name}-a
    title: A rule
    citation: Nowhere 1
    text: Something is so.
    confirmed: true
    purposes: any
    remedy: Make it so.
{rule}"""
        (folder / "pack.yaml").write_text(manifest, encoding="utf-8")
        (folder / "toy.rego").write_text(f"package aboveboard.packs.{name}\n\n{rego}", encoding="utf-8")
        return load_pack(folder)

    return make


def toy_facts(*jurisdictions: str) -> dict[str, Any]:
    facts: dict[str, Any] = copy.deepcopy(FACTS)
    facts["model"]["jurisdictions"] = list(jurisdictions)
    return facts


def judge(pack: PolicyPack) -> GateVerdict:
    """Judge the case by the house pack and this one."""
    return gate(toy_facts(pack.name), [*load_packs([]), pack], TODAY)


def message_of(verdict: GateVerdict, rule: str = "toy-a") -> str:
    return next(result.message for result in verdict.results if result.rule == rule)


def test_a_rule_that_answers_pass_passes(make_pack: MakePack) -> None:
    verdict = judge(make_pack(GOOD))
    assert verdict.verdict is Verdict.PASS
    assert message_of(verdict) == "all is well"


REFUSED = {
    "undefined": ('answers["toy-a"] := {"verdict": "pass", "message": "m"} if input.no.such.fact', "gave no answer"),
    "a misspelt answers": ('answrs["toy-a"] := {"verdict": "pass", "message": "m"}', "gave no answer"),
    "a misspelt id": ('answers["toy-b"] := {"verdict": "pass", "message": "m"}', "gave no answer"),
    "two answers": (
        'answers["toy-a"] := {"verdict": "pass", "message": "m"}\n'
        'answers["toy-a"] := {"verdict": "fail", "message": "m"}',
        "must not produce multiple outputs",
    ),
    "a division by zero": (
        'answers["toy-a"] := {"verdict": "pass", "message": "m", "measured": 1 / (input.evaluation.rows - 9000)}',
        "divide by zero",
    ),
    "an unknown function": ('answers["toy-a"] := {"verdict": "pass", "message": frobnicate(1)}', "gave no answer"),
    "an unknown library function": (
        'import data.aboveboard.library as lib\nanswers["toy-a"] := lib.pased("m")',
        "gave no answer",
    ),
    "a type error": (
        'answers["toy-a"] := {"verdict": "pass", "message": "m", "measured": count(input.evaluation.rows)}',
        "operand 1 must be",
    ),
    "a syntax error": ('answers["toy-a"] := {"verdict": "pass"', "toy/toy.rego:3: this is unclosed"),
    "an unknown verdict": (
        'answers["toy-a"] := {"verdict": "passed", "message": "m"}',
        "Invalid enum value 'passed'",
    ),
    "true": ('answers["toy-a"] := true', "Expected `object`"),
    "a string": ('answers["toy-a"] := "pass"', "Expected `object`"),
    "null": ('answers["toy-a"] := null', "gave no answer"),
    "a list": ('answers["toy-a"] := [{"verdict": "pass", "message": "m"}]', "Expected `object`"),
    "no message": ('answers["toy-a"] := {"verdict": "pass"}', "missing required field `message`"),
    "an empty message": ('answers["toy-a"] := {"verdict": "pass", "message": " "}', "gave no reason"),
    "an unknown field": (
        'answers["toy-a"] := {"verdict": "pass", "message": "m", "note": 1}',
        "unknown field `note`",
    ),
    "a number as text": (
        'answers["toy-a"] := {"verdict": "pass", "message": "m", "measured": "1"}',
        "Expected `float",
    ),
    "answers is a set": ('answers contains "toy-a"', "not an object"),
    "answers is a number": ("answers := 3", "not an object"),
    "findings that contradict": (
        'answers["toy-a"] := {"verdict": "pass", "message": "m", "findings": [{"attribute": "sex", '
        '"group": "female", "verdict": "fail", "measured": 0.5, "low": null, "high": null, "n": 9, '
        '"p_value": null}]}',
        "contradicts its own findings",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_rule_that_does_not_answer_in_full_fails_and_is_named(make_pack: MakePack, name: str) -> None:
    rego, part = REFUSED[name]
    verdict = judge(make_pack(rego))
    assert verdict.verdict is Verdict.FAIL
    result = next(result for result in verdict.results if result.rule == "toy-a")
    assert result.verdict is Verdict.FAIL
    assert part in result.message
    assert "toy" in result.message
    others = {r.verdict for r in verdict.results if r.pack == "house"}
    assert Verdict.FAIL not in others  # a broken pack does not take the others with it


def test_equal_answers_twice_are_one_answer(make_pack: MakePack) -> None:
    assert judge(make_pack(GOOD + GOOD)).verdict is Verdict.PASS


def test_an_answer_that_no_rule_asked_for_fails(make_pack: MakePack) -> None:
    verdict = judge(make_pack(GOOD + 'answers["toy-secret"] := {"verdict": "pass", "message": "m"}\n'))
    assert verdict.verdict is Verdict.FAIL
    assert "toy-secret" in message_of(verdict, "gate-undeclared-answer")


def test_not_applicable_alone_does_not_pass(make_pack: MakePack) -> None:
    pack = make_pack('answers["toy-a"] := {"verdict": "not-applicable", "message": "m"}')
    assert gate(toy_facts("toy"), [pack], TODAY).verdict is Verdict.FAIL
    assert gate(toy_facts("toy"), [], TODAY).verdict is Verdict.FAIL


def test_a_warning_alone_does_not_pass(make_pack: MakePack) -> None:
    pack = make_pack(GOOD, rule="    severity: warn\n")
    house = load_packs([])
    without_house_rules = Engine([pack]).judge(toy_facts("toy"), TODAY)
    assert without_house_rules.verdict is Verdict.FAIL
    assert gate(toy_facts("toy"), [*house, pack], TODAY).verdict is Verdict.PASS


def test_insufficient_evidence_is_neither_pass_nor_fail(make_pack: MakePack) -> None:
    verdict = judge(make_pack('answers["toy-a"] := {"verdict": "insufficient", "message": "three people"}'))
    assert verdict.verdict is Verdict.INSUFFICIENT
    assert [result.rule for result in verdict.refusals] == ["toy-a"]


def test_a_jurisdiction_without_its_pack_fails() -> None:
    verdict = gate(FACTS, load_packs(["us"]), TODAY)
    assert verdict.verdict is Verdict.FAIL
    assert message_of(verdict, "gate-packs-cover") == "no policy pack judged eu"


def test_leaving_the_house_pack_out_fails() -> None:
    packs = [pack for pack in load_packs(["us", "eu"]) if pack.name != "house"]
    assert "house" in message_of(gate(FACTS, packs, TODAY), "gate-packs-cover")


@pytest.mark.parametrize("value", [None, [], "us", {"us": True}])
def test_facts_without_jurisdictions_fail(value: Any) -> None:
    facts = copy.deepcopy(FACTS)
    facts["model"]["jurisdictions"] = value
    verdict = gate(facts, load_packs(["us", "eu"]), TODAY)
    assert verdict.verdict is Verdict.FAIL
    assert message_of(verdict, "gate-packs-cover").startswith("no policy pack judged")


@pytest.mark.parametrize("purpose", [None, "lending", 7, ["credit-decision"]])
def test_a_rule_for_some_purposes_fails_where_the_purpose_is_unknown(purpose: Any) -> None:
    facts = copy.deepcopy(FACTS)
    facts["model"]["purpose"] = purpose
    verdict = gate(facts, load_packs(["us", "eu"]), TODAY)
    assert "do not say what the model is for" in message_of(verdict, "us-protected-not-scored")
    assert verdict.verdict is Verdict.FAIL


def test_a_rule_for_another_purpose_does_not_apply() -> None:
    facts = copy.deepcopy(FACTS)
    facts["model"]["purpose"] = "recommendation"
    verdict = gate(facts, load_packs(["us", "eu"]), TODAY)
    assert message_of(verdict, "us-retention") == "does not concern a model for recommendation"
    assert verdict.verdict is Verdict.PASS  # the rules for any purpose were answered


@pytest.mark.parametrize("facts", [{}, {"model": None}, {"model": []}, {"schema": "aboveboard.dev/facts/v9"}])
def test_facts_that_are_not_facts_fail_and_say_where(facts: dict[str, Any]) -> None:
    verdict = gate(facts, load_packs(["us", "eu"]), TODAY)
    assert verdict.verdict is Verdict.FAIL
    assert "the facts are not whole" in message_of(verdict, "gate-facts-whole")
    assert all(result.verdict is not Verdict.PASS for result in verdict.results)


def test_facts_of_another_version_fail() -> None:
    facts = copy.deepcopy(FACTS)
    facts["schema"] = "aboveboard.dev/facts/v0"
    assert gate(facts, load_packs(["us", "eu"]), TODAY).verdict is Verdict.FAIL


def test_facts_that_are_not_json_are_refused() -> None:
    facts = copy.deepcopy(FACTS)
    facts["evaluation"]["rows"] = float("nan")
    with pytest.raises(RequestRefused):
        gate(facts, load_packs(["us", "eu"]), TODAY)


def test_two_packs_of_one_name_are_refused(make_pack: MakePack) -> None:
    pack = make_pack(GOOD)
    with pytest.raises(Conflict, match="same name"):
        Engine([pack, pack])


def test_the_verdict_holds_what_it_takes_to_check_it_again() -> None:
    packs = load_packs(["us", "eu"])
    verdict = gate(FACTS, packs, TODAY)
    again = gate(json.loads(json.dumps(FACTS)), packs, date.fromisoformat(verdict.as_of))
    assert again == verdict
    assert [(p.name, p.digest) for p in verdict.packs] == [(p.name, p.digest) for p in packs]
    assert verdict.engine.name == "rego-cpp"
    assert verdict.engine.version == "1.5.2"
    assert verdict.engine.library.startswith("sha256:")
    changed = copy.deepcopy(FACTS)
    changed["performance"]["auc"]["value"] += 1e-9
    assert gate(changed, packs, TODAY).facts_digest != verdict.facts_digest


def test_the_verdict_survives_json() -> None:
    verdict = gate(FACTS, load_packs(["us", "eu"]), TODAY)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=GateVerdict) == verdict


def test_an_engine_judges_one_model_after_another() -> None:
    engine = Engine(load_packs(built_in_packs()))
    worse = copy.deepcopy(FACTS)
    worse["governance"]["dpia"] = None
    first, second, third = (engine.judge(facts, TODAY) for facts in (FACTS, worse, FACTS))
    assert first == third
    assert second.verdict is Verdict.FAIL
    assert [result.rule for result in second.refusals] == ["eu-impact-assessment"]


def test_refusals_stand_failures_first(make_pack: MakePack) -> None:
    facts = toy_facts("toy")
    facts["performance"]["auc"]["value"] = 0.5
    pack = make_pack('answers["toy-a"] := {"verdict": "insufficient", "message": "m"}')
    verdict = gate(facts, [pack, *load_packs([])], TODAY)
    assert [result.rule for result in verdict.refusals] == ["house-auc", "toy-a"]
    assert verdict.verdict is Verdict.FAIL


def test_a_numbers_small_part_counts(make_pack: MakePack) -> None:
    """The engine's own input routine would cut a float to six decimals."""
    pack = make_pack('answers["toy-a"] := {"verdict": "pass", "message": "m", "measured": input.calibration.slope}')
    facts = toy_facts("toy")
    facts["calibration"]["slope"] = 1.25e-9
    verdict = gate(facts, [*load_packs([]), pack], TODAY)
    assert next(r.measured for r in verdict.results if r.rule == "toy-a") == 1.25e-9


def test_text_from_a_spec_cannot_speak_for_a_rule(make_pack: MakePack) -> None:
    """The engine's own input routine would not escape a quotation mark."""
    pack = make_pack('answers["toy-a"] := {"message": input.model.name, "verdict": "fail"}')
    facts = toy_facts("toy")
    facts["model"]["name"] = 'x", "verdict":"pass", "zzz":"'
    verdict = gate(facts, [*load_packs([]), pack], TODAY)
    assert verdict.verdict is Verdict.FAIL
    assert message_of(verdict) == facts["model"]["name"]


def test_nothing_is_printed_when_a_pack_is_broken(make_pack: MakePack, capfd: pytest.CaptureFixture[str]) -> None:
    judge(make_pack('answers["toy-a"] := {'))
    assert capfd.readouterr() == ("", "")


def test_importing_the_package_loads_neither_the_engine_nor_anything_that_measures() -> None:
    program = (
        "import sys, aboveboard.policy; "
        "heavy = {'regopy', 'polars', 'scipy', 'sklearn', 'lightgbm', 'aboveboard.data', 'aboveboard.evaluation'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == "[]"
