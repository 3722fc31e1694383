"""Reading what a rule answered. Anything that is not a whole, consistent answer becomes `fail`, and says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from aboveboard.policy.pack import Rule
from aboveboard.policy.verdict import Finding, RuleResult, Verdict


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a Rego rule gives: `answers["us-x"] := {"verdict": …, "message": …, …}`."""

    verdict: Verdict
    message: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    n: int | None = None
    attribute: str | None = None
    group: str | None = None
    findings: tuple[Finding, ...] = ()


def read_answer(rule: Rule, pack: str, raw: Any) -> RuleResult:
    """Return the result of a rule from the Rego value of its answer (None where there is none)."""
    if raw is None:
        return refused(rule, pack, f"rule gave no answer: {rule.id} is undefined for these facts")
    try:
        answer = msgspec.convert(raw, Answer)
    except msgspec.ValidationError as error:
        return refused(rule, pack, f"rule gave no answer that can be read: {rule.id}: {error}")
    if not answer.message.strip():
        return refused(rule, pack, f"rule gave no reason for its answer: {rule.id}")
    if answer.findings and answer.verdict is not worst(finding.verdict for finding in answer.findings):
        return refused(rule, pack, f"rule contradicts its own findings: {rule.id} says {answer.verdict}")
    return result(rule, pack, **msgspec.structs.asdict(answer))


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that several comparisons add up to."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INSUFFICIENT, Verdict.PASS):
        if verdict in found:
            return verdict
    return Verdict.NOT_APPLICABLE


def refused(rule: Rule, pack: str, message: str) -> RuleResult:
    """Return the failure of a rule that was not answered."""
    return result(rule, pack, Verdict.FAIL, message)


def result(rule: Rule, pack: str, verdict: Verdict, message: str, **numbers: Any) -> RuleResult:
    """Return a result that carries what the manifest says of the rule."""
    return RuleResult(
        rule=rule.id,
        pack=pack,
        title=rule.title,
        citation=rule.citation,
        law=rule.text,
        verdict=verdict,
        severity=rule.severity,
        message=message,
        review_required=not rule.confirmed,
        remedy=rule.remedy if verdict in (Verdict.FAIL, Verdict.INSUFFICIENT) else "",
        **numbers,
    )
