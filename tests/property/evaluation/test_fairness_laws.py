"""Laws of the fairness measures, over random decisions about random people."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
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
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aboveboard.evaluation.calibration import assess_calibration
from aboveboard.evaluation.fairness import UNASSIGNED, Membership, assess_fairness
from aboveboard.evaluation.intervals import difference_measure, rate_measure, ratio_measure
from aboveboard.evaluation.performance import assess_performance
from aboveboard.evaluation.report import AttributeFairness, Measure


class People(NamedTuple):
    approved: NDArray[np.bool_]
    favourable: NDArray[np.bool_]
    score: NDArray[np.float64]
    memberships: list[Membership]

    def in_order(self, order: NDArray[np.int64]) -> People:
        return People(
            self.approved[order],
            self.favourable[order],
            self.score[order],
            [
                Membership(m.attribute, m.column, m.groups, m.reference, m.member_of[order], m.used_as_feature)
                for m in self.memberships
            ],
        )

    def assess(self) -> list[AttributeFairness]:
        return assess_fairness(
            self.approved,
            self.favourable,
            self.score,
            self.memberships,
            confidence=0.95,
            adverse_impact_limit=0.8,
        )


@st.composite
def any_people(draw: st.DrawFn) -> People:
    n = draw(st.integers(0, 120))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    digits = draw(st.sampled_from([1, 3, 17]))  # few distinct scores, many, all
    score = np.round(generator.beta(3, 2, n), digits)
    memberships = []
    for name in draw(st.sampled_from(["a", "ab"])):
        k = draw(st.integers(2, 4))
        groups = tuple(f"{name}{i}" for i in range(k))
        # Rare groups are often empty, and some people belong to none.
        share = np.array([*(0.7, 0.2, 0.08, 0.02)[:k], 0.05])
        member_of = generator.choice([*range(k), UNASSIGNED], n, p=share / share.sum())
        memberships.append(Membership(name, name.upper(), groups, draw(st.sampled_from(groups)), member_of))
    return People(score >= draw(st.floats(0, 1.1)), generator.random(n) < score, score, memberships)


@given(any_people(), st.randoms(use_true_random=False))
def test_the_order_of_records_changes_no_digit(people: People, random: Any) -> None:
    order = list(range(len(people.score)))
    random.shuffle(order)
    shuffled = people.in_order(np.array(order, dtype=np.int64))

    assert shuffled.assess() == people.assess()
    calibration = assess_calibration(people.score, people.favourable, confidence=0.9)
    assert assess_calibration(shuffled.score, shuffled.favourable, confidence=0.9) == calibration


@settings(max_examples=15)
@given(any_people(), st.randoms(use_true_random=False))
def test_performance_does_not_depend_on_order_either(people: People, random: Any) -> None:
    order = list(range(len(people.score)))
    random.shuffle(order)
    other = people.in_order(np.array(order, dtype=np.int64))
    one = assess_performance(people.score, people.favourable, people.approved, confidence=0.9)
    two = assess_performance(other.score, other.favourable, other.approved, confidence=0.9)

    for name in one.__struct_fields__:
        first, second = getattr(one, name), getattr(two, name)
        assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))


@given(any_people())
def test_every_number_is_json_and_every_interval_holds_its_value(people: People) -> None:
    fairness = people.assess()

    assert msgspec.json.decode(msgspec.json.encode(fairness), type=list[AttributeFairness]) == fairness
    for attribute in fairness:
        assert sum(group.n for group in attribute.groups) + attribute.unassigned == len(people.score)
        for group in attribute.groups:
            for name in group.__struct_fields__:
                measure = getattr(group, name)
                if isinstance(measure, Measure) and measure.low is not None and measure.high is not None:
                    assert measure.value is not None
                    assert measure.low <= measure.value <= measure.high
            for p in (group.p_value, group.p_value_adjusted):
                assert p is None or 0 <= p <= 1


@given(any_people())
def test_flips_do_what_they_say(people: People) -> None:
    """So many more approvals reach the limit, one fewer does not; so many refusals fall below, one fewer does not."""
    for attribute, membership in zip(people.assess(), people.memberships, strict=True):
        reference_of = people.approved[membership.member_of == membership.groups.index(membership.reference)]
        for index, group in enumerate(attribute.groups):
            approvals = int(people.approved[membership.member_of == index].sum())

            def meets(k: int, n: int = group.n, of: NDArray[np.bool_] = reference_of) -> bool:
                return k * len(of) * 10 >= 8 * int(of.sum()) * n  # k/n >= 0.8 x/m in whole numbers

            if group.flips_to_parity is not None:
                assert meets(approvals + group.flips_to_parity)
                assert group.flips_to_parity == 0 or not meets(approvals + group.flips_to_parity - 1)
            if group.flips_to_impact is not None:
                assert not meets(approvals - group.flips_to_impact)
                assert group.flips_to_impact == 0 or meets(approvals - group.flips_to_impact + 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(30, 400))
def test_equals_fairlearn(seed: int, k: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    # Each group starts with one of each kind, because fairlearn calls an undefined rate 0 and we call it undefined.
    member_of = np.concatenate([np.repeat(np.arange(k), 4), generator.integers(0, k, n)])
    approved = np.concatenate([np.tile([True, True, False, False], k), generator.random(n) < 0.6])
    favourable = np.concatenate([np.tile([True, False, True, False], k), generator.random(n) < 0.7])
    groups = tuple(f"g{i}" for i in range(k))
    people = People(
        approved, favourable, generator.random(len(approved)), [Membership("a", "A", groups, "g0", member_of)]
    )

    (ours,) = people.assess()

    truth: dict[str, Any] = {
        "y_true": favourable,
        "y_pred": approved,
        "sensitive_features": np.array(groups)[member_of],
    }
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


counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts, st.floats(0.5, 0.999))
def test_intervals_hold_their_value_and_widen_with_confidence(
    one: tuple[int, int], other: tuple[int, int], confidence: float
) -> None:
    for narrow, wide in (
        (rate_measure(*one, confidence), rate_measure(*one, (1 + confidence) / 2)),
        (difference_measure(*one, *other, confidence), difference_measure(*one, *other, (1 + confidence) / 2)),
        (ratio_measure(*one, *other, confidence), ratio_measure(*one, *other, (1 + confidence) / 2)),
    ):
        if narrow.value is None:
            continue
        assert narrow.low is not None
        assert narrow.high is not None
        assert wide.low is not None
        assert wide.high is not None
        assert wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high


@given(counts, counts)
def test_swapping_the_groups_inverts_the_ratio(one: tuple[int, int], other: tuple[int, int]) -> None:
    ratio, inverse = ratio_measure(*one, *other, 0.95), ratio_measure(*other, *one, 0.95)
    if ratio.value and inverse.value:
        assert ratio.low is not None
        assert inverse.high is not None
        assert ratio.value * inverse.value == pytest.approx(1)
        assert ratio.low * inverse.high == pytest.approx(1)
