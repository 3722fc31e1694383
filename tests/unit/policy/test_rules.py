"""Every rule of every built-in pack: the case that passes, and one change after another that it must catch."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from aboveboard.policy import Engine, RuleResult, Severity, Verdict, built_in_packs, load_packs
from aboveboard.policy.facts import shape_error

FACTS = json.loads((Path(__file__).parents[2] / "golden" / "data" / "policy-facts.json").read_text(encoding="utf-8"))
LATE = date(2028, 1, 1)
"""A day on which every rule is law that has no last day."""
PACKS = load_packs(built_in_packs())
RULES = {rule.id: rule for pack in PACKS for rule in pack.manifest.rules}

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(PACKS)


def put(path: str, value: Any) -> Change:
    """Return a change that sets `a.b.0.c`; `*` stands for every item of a list."""

    def change(facts: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for node in _walk([facts], way):
            node[int(last) if isinstance(node, list) else last] = value

    return change


def _walk(nodes: list[Any], way: list[str]) -> list[Any]:
    for step in way:
        nodes = (
            [item for node in nodes for item in node]
            if step == "*"
            else [node[int(step) if isinstance(node, list) else step] for node in nodes]
        )
    return nodes


def drop(path: str) -> Change:
    """Return a change that deletes one entry of a list."""

    def change(facts: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for node in _walk([facts], way):
            del node[int(last)]

    return change


def score(attribute: int, *, monotonic: str = "none", statute: str = "a statute", reported: bool = True) -> Change:
    """Return a change that makes a protected attribute a feature of the model, as the spec would declare it."""

    def change(facts: dict[str, Any]) -> None:
        declared = facts["protected"][attribute]
        feature = copy.deepcopy(facts["features"][0])
        feature.update(name=declared["column"], is_protected=True, protected_use=statute, monotonic=monotonic)
        facts["features"].append(feature)
        facts["declared"]["features"] += 1
        declared["used_as_feature"] = reported

    return change


def both(*changes: Change) -> Change:
    def change(facts: dict[str, Any]) -> None:
        for one in changes:
            one(facts)

    return change


def air(value: float | None, low: float | None, high: float | None, n: int = 1500, p: float | None = 0.4) -> Change:
    """Return a change of the adverse impact ratio of one group: sex, female."""
    group = "protected.0.groups.1"
    measure = {"value": value, "low": low, "high": high, "n": n}
    return both(
        put(f"{group}.adverse_impact_ratio", measure), put(f"{group}.n", n), put(f"{group}.p_value_adjusted", p)
    )


def difference(measure: str, value: float | None, low: float | None, high: float | None, n: int = 1500) -> Change:
    document = {"value": value, "low": low, "high": high, "n": n}
    return put(f"protected.0.groups.1.{measure}", document)


def measure(value: float | None, low: float | None = 0.1, high: float | None = 0.9, n: int = 9000) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n}


SMD_LIMIT = put("limits.standardized_mean_difference_at_most", 0.3)
PASS, FAIL, INSUFFICIENT, NOT_APPLICABLE = Verdict.PASS, Verdict.FAIL, Verdict.INSUFFICIENT, Verdict.NOT_APPLICABLE
AIR_CASES: list[tuple[str, Change, Verdict]] = [
    ("the whole interval above the limit", air(0.95, 0.88, 1.02), PASS),
    ("the lower end exactly on the limit", air(0.86, 0.8, 0.93), PASS),
    ("the whole interval below the limit", air(0.7, 0.62, 0.79, p=0.2), FAIL),
    ("below the limit, and rates differ significantly", air(0.75, 0.68, 0.83, p=0.001), FAIL),
    ("below the limit, but rates may be equal", air(0.75, 0.5, 1.1, p=0.3), INSUFFICIENT),
    ("below the limit without a test", air(0.75, 0.5, 1.1, p=None), INSUFFICIENT),
    ("above the limit, but the interval is not", air(0.85, 0.72, 1.0, p=0.04), INSUFFICIENT),
    ("three people who all did well", air(1.3, 1.0, 1.7, n=3), INSUFFICIENT),
    ("three people who all were declined", air(0.0, 0.0, 0.6, n=3, p=0.01), INSUFFICIENT),
    ("no ratio, since nobody of the reference was approved", air(None, None, None), INSUFFICIENT),
    ("no interval", air(0.95, None, None), INSUFFICIENT),
    ("a reference group of three", put("protected.0.groups.0.n", 3), INSUFFICIENT),
    ("nobody calls themselves the reference", put("protected.0.groups.0.reference", False), FAIL),
    ("everybody is the reference", put("protected.0.groups.1.reference", True), FAIL),
    ("no protected attribute", put("protected", []), FAIL),
]

CASES: list[tuple[str, str, Change, Verdict]] = [
    ("house-lists-complete", "a feature is lost", drop("features.0"), FAIL),
    ("house-lists-complete", "an attribute is lost", drop("protected.1"), FAIL),
    ("house-lists-complete", "a group is lost", drop("protected.1.groups.0"), FAIL),
    ("house-lists-complete", "the reference is another group", put("protected.0.reference", "female"), FAIL),
    ("house-same-data", "other data", put("evaluation.data_digest", "sha256:" + "0" * 64), FAIL),
    ("house-same-data", "no digest", both(put("evaluation.data_digest", ""), put("data.digest", "")), FAIL),
    ("house-auc", "below the limit", put("performance.auc", measure(0.7)), FAIL),
    ("house-auc", "no value", put("performance.auc", measure(None)), INSUFFICIENT),
    ("house-auc", "no interval", put("performance.auc", measure(0.8, None, None)), INSUFFICIENT),
    ("house-auc", "nobody", put("performance.auc", measure(0.8, n=0)), INSUFFICIENT),
    ("house-ks", "below the limit", put("performance.ks", measure(0.3)), FAIL),
    ("house-ks", "no value", put("performance.ks", measure(None)), INSUFFICIENT),
    ("house-ks", "no limit", put("limits.ks_at_least", None), NOT_APPLICABLE),
    ("house-brier", "above the limit", put("performance.brier", measure(0.2)), FAIL),
    ("house-brier", "no value", put("performance.brier", measure(None)), INSUFFICIENT),
    ("house-brier", "no limit", put("limits.brier_at_most", None), NOT_APPLICABLE),
    ("house-calibration", "above the limit", put("calibration.error", measure(0.05)), FAIL),
    ("house-calibration", "no value", put("calibration.error", measure(None)), INSUFFICIENT),
    ("house-group-size", "three people", put("protected.1.groups.2.n", 3), INSUFFICIENT),
    ("house-group-size", "a minimum above them", put("evaluation.minimum_group_size", 2000), INSUFFICIENT),
    ("house-group-size", "just enough", put("protected.1.groups.2.n", 30), PASS),
    ("house-assigned", "too many outside", put("protected.2.unassigned", 451), FAIL),
    ("house-assigned", "few outside", put("protected.2.unassigned", 450), PASS),
    *(("house-adverse-impact-ratio", *case) for case in AIR_CASES),
    ("house-equal-opportunity", "within", difference("equal_opportunity_difference", 0.05, 0.0, 0.1), PASS),
    ("house-equal-opportunity", "beyond", difference("equal_opportunity_difference", -0.3, -0.4, -0.2), FAIL),
    ("house-equal-opportunity", "other way", difference("equal_opportunity_difference", 0.3, 0.2, 0.4), FAIL),
    ("house-equal-opportunity", "wide", difference("equal_opportunity_difference", -0.1, -0.3, 0.1), INSUFFICIENT),
    ("house-equal-opportunity", "unclear", difference("equal_opportunity_difference", 0.3, -0.1, 0.7), INSUFFICIENT),
    ("house-equal-opportunity", "few", difference("equal_opportunity_difference", 0.0, 0.0, 0.0, 5), INSUFFICIENT),
    ("house-equal-opportunity", "none", difference("equal_opportunity_difference", None, None, None), INSUFFICIENT),
    ("house-equal-opportunity", "no limit", put("limits.equal_opportunity_difference_at_most", None), NOT_APPLICABLE),
    ("house-mean-difference", "no limit", put("protected.0.groups.1.n", 1500), NOT_APPLICABLE),
    ("house-mean-difference", "within", SMD_LIMIT, PASS),
    (
        "house-mean-difference",
        "beyond",
        both(SMD_LIMIT, difference("standardized_mean_difference", -0.6, -0.7, -0.5)),
        FAIL,
    ),
    (
        "house-mean-difference",
        "wide",
        both(SMD_LIMIT, difference("standardized_mean_difference", -0.2, -0.5, 0.1)),
        INSUFFICIENT,
    ),
    ("house-reasons-add-up", "they do not", put("explanation.largest_additivity_error", 2e-6), FAIL),
    ("house-reasons-add-up", "a negative error", put("explanation.largest_additivity_error", -1.0), FAIL),
    ("house-reasons-add-up", "on no record", put("explanation.rows", 0), FAIL),
    ("house-monotonic", "one record", put("explanation.monotonic_violations", 1), FAIL),
    ("house-monotonic", "not looked at", put("explanation.monotonic_rows", 0), FAIL),
    ("house-monotonic", "an unknown direction", put("features.0.monotonic", "sideways"), FAIL),
    ("house-monotonic", "no direction", put("features.*.monotonic", "none"), NOT_APPLICABLE),
    ("us-protected-not-scored", "sex", score(0), FAIL),
    ("us-protected-not-scored", "the report does not say so", score(0, reported=False), FAIL),
    ("us-protected-not-scored", "only the report says so", put("protected.0.used_as_feature", True), FAIL),
    ("us-protected-not-scored", "only the spec says so", put("features.0.is_protected", True), FAIL),
    ("us-protected-not-scored", "marriage", score(2), FAIL),
    ("us-protected-not-scored", "education without a statute", score(3, statute=" "), FAIL),
    ("us-protected-not-scored", "education, no basis of the Act, with one", score(3), PASS),
    ("us-protected-not-scored", "age is for the next rule", score(1), PASS),
    ("us-protected-not-scored", "no features", put("features", []), FAIL),
    ("us-age-not-negative", "any direction", score(1), FAIL),
    ("us-age-not-negative", "falling with age", score(1, monotonic="decreasing"), FAIL),
    ("us-age-not-negative", "rising without a statute", score(1, monotonic="increasing", statute=""), FAIL),
    ("us-age-not-negative", "rising by statute", score(1, monotonic="increasing"), PASS),
    (
        "us-age-not-negative",
        "said to rise, but does not",
        both(score(1, monotonic="increasing"), put("explanation.monotonic_violations", 2)),
        FAIL,
    ),
    ("us-age-not-negative", "no features", put("features", []), FAIL),
    ("us-specific-reasons", "five", put("decision.max_reasons", 5), FAIL),
    ("us-specific-reasons", "none", put("decision.max_reasons", 0), FAIL),
    ("us-specific-reasons", "not in English", put("features.0.reason_texts", {"de": "Zu wenig"}), FAIL),
    ("us-specific-reasons", "empty", put("features.0.reason_texts.en", "  "), FAIL),
    ("us-specific-reasons", "vague", put("features.0.reason_texts.en", "Failed to achieve a qualifying score"), FAIL),
    ("us-specific-reasons", "internal", put("features.0.reason_texts.en", "Our internal standards"), FAIL),
    ("us-reasons-actually-scored", "of no feature", put("explanation.codes.0", "horoscope"), FAIL),
    ("us-reasons-actually-scored", "none", put("explanation.codes", []), FAIL),
    ("us-reasons-actually-scored", "do not add up", put("explanation.largest_additivity_error", 0.1), FAIL),
    ("us-reference-convention", "another", put("decision.reference", "the-median"), FAIL),
    ("us-reference-convention", "the other one", put("decision.reference", "all-approved"), PASS),
    ("us-retention", "a month short", put("retention.decisions_months", 24), FAIL),
    ("us-key-factors", "five", put("decision.max_reasons", 5), FAIL),
    *(("us-effects-test", *case) for case in AIR_CASES),
    *(("us-four-fifths", *case) for case in AIR_CASES),
    (
        "us-four-fifths",
        "the spec's own limit is lower",
        both(AIR_CASES[3][1], put("limits.adverse_impact_ratio_at_least", 0.5)),
        FAIL,
    ),
    (
        "us-four-fifths",
        "the spec asks for smaller groups",
        both(air(1.0, 0.9, 1.1, n=10), put("evaluation.minimum_group_size", 2)),
        INSUFFICIENT,
    ),
    ("us-four-fifths", "narrow intervals of little confidence", put("evaluation.confidence", 0.5), INSUFFICIENT),
    (
        "us-four-fifths",
        "the spec asks for larger groups",
        both(air(1.0, 0.9, 1.1, n=150), put("evaluation.minimum_group_size", 200)),
        INSUFFICIENT,
    ),
    ("us-model-inventory", "no owner", put("model.owner", " "), FAIL),
    ("us-model-inventory", "a materiality of its own", put("model.materiality", "tiny"), FAIL),
    ("us-independent-validation", "nobody", put("governance.validator", None), FAIL),
    ("us-independent-validation", "the owner", put("governance.validator", "Retail-Credit-Risk@bank.example "), FAIL),
    ("us-effective-challenge", "the owner", put("governance.validator", "retail-credit-risk@bank.example"), FAIL),
    ("us-monitoring-plan", "none", put("governance.monitoring_plan", None), FAIL),
    ("us-monitoring-plan", "a trigger that never fires", put("monitoring.auc_drop_at_most", 2.0), FAIL),
    ("us-suspicion-confidential", "told", put("features.3.reason_texts.en", "A Suspicious Activity report"), FAIL),
    ("us-suspicion-confidential", "in one language", put("features.3.reason_texts.zh", "suspicious activity"), FAIL),
    ("us-colorado", "as it stands", put("retention.decisions_months", 25), FAIL),
    ("us-colorado", "three years", put("retention.decisions_months", 36), PASS),
    (
        "us-colorado",
        "nobody to ask",
        both(put("retention.decisions_months", 36), put("governance.human_review", None)),
        FAIL,
    ),
    ("eu-purpose-per-feature", "no basis", put("features.2.legal_basis", "curiosity"), FAIL),
    ("eu-purpose-per-feature", "no class", put("features.2.classification", ""), FAIL),
    ("eu-purpose-per-feature", "no features", put("features", []), FAIL),
    ("eu-special-categories", "on contract", put("features.2.classification", "sensitive"), FAIL),
    (
        "eu-special-categories",
        "on consent",
        both(put("features.2.classification", "sensitive"), put("features.2.legal_basis", "consent")),
        PASS,
    ),
    ("eu-erasable", "raw", put("data.identifier", "raw"), FAIL),
    ("eu-erasable", "absent", put("data.identifier", "absent"), FAIL),
    ("eu-erasable", "for ever", put("retention.decisions_months", 1200), FAIL),
    ("eu-human-intervention", "nobody", put("governance.human_review", None), FAIL),
    ("eu-procedure-explained", "no words", put("features.0.reason_texts", {}), FAIL),
    ("eu-procedure-explained", "an empty word", put("features.0.reason_texts.de", ""), FAIL),
    ("eu-procedure-explained", "do not add up", put("explanation.largest_additivity_error", 0.1), FAIL),
    ("eu-impact-assessment", "none", put("governance.dpia", None), FAIL),
    ("eu-impact-assessment", "blank", put("governance.dpia", "  "), FAIL),
    ("eu-impact-assessment", "blank lines", put("governance.dpia", "\n\t\n"), FAIL),
    ("eu-barred-origins", "friends", put("features.0.origin", "social-network"), FAIL),
    ("eu-barred-origins", "health", put("features.4.origin", "health"), FAIL),
    ("eu-barred-origins", "unknown", put("features.4.origin", "somewhere"), FAIL),
    ("eu-barred-origins", "a bureau", put("features.4.origin", "bureau"), PASS),
    ("eu-protected-not-scored", "sex", score(0), FAIL),
    ("eu-protected-not-scored", "age without a ground", score(1, statute=""), FAIL),
    ("eu-protected-not-scored", "age with one", score(1), PASS),
    ("eu-protected-not-scored", "no features", put("features", []), FAIL),
    ("eu-credit-explanation", "nobody", put("governance.human_review", None), FAIL),
    ("eu-credit-explanation", "no language of the Union", put("features.0.reason_texts", {"zh": "額度偏低"}), FAIL),
    ("eu-data-provenance", "no digest", put("data.source_digest", "md5:1"), FAIL),
    ("eu-data-provenance", "an empty part", put("data.partitions.holdout.rows", 0), FAIL),
    ("eu-bias-examined", "three people", put("protected.1.groups.2.n", 3), INSUFFICIENT),
    ("eu-bias-examined", "no ratio", air(None, None, None), INSUFFICIENT),
    ("eu-bias-examined", "little confidence", put("evaluation.confidence", 0.8), INSUFFICIENT),
    ("eu-logs-kept", "five months", put("retention.decisions_months", 5), FAIL),
    ("eu-human-oversight", "no band", put("decision.refer_at", FACTS["decision"]["approve_at"]), FAIL),
    ("eu-human-oversight", "nobody", put("governance.human_review", None), FAIL),
    ("eu-accuracy-declared", "not reached", put("performance.auc", measure(0.7)), FAIL),
    ("eu-accuracy-declared", "not measured", put("performance.auc", measure(None)), INSUFFICIENT),
    ("eu-documents-kept", "nine years", put("retention.releases_months", 119), FAIL),
    ("eu-role-explained", "no common language", put("features.0.reason_texts", {"fr": "Plafond bas"}), FAIL),
    ("eu-laundering-intervention", "a credit model", put("model.purpose", "credit-decision"), NOT_APPLICABLE),
    ("eu-laundering-intervention", "25 months", put("model.purpose", "fraud-detection"), FAIL),
    (
        "eu-laundering-intervention",
        "five years",
        both(put("model.purpose", "fraud-detection"), put("retention.decisions_months", 60)),
        PASS,
    ),
    (
        "eu-laundering-intervention",
        "nobody",
        both(put("model.purpose", "fraud-detection"), put("governance.human_review", None)),
        FAIL,
    ),
    ("uk-human-intervention", "nobody", put("governance.human_review", None), FAIL),
    ("uk-outcomes-by-segment", "three people", put("protected.1.groups.2.n", 3), INSUFFICIENT),
    ("uk-model-inventory", "the owner", put("governance.validator", "retail-credit-risk@bank.example"), FAIL),
    ("uk-model-inventory", "no tier", put("model.materiality", ""), FAIL),
    ("uk-reconstructable", "no digest of the model", put("model.digest", "latest"), FAIL),
    ("uk-protected-not-scored", "sex", score(0), FAIL),
    ("uk-protected-not-scored", "age by a risk assessment", score(1), PASS),
    ("uk-protected-not-scored", "no features", put("features", []), FAIL),
]


def day_for(rule: str) -> date:
    """Return a day on which the rule is law."""
    return RULES[rule].effective_to or LATE


def judged(engine: Engine, rule: str, facts: dict[str, Any]) -> RuleResult:
    return next(result for result in engine.judge(facts, day_for(rule)).results if result.rule == rule)


@pytest.mark.parametrize(("rule", "what", "change", "verdict"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES])
def test_rule(engine: Engine, rule: str, what: str, change: Change, verdict: Verdict) -> None:
    facts = copy.deepcopy(FACTS)
    change(facts)
    result = judged(engine, rule, facts)
    assert result.verdict == verdict, result.message
    assert not result.message.startswith("rule gave no answer"), result.message
    assert bool(result.remedy) == (verdict in (FAIL, INSUFFICIENT))


AS_THEY_STAND = {
    "house-mean-difference": NOT_APPLICABLE,  # no limit is set
    "us-colorado": FAIL,  # 25 months are not three years
    "eu-laundering-intervention": NOT_APPLICABLE,  # a credit model
}


@pytest.mark.parametrize("rule", RULES)
def test_the_case_passes_every_rule_that_concerns_it(engine: Engine, rule: str) -> None:
    result = judged(engine, rule, FACTS)
    assert result.verdict == AS_THEY_STAND.get(rule, PASS), result.message


def test_every_rule_is_seen_to_pass_and_to_refuse() -> None:
    passing = {rule for rule in RULES if rule not in AS_THEY_STAND} | {c[0] for c in CASES if c[3] is PASS}
    refusing = {c[0] for c in CASES if c[3] in (FAIL, INSUFFICIENT)}
    assert passing == set(RULES)
    assert refusing == set(RULES)


def test_the_case_itself_passes_today(engine: Engine) -> None:
    verdict = engine.judge(FACTS, date(2026, 11, 21))
    assert verdict.verdict is PASS
    assert verdict.refusals == ()
    assert verdict.warnings == ()


def test_a_refusal_names_the_attribute_the_law_and_the_number(engine: Engine) -> None:
    facts = copy.deepcopy(FACTS)
    both(score(0), score(2))(facts)
    assert shape_error(facts) is None
    result = judged(engine, "us-protected-not-scored", facts)
    assert "marriage, sex" in result.message
    assert "12 CFR 1002.5(b)" in result.message
    assert result.measured == 2
    assert result.citation.startswith("12 CFR 1002.5(b)")
    assert result.review_required  # the citation was recalled, not read
    assert engine.judge(facts, LATE).verdict is FAIL


def test_fairness_results_show_the_group_that_decided_and_all_the_others(engine: Engine) -> None:
    facts = copy.deepcopy(FACTS)
    air(0.7, 0.62, 0.79, p=0.0001)(facts)
    put("protected.2.groups.0.adverse_impact_ratio", measure(0.6, 0.55, 0.66, 1500))(facts)
    result = judged(engine, "house-adverse-impact-ratio", facts)
    assert (result.attribute, result.group) == ("marriage", "married")  # the lower of two failures
    assert (result.measured, result.low, result.high, result.limit, result.n) == (0.6, 0.55, 0.66, 0.8, 1500)
    assert len(result.findings) == 10
    assert {f.group for f in result.findings if f.verdict is FAIL} == {"married", "female"}
    assert "0.600 [0.550 to 0.660]" in result.message


def test_the_smallest_group_is_found_by_number_and_not_by_spelling(engine: Engine) -> None:
    facts = copy.deepcopy(FACTS)
    put("protected.1.groups.2.n", 4)(facts)
    put("protected.2.groups.1.n", 20)(facts)
    assert judged(engine, "house-group-size", facts).measured == 4
    assert judged(engine, "eu-bias-examined", facts).n == 4


def test_a_p_value_too_small_for_the_engine_is_one_that_is_small(engine: Engine) -> None:
    facts = copy.deepcopy(FACTS)
    air(0.75, 0.68, 0.83, p=5e-324)(facts)
    assert judged(engine, "house-adverse-impact-ratio", facts).verdict is FAIL


def test_a_warning_does_not_shut_the_gate(engine: Engine) -> None:
    facts = copy.deepcopy(FACTS)
    put("protected.2.unassigned", 4000)(facts)
    verdict = engine.judge(facts, date(2026, 11, 21))
    assert verdict.verdict is PASS
    assert [(r.rule, r.severity) for r in verdict.warnings] == [("house-assigned", Severity.WARN)]


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("us-effects-test", date(2026, 7, 20), date(2026, 7, 21)),
        ("us-effective-challenge", date(2026, 4, 16), date(2026, 4, 17)),
    ],
)
def test_a_superseded_rule_ends_with_its_last_day(engine: Engine, rule: str, before: date, after: date) -> None:
    def verdict_on(day: date) -> RuleResult:
        return next(result for result in engine.judge(FACTS, day).results if result.rule == rule)

    assert verdict_on(before).verdict is PASS
    assert verdict_on(after).verdict is NOT_APPLICABLE
    assert str(before) in verdict_on(after).message


@pytest.mark.parametrize(
    ("rule", "first_day"),
    [
        ("us-model-inventory", date(2026, 4, 17)),
        ("us-colorado", date(2027, 1, 1)),
        ("eu-barred-origins", date(2026, 11, 20)),
        ("eu-laundering-intervention", date(2027, 7, 10)),
        ("eu-logs-kept", date(2027, 12, 2)),
        ("eu-role-explained", date(2027, 12, 2)),
        ("uk-human-intervention", date(2026, 2, 5)),
    ],
)
def test_a_rule_begins_on_its_first_day_and_says_before_what_it_would_say(
    engine: Engine, rule: str, first_day: date
) -> None:
    facts = copy.deepcopy(FACTS)
    if rule == "eu-laundering-intervention":
        put("model.purpose", "fraud-detection")(facts)
    day_before = date.fromordinal(first_day.toordinal() - 1)
    early, late = (
        next(result for result in engine.judge(facts, day).results if result.rule == rule)
        for day in (day_before, first_day)
    )
    assert early.verdict is NOT_APPLICABLE
    assert f"law from {first_day}" in early.message
    assert f"it would say {late.verdict}: {late.message}" in early.message
    assert late.verdict in (PASS, FAIL)
