"""Fairness against fairlearn and scipy on real people, against published figures, and at the edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, ttest_ind

from aboveboard.evaluation.fairness import UNASSIGNED, Membership, assess_fairness, assign_groups
from aboveboard.evaluation.report import AttributeFairness, GroupFairness, Measure
from tests.unit.evaluation.evaluation_cases import credit_judged, credit_spec

FICO = Path(__file__).parents[2] / "data" / "fico"


def people(*groups: tuple[str, int, int]) -> tuple[NDArray[np.bool_], NDArray[np.float64], Membership]:
    """Return approvals, scores and membership of groups (name, members, approved); the last is the reference."""
    approved = np.concatenate([np.arange(n) < yes for _, n, yes in groups])
    member_of = np.repeat(np.arange(len(groups)), [n for _, n, _ in groups])
    names = tuple(name for name, _, _ in groups)
    return approved, np.where(approved, 0.8, 0.3), Membership("a", "A", names, names[-1], member_of)


def assess(*groups: tuple[str, int, int], limit: float = 0.8) -> dict[str, GroupFairness]:
    approved, score, membership = people(*groups)
    (attribute,) = assess_fairness(
        approved, approved, score, [membership], confidence=0.95, adverse_impact_limit=limit
    )
    return {group.group: group for group in attribute.groups}


@pytest.fixture(scope="module")
def memberships() -> list[Membership]:
    frame = credit_judged().frame
    return [assign_groups(attribute, frame[attribute.column].to_list()) for attribute in credit_spec().spec.protected]


@pytest.fixture(scope="module")
def fairness(memberships: list[Membership]) -> list[AttributeFairness]:
    judged = credit_judged()
    return assess_fairness(
        judged.approved, judged.favourable, judged.score, memberships, confidence=0.95, adverse_impact_limit=0.8
    )


@pytest.mark.parametrize("index", range(4))
def test_equals_fairlearn_on_real_people(
    index: int, fairness: list[AttributeFairness], memberships: list[Membership]
) -> None:
    judged, ours, member_of = credit_judged(), fairness[index], memberships[index].member_of
    assert (member_of != UNASSIGNED).all()
    names = np.array(memberships[index].groups)[member_of]
    truth: dict[str, Any] = {"y_true": judged.favourable, "y_pred": judged.approved, "sensitive_features": names}

    assert ours.demographic_parity_difference == pytest.approx(demographic_parity_difference(**truth), abs=1e-12)
    assert ours.demographic_parity_ratio == pytest.approx(demographic_parity_ratio(**truth), abs=1e-12)
    assert ours.equalized_odds_difference == pytest.approx(equalized_odds_difference(**truth), abs=1e-12)
    metrics = {"selection": selection_rate, "tpr": true_positive_rate, "fpr": false_positive_rate}
    by_group = MetricFrame(metrics=metrics, **truth).by_group
    for group in ours.groups:
        theirs = by_group.loc[group.group]
        assert group.selection_rate.value == pytest.approx(theirs["selection"], abs=1e-12)
        assert group.true_positive_rate.value == pytest.approx(theirs["tpr"], abs=1e-12)
        assert group.false_positive_rate.value == pytest.approx(theirs["fpr"], abs=1e-12)
        reference = by_group.loc[ours.reference]
        ratio = theirs["selection"] / reference["selection"]
        assert group.adverse_impact_ratio.value == pytest.approx(ratio, abs=1e-12)
        difference = theirs["tpr"] - reference["tpr"]
        assert group.equal_opportunity_difference.value == pytest.approx(difference, abs=1e-12)


def test_mean_difference_is_consistent_with_students_t(
    fairness: list[AttributeFairness], memberships: list[Membership]
) -> None:
    """t = d / sqrt(1/n1 + 1/n0) with the same pooled standard deviation."""
    score, member_of = credit_judged().score, memberships[0].member_of
    female = fairness[0].groups[1]
    men, women = score[member_of == 0], score[member_of == 1]
    scale = (1 / len(women) + 1 / len(men)) ** 0.5
    smd = female.standardized_mean_difference

    assert smd.value is not None
    assert smd.low is not None
    assert smd.value / scale == pytest.approx(ttest_ind(women, men).statistic)
    assert smd.value - smd.low == pytest.approx(1.959963985 * (scale**2 + smd.value**2 / (2 * len(score))) ** 0.5)


def test_p_values_are_adjusted_over_all_groups_of_all_attributes(fairness: list[AttributeFairness]) -> None:
    groups = [group for attribute in fairness for group in attribute.groups if not group.reference]
    raw = [group.p_value for group in groups]

    assert len(raw) == 1 + 4 + 2 + 3
    assert [group.p_value_adjusted for group in groups] == pytest.approx(false_discovery_control(raw).tolist())
    assert all(
        group.p_value is None and group.p_value_adjusted is None
        for attribute in fairness
        for group in attribute.groups
        if group.reference
    )


def test_published_credit_scores_by_race() -> None:
    """174,047 people from the Federal Reserve's tables: rates at one cut-off follow from the tables alone."""
    cumulative = pl.read_csv(FICO / "fico_transrisk_cdf_by_race_ssa.csv")
    delinquent = pl.read_csv(FICO / "fico_transrisk_performance_by_race_ssa.csv")
    totals = pl.read_csv(FICO / "fico_totals.csv")
    names = cumulative.columns[1:]
    cut_off = 50.0
    score, good, member_of, expected = [], [], [], {}
    for index, name in enumerate(names):
        people = np.diff(np.round(cumulative[name].to_numpy() / 100 * totals[name][0]), prepend=0.0).astype(int)
        paying = np.round(people * (1 - delinquent[name].to_numpy() / 100)).astype(int)
        at = cumulative["Score"].to_numpy()
        score.append(np.concatenate([np.repeat(at, paying), np.repeat(at, people - paying)]))
        good.append(np.repeat([True, False], [paying.sum(), (people - paying).sum()]))
        member_of.append(np.full(people.sum(), index))
        share = np.diff(cumulative[name].to_numpy(), prepend=0.0)
        repaid = share * (100 - delinquent[name].to_numpy())
        expected[name] = (
            share[at >= cut_off].sum() / share.sum(),
            repaid[at >= cut_off].sum() / repaid.sum(),
        )
    everybody, outcome = np.concatenate(score), np.concatenate(good)
    membership = Membership("race", "race", tuple(names), names[0], np.concatenate(member_of))

    (race,) = assess_fairness(
        everybody >= cut_off, outcome, everybody / 100, [membership], confidence=0.95, adverse_impact_limit=0.8
    )

    assert sum(group.n for group in race.groups) == pytest.approx(174_047, abs=5)
    for group in race.groups:
        selected, true_positive = expected[group.group]
        assert group.selection_rate.value == pytest.approx(selected, abs=2e-4)
        assert group.true_positive_rate.value == pytest.approx(true_positive, abs=1e-3)
    black = race.groups[1]
    # The table's cumulative per cent at 49.5: 85.20 of Black and 44.72 of white borrowers score below 50.
    assert black.adverse_impact_ratio.value == pytest.approx((1 - 0.8520) / (1 - 0.4472), abs=1e-3)
    assert black.p_value_adjusted is not None
    assert black.p_value_adjusted < 1e-100


