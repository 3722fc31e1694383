from __future__ import annotations

import itertools

import pytest

from aboveboard.policy import RuleResult, Severity, Verdict
from aboveboard.policy.answer import worst
from aboveboard.policy.verdict import overall


def result(verdict: Verdict, severity: Severity = Severity.BLOCK) -> RuleResult:
    return RuleResult(
        rule="r",
        pack="p",
        title="t",
        citation="c",
        law="l",
        verdict=verdict,
        severity=severity,
        message="m",
        review_required=False,
    )


@pytest.mark.parametrize("verdicts", list(itertools.product(Verdict, repeat=3)))
def test_over_all_rules_only_passes_and_at_least_one_is_a_pass(verdicts: tuple[Verdict, ...]) -> None:
    whole = overall(result(verdict) for verdict in verdicts)
    assert (whole is Verdict.PASS) == (
        Verdict.PASS in verdicts and set(verdicts) <= {Verdict.PASS, Verdict.NOT_APPLICABLE}
    )
    assert (whole is Verdict.INSUFFICIENT) == (Verdict.INSUFFICIENT in verdicts and Verdict.FAIL not in verdicts)
    assert whole is not Verdict.NOT_APPLICABLE


def test_nothing_judged_is_a_failure() -> None:
    assert overall([]) is Verdict.FAIL


@pytest.mark.parametrize("verdict", Verdict)
def test_a_warning_changes_nothing(verdict: Verdict) -> None:
    assert overall([result(Verdict.PASS), result(verdict, Severity.WARN)]) is Verdict.PASS
    assert overall([result(verdict, Severity.WARN)]) is Verdict.FAIL


def test_findings_add_up_to_their_worst() -> None:
    assert worst([Verdict.PASS, Verdict.NOT_APPLICABLE]) is Verdict.PASS
    assert worst([Verdict.PASS, Verdict.INSUFFICIENT]) is Verdict.INSUFFICIENT
    assert worst([Verdict.FAIL, Verdict.INSUFFICIENT]) is Verdict.FAIL
    assert worst([]) is Verdict.NOT_APPLICABLE
