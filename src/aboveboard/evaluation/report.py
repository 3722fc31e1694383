"""The evaluation report: every number with its sample size, and an interval where one can be had.

Only the shape lives here; `performance`, `fairness` and `explanation` compute the numbers. Probabilities and
rates are fractions of one. "Favourable" is the outcome the person wants; "approved" means the model's score is
at or above the approval cut-off.
"""

from __future__ import annotations

import msgspec


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number, the confidence interval around it, and how many records it rests on."""

    value: float | None
    """None where the number is not defined, e.g. a rate over nobody."""
    low: float | None
    high: float | None
    """None where an interval cannot be had, e.g. around a mean of one record."""
    n: int
    """Of a comparison, the size of the smaller side: it is no better founded than that."""


class Performance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How well the score ranks and how far off its probabilities are, on held-out records."""

    favourable_rate: Measure
    approval_rate: Measure
    auc: Measure
    ks: Measure
    brier: Measure
    average_precision: Measure
    """The favourable outcome is the positive class; a score that knows nothing has the favourable rate."""


class ScoreBin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many records of each true outcome have a score in [low, high); the last bin includes 1."""

    low: float
    high: float
    favourable: int
    unfavourable: int


class ScoreBand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bin of the reliability diagram."""

    low: float
    high: float
    n: int
    mean_score: float
    favourable_rate: float


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a score of 0.8 means eight in ten."""

    error: Measure
    """Expected calibration error over equal-count bands."""
    slope: float | None
    intercept: float | None
    """Of the logistic recalibration of outcome on log-odds: 1 and 0 are perfect; None where it has no solution."""
    bands: list[ScoreBand]


class GroupFairness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one group fares, by itself and against the reference group."""

    group: str
    reference: bool
    n: int
    selection_rate: Measure
    true_positive_rate: Measure
    """Approved among those whose true outcome was favourable."""
    false_positive_rate: Measure
    """Approved among those whose true outcome was not."""
    mean_score: Measure
    calibration_error: Measure
    adverse_impact_ratio: Measure
    """Selection rate over the reference group's; 1 by definition for the reference group itself."""
    standardized_mean_difference: Measure
    """Mean score minus the reference group's, over the pooled standard deviation of the two."""
    equal_opportunity_difference: Measure
    """True positive rate minus the reference group's."""
    p_value: float | None
    """Of equal selection rates: Fisher's exact test where a cell is small, two-proportion z otherwise."""
    p_value_adjusted: float | None
    """After Benjamini-Hochberg over every group of every attribute."""
    flips_to_parity: int | None
    """How many more approvals bring the ratio to the limit; small numbers make a fragile verdict."""
    flips_to_impact: int | None
    """How many approvals fewer bring the ratio below the limit: the same question asked of a pass."""


class AttributeFairness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fairness over the groups of one protected attribute."""

    attribute: str
    column: str
    reference: str
    used_as_feature: bool
    unassigned: int
    """Held-out records whose value belongs to no declared group."""
    demographic_parity_difference: float | None
    """Largest minus smallest selection rate."""
    demographic_parity_ratio: float | None
    """Smallest over largest selection rate."""
    equalized_odds_difference: float | None
    """The larger of the spreads of true and of false positive rates."""
    groups: list[GroupFairness]


class FeatureImportance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one reason code moves, in log-odds, over the held-out records."""

    code: str
    mean_absolute: float
    share_of_declines: float
    """In how many adverse decisions it is among the stated reasons."""


class Explanation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the reasons hold: they add up, they obey the declared directions, they do not hang on a convention."""

    rows: int
    declines: int
    largest_additivity_error: float
    """Of sum of contributions = f(x) - f(reference), in log-odds."""
    monotonic_violations: int
    """Records whose score moves against a declared direction when one value is changed."""
    monotonic_rows: int
    """How many records were tried for that."""
    reason_flip_rate: float | None
    """Share of adverse decisions whose set of reasons differs between the two reference conventions."""
    importances: list[FeatureImportance]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All the evidence about one fitted model on one held-out set."""

    model: str
    family: str
    model_digest: str
    data_digest: str
    created: str
    rows: int
    confidence: float
    minimum_group_size: int
    adverse_impact_ratio_limit: float
    """What flips are counted up to."""
    approve_at: float
    refer_at: float
    performance: Performance
    scores: list[ScoreBin]
    calibration: Calibration
    fairness: list[AttributeFairness]
    explanation: Explanation
    caveats: list[str]
