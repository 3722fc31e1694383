"""Rules and alerts, run by Prometheus's own promtool over series whose outcome is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster import desired_objects, load_service, promql
from aboveboard.cluster.observability import GROUP_RATE, GROUP_RATIO, GROUP_Z, STABILITY
from aboveboard.evaluation.significance import equal_rates_p_value
from aboveboard.serving.problems import catalogue
from tests.cluster_cases import CASES, CONTEXT, PROMETHEUS, document
from tests.prometheus_server import check_rules, try_rules

CHOSEN = 'namespace="lending",job="loans"'
WHO = f'{CHOSEN},pod="loans-0",model="small-loans",release="sha256:a",track="champion"'
DAYS = 48
"""Samples in a day, one every half an hour."""


def groups(**spec: Any) -> list[dict[str, Any]]:
    item = load_service(document(integrations={"prometheus": PROMETHEUS}, **spec))
    [rule] = [each for each in desired_objects(item, CONTEXT) if each["kind"] == "PrometheusRule"]
    found: list[dict[str, Any]] = rule["spec"]["groups"]
    return found


def alerts(*names: str) -> list[dict[str, Any]]:
    """Return the rule groups with these alerts only."""
    kept = []
    for group in groups():
        rules = [rule for rule in group["rules"] if "record" in rule or rule["alert"] in names]
        kept.append({**group, "rules": rules})
    return kept


def near(expression: str, value: float) -> dict[str, Any]:
    """Return the test that an expression gives a value, once, to the ninth decimal."""
    return {
        "expr": f"count(abs(({expression}) - {value!r}) < 1e-9)",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }


def firing(alert: str, at: str, *labels: Mapping[str, str]) -> dict[str, Any]:
    [found] = [rule for group in groups() for rule in group["rules"] if rule.get("alert") == alert]
    expected = [
        {"exp_labels": {**found["labels"], **each}, "exp_annotations": found["annotations"]} for each in labels
    ]
    return {"eval_time": at, "alertname": alert, "exp_alerts": expected}


@pytest.mark.parametrize("case", CASES)
def test_promtool_understands_every_rule(case: str, tmp_path: Path) -> None:
    item, context = CASES[case]
    for each in desired_objects(load_service(item), context):
        if each["kind"] == "PrometheusRule":
            check_rules(each["spec"]["groups"], tmp_path)


def test_every_code_of_ours_counts_as_a_fault() -> None:
    ours = {code for code, each in catalogue().items() if each.status >= 500} | {"internal"}
    assert set(promql.FAULTS.split("|")) == ours


def people(**counts: tuple[float, float]) -> dict[str, str]:
    """Series of eight days: of each group so many decisions in seven days, so many of them favourable."""
    series = {}
    for group, (made, favoured) in counts.items():
        for outcome, count in (("approve", favoured), ("decline", made - favoured)):
            if count:
                name = (
                    f'aboveboard_group_decisions_total{{{WHO},attribute="sex",group="{group}",outcome="{outcome}"}}'
                )
                series[name] = f"0+{count / (7 * DAYS)!r}x{8 * DAYS}"
    return series


def z_of(made: int, favoured: int, best_made: int, best_favoured: int) -> float:
    pooled = (favoured + best_favoured) / (made + best_made)
    error = math.sqrt(pooled * (1 - pooled) * (1 / made + 1 / best_made))
    return (best_favoured / best_made - favoured / made) / error


def test_a_group_that_fares_worse_is_told_and_a_handful_is_nobodys_measure(tmp_path: Path) -> None:
    def of(name: str, group: str) -> str:
        return f'{name}{{group="{group}"}}'

    z = z_of(1000, 300, 1400, 840)
    # The test the evaluation uses, two-sided there.
    assert math.erfc(z / math.sqrt(2)) == pytest.approx(equal_rates_p_value(300, 1000, 840, 1400), rel=1e-9)
    try_rules(
        alerts("AboveboardAdverseImpact"),
        people(female=(1000, 300), male=(1400, 840), few=(20, 20), never=(100, 0)),
        tmp_path,
        interval="30m",
        promql_expr_test=[
            {**near(of(GROUP_RATE, "female"), 0.3), "eval_time": "8d"},
            {**near(of(GROUP_RATIO, "female"), 0.5), "eval_time": "8d"},
            {**near(of(GROUP_RATIO, "male"), 1.0), "eval_time": "8d"},
            # Twenty out of twenty would be the highest rate; they are compared, and nobody with them.
            {**near(of(GROUP_RATIO, "few"), 1 / 0.6), "eval_time": "8d"},
            {**near(of(GROUP_RATIO, "never"), 0.0), "eval_time": "8d"},
            {**near(of(GROUP_Z, "female"), z), "eval_time": "8d"},
            {**near(of(GROUP_Z, "male"), 0.0), "eval_time": "8d"},
        ],
        alert_rule_test=[
            firing(
                "AboveboardAdverseImpact",
                "8d",
                *(
                    {
                        "namespace": "lending",
                        "job": "loans",
                        "model": "small-loans",
                        "release": "sha256:a",
                        "track": "champion",
                        "attribute": "sex",
                        "group": group,
                    }
                    for group in ("female", "never")
                ),
            )
        ],
    )


def test_a_difference_that_may_be_chance_calls_nobody(tmp_path: Path) -> None:
    assert z_of(30, 12, 40, 24) < promql.SIGNIFICANT
    try_rules(
        alerts("AboveboardAdverseImpact"),
        people(female=(30, 12), male=(40, 24)),
        tmp_path,
        interval="30m",
        promql_expr_test=[{**near(f'{GROUP_RATIO}{{group="female"}}', 2 / 3), "eval_time": "8d"}],
        alert_rule_test=[firing("AboveboardAdverseImpact", "8d")],
    )


def incomes(*, before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, str]:
    """Series of fifteen days: decisions a day by bin, in the first eight days and in the seven after them."""
    return {
        f'aboveboard_feature_values_total{{{WHO},feature="income",bin="{name}"}}': (
            f"0+{before[name] / DAYS!r}x{8 * DAYS} {8 * before[name]}+{after[name] / DAYS!r}x{7 * DAYS}"
        )
        for name in before
    }


DRIFT_LABELS = {"namespace": "lending", "job": "loans", "model": "small-loans", "feature": "income"}


def test_the_stability_index_is_the_sum_it_is_said_to_be_and_calls_when_people_changed(tmp_path: Path) -> None:
    before, after = {"low": 4800, "high": 4800, "missing": 0}, {"low": 9600, "high": 0, "missing": 2400}
    floor = promql.LEAST_SHARE
    pairs = [
        (max(after[name] / sum(after.values()), floor), max(before[name] / sum(before.values()), floor))
        for name in before
    ]
    index = math.fsum((p - q) * math.log(p / q) for p, q in pairs)
    try_rules(
        alerts("AboveboardDrift"),
        incomes(before=before, after=after),
        tmp_path,
        interval="30m",
        promql_expr_test=[{**near(STABILITY, index), "eval_time": "14d"}],
        alert_rule_test=[firing("AboveboardDrift", "14d", DRIFT_LABELS), firing("AboveboardDrift", "7d")],
    )


def test_too_few_people_drift_nowhere(tmp_path: Path) -> None:
    try_rules(
        alerts("AboveboardDrift"),
        incomes(before={"low": 480, "high": 480}, after={"low": 960, "high": 0}),
        tmp_path,
        interval="30m",
        promql_expr_test=[{"expr": STABILITY, "eval_time": "14d", "exp_samples": []}],
        alert_rule_test=[firing("AboveboardDrift", "14d")],
    )


def requests(decided: int, **refused: int) -> dict[str, str]:
    """Series of two hours: so many requests a minute."""
    who = f'{CHOSEN},pod="a"'
    series = {
        f'aboveboard_refused_requests_total{{{who},code="{code.replace("_", "-")}"}}': f"0+{count}x120"
        for code, count in refused.items()
    }
    if decided:
        series[f'aboveboard_decisions_total{{{who},outcome="approve"}}'] = f"0+{decided}x120"
    return series


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        (requests(6000, storage_failed=120), True),
        (requests(0, internal=60), True),
        (requests(6000, unconfirmed=600), True),
        (requests(6000), False),
        (requests(6000, storage_failed=60), False),
        (requests(6000, not_json=6000), False),
        (requests(0), False),
    ],
)
def test_the_error_budget_burns_by_our_own_faults_only(series: dict[str, str], fires: bool, tmp_path: Path) -> None:
    expected: list[dict[str, str]] = [{}] if fires else []
    try_rules(
        alerts("AboveboardErrorBudgetBurning"),
        series,
        tmp_path,
        interval="1m",
        alert_rule_test=[firing("AboveboardErrorBudgetBurning", "100m", *expected)],
    )


@pytest.mark.parametrize(("ready", "fires"), [("1x60", False), ("0x60", True), ("_x60", True)])
def test_no_ready_pod_or_no_pod_at_all_calls_somebody(ready: str, fires: bool, tmp_path: Path) -> None:
    labels = {"namespace": "lending", "job": "loans"} if ready.startswith("_") else {}
    try_rules(
        alerts("AboveboardUnavailable"),
        {f'aboveboard_ready{{{CHOSEN},pod="a"}}': ready},
        tmp_path,
        interval="1m",
        alert_rule_test=[firing("AboveboardUnavailable", "30m", *([labels] if fires else []))],
    )


@pytest.mark.parametrize(
    ("alert", "series", "fires"),
    [
        ("AboveboardNotPublished", ("aboveboard_log_publication_lag_seconds", "900x40"), True),
        ("AboveboardNotPublished", ("aboveboard_log_publication_lag_seconds", "30x40"), False),
        ("AboveboardReviewOverdue", ('aboveboard_review_cases,state="waiting",overdue="true"', "2x40"), True),
        ("AboveboardReviewOverdue", ('aboveboard_review_cases,state="waiting",overdue="true"', "0x40"), False),
        ("AboveboardReviewOverdue", ('aboveboard_review_cases,state="waiting",overdue="false"', "9x40"), False),
    ],
)
def test_what_waits_too_long_is_told(alert: str, series: tuple[str, str], fires: bool, tmp_path: Path) -> None:
    name, _, more = series[0].partition(",")
    labels = f'{CHOSEN},pod="a"' + (f",{more}" if more else "")
    expected: list[dict[str, str]] = [{}] if fires else []
    try_rules(
        alerts(alert),
        {f"{name}{{{labels}}}": series[1]},
        tmp_path,
        interval="1m",
        alert_rule_test=[firing(alert, "35m", *expected)],
    )
