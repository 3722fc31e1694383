"""How groups of people fare under a model, by themselves and against the reference group of their attribute.

The formulas, their sources and what they cannot show are explained in docs/concepts/fairness.md. Every measure
is computed from counts or from sums in a fixed order, so the order of the records never changes a digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.evaluation.calibration import calibration_error
from aboveboard.evaluation.intervals import (
    difference_measure,
    mean_measure,
    rate_measure,
    ratio_measure,
    undefined,
    z_quantile,
)
from aboveboard.evaluation.report import AttributeFairness, GroupFairness, Measure
from aboveboard.evaluation.significance import adjust_for_many, equal_rates_p_value
from aboveboard.spec.protected import ProtectedAttribute

UNASSIGNED = -1


@dataclass(frozen=True, slots=True)
class Membership:
    """Who belongs to which group of one protected attribute."""

    attribute: str
    column: str
    groups: tuple[str, ...]
    reference: str
    member_of: NDArray[np.int64]
    """Shape (n,): for each record the index of its group, or `UNASSIGNED`."""
    used_as_feature: bool = False


def assign_groups(
    attribute: ProtectedAttribute, values: Sequence[bool | int | float | str | None], *, used_as_feature: bool = False
) -> Membership:
    """Return the membership of n records by their values of the attribute's column."""
    groups = tuple(group.name for group in attribute.groups)
    index = {name: position for position, name in enumerate(groups)}
    known: dict[object, int] = {}
    member_of = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        key = (type(value), value)  # 1 and True are equal in Python, and different spellings
        if key not in known:
            name = attribute.group_of(value)
            known[key] = UNASSIGNED if name is None else index[name]
        member_of[row] = known[key]
    return Membership(
        attribute=attribute.name,
        column=attribute.column,
        groups=groups,
        reference=attribute.reference,
        member_of=member_of,
        used_as_feature=used_as_feature,
    )


def assess_fairness(
    approved: NDArray[np.bool_],
    favourable: NDArray[np.bool_],
    score: NDArray[np.float64],
    memberships: Sequence[Membership],
    *,
    confidence: float,
    adverse_impact_limit: float,
    seed: int = 0,
) -> list[AttributeFairness]:
    """Return the fairness over the groups of every attribute, in the order given.

    All arrays have shape (n,): what was decided, what turned out to be true, and the score behind the decision.
    `adverse_impact_limit` is the ratio that flips are counted up to. A group without members appears with n = 0
    and undefined measures. P-values are adjusted over all groups of all attributes together.
    """
    attributes = []
    for membership in memberships:
        tallies = [
            Tally.of(approved[mask], favourable[mask], score[mask])
            for mask in (membership.member_of == index for index in range(len(membership.groups)))
        ]
        attributes.append(_assess_attribute(membership, tallies, confidence, adverse_impact_limit, seed))
    return _with_adjusted_p_values(attributes)


@dataclass(frozen=True, slots=True)
class Tally:
    """What all measures of one group are computed from."""

    n: int
    approved: int
    favourable: int
    approved_favourable: int
    """Approved, and rightly so: the true positives."""
    mean: float
    variance: float
    """Of the scores: their mean and unbiased variance; 0 where there are too few for one."""
    score: NDArray[np.float64]
    outcome: NDArray[np.bool_]

    @classmethod
    def of(cls, approved: NDArray[np.bool_], favourable: NDArray[np.bool_], score: NDArray[np.float64]) -> Tally:
        """Count one group's records; arrays of shape (n,)."""
        order = np.lexsort((favourable, score))
        ordered = score[order]
        n = len(ordered)
        return cls(
            n=n,
            approved=int(approved.sum()),
            favourable=int(favourable.sum()),
            approved_favourable=int((approved & favourable).sum()),
            mean=float(ordered.mean()) if n else 0.0,
            variance=float(ordered.var(ddof=1)) if n > 1 else 0.0,
            score=ordered,
            outcome=favourable[order],
        )

    @property
    def unfavourable(self) -> int:
        """How many turned out not to deserve approval."""
        return self.n - self.favourable

    @property
    def approved_unfavourable(self) -> int:
        """Approved, and wrongly so: the false positives."""
        return self.approved - self.approved_favourable

    @property
    def selection_rate(self) -> float | None:
        """The share approved, None over nobody."""
        return self.approved / self.n if self.n else None

    @property
    def true_positive_rate(self) -> float | None:
        """The share approved of those who deserved it, None over nobody."""
        return self.approved_favourable / self.favourable if self.favourable else None

    @property
    def false_positive_rate(self) -> float | None:
        """The share approved of those who did not, None over nobody."""
        return self.approved_unfavourable / self.unfavourable if self.unfavourable else None


def _assess_attribute(
    membership: Membership, tallies: Sequence[Tally], confidence: float, limit: float, seed: int
) -> AttributeFairness:
    reference = tallies[membership.groups.index(membership.reference)]
    selection = [tally.selection_rate for tally in tallies]
    odds = [
        _spread([tally.true_positive_rate for tally in tallies]),
        _spread([tally.false_positive_rate for tally in tallies]),
    ]
    return AttributeFairness(
        attribute=membership.attribute,
        column=membership.column,
        reference=membership.reference,
        used_as_feature=membership.used_as_feature,
        unassigned=int((membership.member_of == UNASSIGNED).sum()),
        demographic_parity_difference=_spread(selection),
        demographic_parity_ratio=_smallest_over_largest(selection),
        equalized_odds_difference=max((spread for spread in odds if spread is not None), default=None),
        groups=[
            _assess_group(name, tally, reference, name == membership.reference, confidence, limit, seed)
            for name, tally in zip(membership.groups, tallies, strict=True)
        ],
    )


