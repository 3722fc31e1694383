"""Data flow where a rule lets them, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from aboveboard.errors import NotFound, SpecInvalid
from aboveboard.spec import load_spec
from aboveboard.spec.load import parse_spec
from aboveboard.spec.regions import (
    FlowEffect,
    FlowRule,
    FlowVerdict,
    Region,
    failover_set,
    judge_flow,
    load_regions,
    parse_regions,
    residency_problems,
)
from aboveboard.spec.types import Purpose

EXAMPLES = Path(__file__).parents[3] / "examples"
REGIONS = EXAMPLES / "regions.yaml"


def region(name: str, *laws: str) -> Region:
    return Region.model_validate({"name": name, "cloud": "aws", "zones": ["a"], "jurisdictions": laws})


def rule(name: str, origin: str, to: str, effect: str, **more: object) -> FlowRule:
    within = {"within": "PT24H"} if effect == "delete-after" else {}
    document = {"name": name, "from": [origin], "to": [to], "effect": effect, "citation": f"law of {name}"}
    return FlowRule.model_validate({**document, **within, **more})


def judge(source: str, target: str, purpose: Purpose | None = None) -> FlowVerdict:
    regions = load_regions(REGIONS)
    return judge_flow(regions.spec.flows, regions.region(source), regions.region(target), purpose)


@pytest.mark.parametrize(
    ("source", "target", "purpose", "effect", "says"),
    [
        ("eu-west", "eu-west", None, "allow", "stay where they are"),
        ("eu-west", "eu-north", None, "allow", "both lie in eu"),
        ("eu-west", "us-east", None, "allow", "standard contractual clauses"),
        ("eu-west", "in-west", None, "deny", "no rule of eu lets data go to in"),
        ("us-east", "eu-west", None, "deny", "no rule of us"),
        ("br-south", "ap-southeast", None, "deny", "no rule of br"),
        ("in-west", "us-east", Purpose.CREDIT_DECISION, "delete-after", "deleted in us-east within PT24H"),
        ("in-west", "us-east", Purpose.FRAUD_DETECTION, "local-copy", "a copy stays in in-west"),
        ("in-west", "us-east", None, "deny", "no rule of in"),
        ("in-west", "in-south", None, "allow", "both lie in in"),
        ("id-west", "ap-southeast", None, "local-copy", "Indonesia"),
        ("cn-north", "ap-southeast", None, "deny", "China"),
    ],
)
def test_the_example_decides(source: str, target: str, purpose: Purpose | None, effect: str, says: str) -> None:
    verdict = judge(source, target, purpose)
    assert verdict.effect == effect
    assert verdict.allowed == (effect != "deny")
    assert says in verdict.reason
    assert verdict.as_dict()["from"] == source


def test_the_strictest_rule_decides_and_every_law_of_the_source_has_its_say() -> None:
    home, abroad = region("home", "aa", "bb"), region("abroad", "cc")
    mild, strict = rule("mild", "aa", "cc", "allow"), rule("strict", "bb", "cc", "delete-after")
    assert judge_flow([mild], home, abroad).effect is FlowEffect.DENY
    verdict = judge_flow([mild, strict, rule("wider", "bb", "*", "allow")], home, abroad)
    assert (verdict.effect, [r.name for r in verdict.rules]) == (FlowEffect.DELETE_AFTER, ["strict"])
    assert not judge_flow([mild, strict, rule("never", "aa", "*", "deny")], home, abroad).allowed


def test_anywhere_is_anywhere_else_but_a_named_ban_holds_at_home() -> None:
    one, two = region("one", "aa"), region("two", "aa")
    assert judge_flow([rule("keep", "aa", "*", "deny")], one, two).allowed
    assert not judge_flow([rule("still", "aa", "aa", "deny")], one, two).allowed


def test_where_the_purpose_is_unknown_only_bans_of_some_purposes_count() -> None:
    one, two = region("one", "aa"), region("two", "bb")
    for_credit = rule("credit", "aa", "bb", "allow", purposes=["credit-decision"])
    assert judge_flow([for_credit], one, two, Purpose.CREDIT_DECISION).allowed
    assert not judge_flow([for_credit], one, two, Purpose.FRAUD_DETECTION).allowed
    assert not judge_flow([for_credit], one, two).allowed
    ban = rule("ban", "aa", "bb", "deny", purposes=["fraud-detection"])
    everything = rule("all", "aa", "bb", "allow")
    assert not judge_flow([everything, ban], one, two).allowed
    assert judge_flow([everything, ban], one, two, Purpose.CREDIT_DECISION).allowed


def test_failover_keeps_its_order_and_stays_where_data_may_go_without_condition() -> None:
    regions = load_regions(REGIONS)
    assert [r.name for r in failover_set(regions, "eu-west")] == ["eu-central", "eu-north"]
    assert failover_set(regions, "br-south") == ()
    text = REGIONS.read_text(encoding="utf-8").replace("failover: [eu-west]", "failover: [uk-south, eu-west]")
    for_some = text.replace(
        "to: [uk]\n      effect: allow", "to: [uk]\n      purposes: [fraud-detection]\n      effect: allow"
    )
    regions = parse_regions(for_some, name="regions.yaml")
    assert [r.name for r in failover_set(regions, "eu-north", Purpose.FRAUD_DETECTION)] == ["uk-south", "eu-west"]
    assert [r.name for r in failover_set(regions, "eu-north", Purpose.CREDIT_DECISION)] == ["eu-west"]
    with pytest.raises(NotFound, match="no region 'mars'"):
        failover_set(regions, "mars")


def problems_in(text: str) -> dict[str, tuple[int, str]]:
    with pytest.raises(SpecInvalid) as caught:
        parse_regions(text, name="regions.yaml")
    return {p.path: (p.line, f"{p.message} ({p.hint})") for p in caught.value.problems}


def test_every_mistake_is_reported_at_once_with_its_line() -> None:
    text = REGIONS.read_text(encoding="utf-8")
    wrong = (
        text.replace("cloud: gcp\n      location: europe-west3", "clod: gcp\n      location: europe-west3")
        .replace("within: PT24H", "within: tomorrow")
        .replace("effect: deny", "effect: perhaps")
    )
    found = problems_in(wrong)
    assert "did you mean cloud?" in found["spec.regions[1].clod"][1]
    assert "add cloud" in found["spec.regions[1].cloud"][1]
    assert "must match" in found["spec.flows[2].within"][1]
    assert "'delete-after' or 'deny'" in found["spec.flows[5].effect"][1]
    assert found["spec.flows[2].within"][0] == next(
        number for number, line in enumerate(wrong.splitlines(), 1) if "tomorrow" in line
    )
    assert len(found) == 4


@pytest.mark.parametrize(
    ("before", "after", "path", "says"),
    [
        ("name: uk-west", "name: uk-south", "spec.regions[4].name", "declared twice"),
        ("name: india-payments", "name: india-digital-lending", "spec.flows[3].name", "declared twice"),
        ("failover: [us-west]", "failover: [us-wset]", "spec.regions[5].failover[0]", "did you mean us-west?"),
        ("failover: [us-west]", "failover: [us-east]", "spec.regions[5].failover[0]", "not take over from itself"),
        ("failover: [us-west]", "failover: [eu-west]", "spec.regions[5].failover[0]", "no rule of us lets data go"),
        ("failover: [in-south]", "failover: [us-east]", "spec.regions[7].failover[0]", "may not take over"),
        ("to: [uk]", "to: [gb]", "spec.flows[0].to[0]", "no region lies in 'gb'"),
        ("from: [id]", 'from: ["*"]', "spec.flows[4].from[0]", "must match"),
        ("      within: PT24H\n", "", "spec.flows[2]", "within what time"),
        ("zones: [hall-a, hall-b]", "zones: []", "spec.regions[4].zones", "at least 1 item"),
    ],
)
def test_each_disagreement_names_its_place(before: str, after: str, path: str, says: str) -> None:
    text = REGIONS.read_text(encoding="utf-8")
    assert before in text
    line, message = problems_in(text.replace(before, after, 1))[path]
    assert says in message
    assert line > 1


@pytest.mark.parametrize("text", ["", "- x", "a: [", "spec: 1", "spec: {regions: 3, flows: 4}"])
def test_what_is_no_regions_file_is_refused_with_our_error(text: str) -> None:
    assert problems_in(text)


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load_regions(tmp_path / "regions.yaml")
    assert "examples/regions.yaml" in caught.value.hint


def test_a_model_stays_where_its_data_may_go() -> None:
    text = (EXAMPLES / "01-credit-default" / "model.yaml").read_text(encoding="utf-8")
    regions = load_regions(REGIONS)
    assert residency_problems(load_spec(EXAMPLES / "01-credit-default" / "model.yaml"), regions) == []
    wider = parse_spec(
        text.replace("regions: [eu-west, us-east]", "regions: [eu-west, mars, in-west, uk-south]"), name="model.yaml"
    )
    found = [str(problem) for problem in residency_problems(wider, regions)]
    assert len(found) == 4
    assert "no region 'mars'" in found[0]
    assert "under the law of in, which does not judge this model" in found[1]
    assert "data in eu-west may not flow to in-west: no rule of eu" in found[2]
    assert "under the law of uk" in found[3]
