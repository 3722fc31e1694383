from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from aboveboard.errors import Misuse
from aboveboard.policy import build_facts
from aboveboard.policy.facts import facts_schema, shape_error
from aboveboard.policy.gathering import whole_months
from tests.unit.policy.policy_cases import TODAY, case_spec, lineage, report


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    spec = case_spec()
    return build_facts(spec, report(spec), lineage(spec), as_of=TODAY)


def test_the_facts_are_the_golden_ones_every_other_policy_test_starts_from(
    facts: dict[str, Any], golden: Any
) -> None:
    golden("policy-facts.json", json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def test_the_facts_have_the_documented_shape(facts: dict[str, Any]) -> None:
    assert shape_error(facts) is None
    assert set(facts) == set(facts_schema()["$defs"]["Facts"]["required"])


def test_facts_say_what_each_document_says(facts: dict[str, Any]) -> None:
    spec = case_spec()
    assert facts["as_of"] == "2026-11-21"
    assert facts["model"]["digest"] == "sha256:" + "a" * 64
    assert facts["declared"] == {"features": len(spec.spec.features), "protected": 4}
    latest = next(feature for feature in facts["features"] if feature["name"] == "PAY_0")
    assert latest["reason_code"] == "latest-payment"
    assert latest["reason_texts"]["de"] == "Die letzte Zahlung kam verspätet"
    assert latest["legal_basis"] == "contract"  # inherited from the data section
    assert latest["monotonic"] == "decreasing"
    assert facts["retention"] == {"decisions_months": 25, "releases_months": 120}
    assert facts["data"]["identifier"] == "tokenised"
    assert facts["limits"]["standardized_mean_difference_at_most"] is None


def test_an_identifier_that_was_kept_is_raw(facts: dict[str, Any]) -> None:
    spec = case_spec()
    before = lineage(spec)
    columns = [msgspec.structs.replace(column, treatment="kept") for column in before.columns]
    after = msgspec.structs.replace(before, columns=columns)
    assert build_facts(spec, report(spec), after, as_of=TODAY)["data"]["identifier"] == "raw"
    gone = msgspec.structs.replace(before, columns=before.columns[:-1])
    assert build_facts(spec, report(spec), gone, as_of=TODAY)["data"]["identifier"] == "raw"


def test_a_number_that_is_not_finite_is_refused() -> None:
    spec = case_spec()
    whole = report(spec)
    explanation = msgspec.structs.replace(whole.explanation, largest_additivity_error=float("nan"))
    with pytest.raises(Misuse, match="not whole"):
        build_facts(spec, msgspec.structs.replace(whole, explanation=explanation), lineage(spec), as_of=TODAY)


@pytest.mark.parametrize(
    ("duration", "months"),
    [
        ("P25M", 25),
        ("P2Y1M", 25),
        ("P10Y", 120),
        ("P30D", 0),
        ("P31D", 1),
        ("P183D", 5),  # July to December has 184 days
        ("P184D", 6),
        ("P365D", 11),  # a leap year has 366
        ("P366D", 12),
        ("P1Y31D", 13),
        ("P1461D", 48),
        ("P1460D", 47),
    ],
)
def test_days_count_as_months_only_where_they_outlast_them(duration: str, months: int) -> None:
    assert whole_months(duration) == months


def test_whole_months_never_promise_more_than_the_days_hold() -> None:
    for days in range(0, 1200, 7):
        months = whole_months(f"P{days}D")
        for start in range(48):
            end = start + months
            first, last = date(2000 + start // 12, start % 12 + 1, 1), date(2000 + end // 12, end % 12 + 1, 1)
            assert (last - first).days <= days


def test_a_duration_of_another_kind_is_refused() -> None:
    with pytest.raises(Misuse, match="P1W"):
        whole_months("P1W")