def test_a_ratio_of_one_half_by_hand() -> None:
    """30 % of 40 against 60 % of 80."""
    group = assess(("g", 40, 12), ("r", 80, 48))["g"]

    assert group.adverse_impact_ratio.value == pytest.approx(0.5)
    assert group.adverse_impact_ratio.n == 40
    assert group.flips_to_parity == 8  # 20 of 40 is 0.5, and 0.8 x 60 % of 40 is 19.2
    assert group.flips_to_impact == 0


@pytest.mark.parametrize(
    ("approved", "to_parity", "to_impact"), [(79, 1, 0), (80, 0, 1), (81, 0, 2), (0, 80, 0), (100, 0, 21)]
)
def test_flips_are_exact_at_the_limit(approved: int, to_parity: int, to_impact: int) -> None:
    """0.8 x 100 is exactly 80 people, whatever binary fractions make of 0.8."""
    group = assess(("g", 100, approved), ("r", 100, 100))["g"]

    assert (group.flips_to_parity, group.flips_to_impact) == (to_parity, to_impact)


def test_a_group_with_nobody_in_it_appears_and_claims_nothing() -> None:
    groups = assess(("absent", 0, 0), ("g", 50, 20), ("r", 60, 30))
    nothing = Measure(None, None, None, 0)
    absent = groups["absent"]

    assert absent.n == 0
    assert absent.selection_rate == absent.true_positive_rate == absent.false_positive_rate == nothing
    assert absent.mean_score == absent.calibration_error == absent.adverse_impact_ratio == nothing
    assert absent.standardized_mean_difference == absent.equal_opportunity_difference == nothing
    assert (absent.p_value, absent.p_value_adjusted, absent.flips_to_parity) == (None, None, None)
    assert groups["g"].p_value_adjusted == groups["g"].p_value  # the absent group is no test to adjust for