def _assess_group(
    name: str, group: Tally, reference: Tally, is_reference: bool, confidence: float, limit: float, seed: int
) -> GroupFairness:
    mean = mean_measure(group.mean, group.variance, group.n, confidence)
    return GroupFairness(
        group=name,
        reference=is_reference,
        n=group.n,
        selection_rate=rate_measure(group.approved, group.n, confidence),
        true_positive_rate=rate_measure(group.approved_favourable, group.favourable, confidence),
        false_positive_rate=rate_measure(group.approved_unfavourable, group.unfavourable, confidence),
        mean_score=mean,
        calibration_error=calibration_error(group.score, group.outcome, confidence=confidence, seed=seed),
        adverse_impact_ratio=_itself(1.0, group.n, group.approved > 0)
        if is_reference
        else ratio_measure(group.approved, group.n, reference.approved, reference.n, confidence),
        standardized_mean_difference=_itself(0.0, group.n, group.variance > 0)
        if is_reference
        else standardized_mean_difference(group, reference, confidence),
        equal_opportunity_difference=_itself(0.0, group.favourable, group.favourable > 0)
        if is_reference
        else difference_measure(
            group.approved_favourable,
            group.favourable,
            reference.approved_favourable,
            reference.favourable,
            confidence,
        ),
        p_value=None
        if is_reference
        else equal_rates_p_value(group.approved, group.n, reference.approved, reference.n),
        p_value_adjusted=None,
        flips_to_parity=None if is_reference else flips_to_parity(group, reference, limit),
        flips_to_impact=None if is_reference else flips_to_impact(group, reference, limit),
    )


def standardized_mean_difference(group: Tally, reference: Tally, confidence: float) -> Measure:
    """Return (mean − reference mean) / pooled SD of the two groups' scores, with its interval (Hedges & Olkin 1985).

    SE² = (n₁+n₀)/(n₁n₀) + d²/(2(n₁+n₀)). Undefined where a group has fewer than two members or no score differs.
    """
    n1, n0 = group.n, reference.n
    n = min(n1, n0)
    if n < 2 or group.variance + reference.variance == 0.0:
        return undefined(n)
    pooled = math.sqrt(((n1 - 1) * group.variance + (n0 - 1) * reference.variance) / (n1 + n0 - 2))
    value = (group.mean - reference.mean) / pooled
    half = z_quantile(confidence) * math.sqrt((n1 + n0) / (n1 * n0) + value**2 / (2 * (n1 + n0)))
    return Measure(value=value, low=value - half, high=value + half, n=n)


def flips_to_parity(group: Tally, reference: Tally, limit: float) -> int | None:
    """Return how many more members would have to be approved for the adverse impact ratio to reach `limit`.

    0 where it already does, None where the ratio is undefined. Exact: the limit counts as the decimal it is
    written as, so that 80 of 100 against a reference of 100 of 100 meets 0.8.
    """
    needed = _approvals_at_limit(group, reference, limit)
    return None if needed is None else max(0, needed - group.approved)


def flips_to_impact(group: Tally, reference: Tally, limit: float) -> int | None:
    """Return how many approvals the group could lose before its ratio falls below `limit`: the fewest that do it.

    0 where it is below already, None where the ratio is undefined or no number of refusals gets it there.
    """
    needed = _approvals_at_limit(group, reference, limit)
    if needed is None or needed == 0:
        return None
    return max(0, group.approved - needed + 1)


def _approvals_at_limit(group: Tally, reference: Tally, limit: float) -> int | None:
    """Return the smallest number of approvals with which the group meets the limit."""
    if group.n == 0 or reference.approved == 0:
        return None
    return math.ceil(Fraction(str(limit)) * reference.approved * group.n / reference.n)


def _itself(value: float, n: int, defined: bool) -> Measure:
    """Return what the reference group's comparison with itself comes to: a constant, known exactly."""
    return Measure(value=value, low=value, high=value, n=n) if defined else undefined(n)


def _spread(rates: Sequence[float | None]) -> float | None:
    """Return largest minus smallest of the defined rates; None with fewer than two."""
    defined = [rate for rate in rates if rate is not None]
    return max(defined) - min(defined) if len(defined) > 1 else None


def _smallest_over_largest(rates: Sequence[float | None]) -> float | None:
    """Return smallest over largest of the defined rates; None with fewer than two, or where all are 0."""
    defined = [rate for rate in rates if rate is not None]
    return min(defined) / max(defined) if len(defined) > 1 and max(defined) > 0 else None


def _with_adjusted_p_values(attributes: Sequence[AttributeFairness]) -> list[AttributeFairness]:
    """Fill in the adjusted p-values: one family of tests over all groups of all attributes."""
    adjusted: Iterator[float | None] = iter(
        adjust_for_many([group.p_value for attribute in attributes for group in attribute.groups])
    )
    return [
        msgspec.structs.replace(
            attribute,
            groups=[msgspec.structs.replace(group, p_value_adjusted=next(adjusted)) for group in attribute.groups],
        )
        for attribute in attributes
    ]