def test_three_people_are_measured_with_an_interval_that_says_how_little_that_is() -> None:
    few = assess(("few", 3, 1), ("r", 1000, 500))["few"]

    assert few.adverse_impact_ratio.value == pytest.approx(2 / 3)
    assert few.adverse_impact_ratio.n == 3
    assert few.adverse_impact_ratio.low is not None
    assert few.adverse_impact_ratio.high is not None
    assert few.adverse_impact_ratio.low < 0.2
    assert few.adverse_impact_ratio.high > 1.4
    assert few.flips_to_parity == 1


def test_an_empty_or_never_approved_reference_leaves_comparisons_undefined() -> None:
    for groups in (assess(("g", 50, 20), ("r", 0, 0)), assess(("g", 50, 20), ("r", 40, 0))):
        assert groups["g"].adverse_impact_ratio.value is None
        assert groups["r"].adverse_impact_ratio.value is None
        assert groups["g"].flips_to_parity is None
        assert groups["g"].flips_to_impact is None
        assert groups["g"].selection_rate.value == pytest.approx(0.4)


def test_the_reference_group_compares_with_itself_exactly() -> None:
    reference = assess(("g", 50, 20), ("r", 60, 30))["r"]

    assert reference.adverse_impact_ratio == Measure(1.0, 1.0, 1.0, 60)
    assert reference.standardized_mean_difference == Measure(0.0, 0.0, 0.0, 60)
    assert reference.equal_opportunity_difference == Measure(0.0, 0.0, 0.0, 30)


def test_spreads_need_two_groups_to_spread_over() -> None:
    approved, score, membership = people(("g", 0, 0), ("r", 30, 10))
    (attribute,) = assess_fairness(approved, approved, score, [membership], confidence=0.95, adverse_impact_limit=0.8)

    assert attribute.demographic_parity_difference is None
    assert attribute.demographic_parity_ratio is None
    assert attribute.equalized_odds_difference is None


def test_people_are_assigned_as_the_spec_says() -> None:
    sex, age, _, _ = credit_spec().spec.protected

    assert assign_groups(sex, [1, 2, "2", None, 3, True]).member_of.tolist() == [0, 1, 1, -1, -1, -1]
    assert assign_groups(age, [29, 30, 39.5, 61, 62, None]).member_of.tolist() == [0, 1, 1, 3, 4, -1]


def test_those_in_no_group_are_counted_and_left_out() -> None:
    sex = credit_spec().spec.protected[0]
    values: list[int | None] = [*[1] * 40, *[2] * 40, None, 9, 9]
    approved = np.arange(83) % 2 == 0

    (attribute,) = assess_fairness(
        approved,
        approved,
        np.full(83, 0.5),
        [assign_groups(sex, values, used_as_feature=True)],
        confidence=0.95,
        adverse_impact_limit=0.8,
    )

    assert attribute.unassigned == 3
    assert attribute.used_as_feature
    assert [group.n for group in attribute.groups] == [40, 40]
