"""What the rules judge: one flat JSON document gathered from the spec, the report and the lineage.

Every key is always there; what was not declared or not measured is null, never left out, so that a rule can tell
"none" from "unknown". Keys are snake_case, durations whole months, rates fractions of one.
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = "aboveboard.dev/facts/v1"


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of the documents below: no defaults, no unknown keys."""


class MeasureFacts(_Facts, frozen=True):
    """A number, its interval, and how many records it rests on."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class ModelFacts(_Facts, frozen=True):
    """Which model is judged, and what it is for."""

    name: str
    owner: str
    description: str | None
    purpose: str
    materiality: str
    jurisdictions: list[str]
    regions: list[str]
    family: str
    digest: str
    """Of the fitted model's files."""


class GovernanceFacts(_Facts, frozen=True):
    """Who answers for the model; null where the spec does not say."""

    validator: str | None
    dpia: str | None
    human_review: str | None
    monitoring_plan: str | None


class FeatureFacts(_Facts, frozen=True):
    """One input of the model."""

    name: str
    type: str
    description: str | None
    classification: str
    legal_basis: str
    origin: str
    monotonic: str
    is_protected: bool
    """Whether it is the column of a protected attribute."""
    protected_use: str | None
    """The statute said to allow that."""
    reason_code: str
    reason_texts: dict[str, str]
    """What an applicant is told, by language."""


class GroupFacts(_Facts, frozen=True):
    """How one group fares (see `evaluation.report.GroupFairness`)."""

    group: str
    reference: bool
    n: int
    selection_rate: MeasureFacts
    true_positive_rate: MeasureFacts
    false_positive_rate: MeasureFacts
    mean_score: MeasureFacts
    calibration_error: MeasureFacts
    adverse_impact_ratio: MeasureFacts
    standardized_mean_difference: MeasureFacts
    equal_opportunity_difference: MeasureFacts
    p_value: float | None
    p_value_adjusted: float | None
    flips_to_parity: int | None
    flips_to_impact: int | None


class ProtectedFacts(_Facts, frozen=True):
    """One protected attribute and its groups."""

    attribute: str
    column: str
    reference: str
    used_as_feature: bool
    unassigned: int
    declared_groups: int
    """How many groups the spec declares; each must appear in `groups`."""
    demographic_parity_difference: float | None
    demographic_parity_ratio: float | None
    equalized_odds_difference: float | None
    groups: list[GroupFacts]


class PerformanceFacts(_Facts, frozen=True):
    """How well the score ranks."""

    favourable_rate: MeasureFacts
    approval_rate: MeasureFacts
    auc: MeasureFacts
    ks: MeasureFacts
    brier: MeasureFacts
    average_precision: MeasureFacts


class CalibrationFacts(_Facts, frozen=True):
    """Whether probabilities mean what they say."""

    error: MeasureFacts
    slope: float | None
    intercept: float | None


class LimitFacts(_Facts, frozen=True):
    """The bar the spec itself sets; null where it sets none."""

    auc_at_least: float
    calibration_error_at_most: float
    adverse_impact_ratio_at_least: float
    ks_at_least: float | None
    brier_at_most: float | None
    equal_opportunity_difference_at_most: float | None
    standardized_mean_difference_at_most: float | None


class DecisionFacts(_Facts, frozen=True):
    """Cut-offs, and how reasons are found."""

    approve_at: float
    refer_at: float
    reference: str
    max_reasons: int


class EvaluationFacts(_Facts, frozen=True):
    """What the measures rest on."""

    created: str
    rows: int
    confidence: float
    minimum_group_size: int
    data_digest: str
    """The data set the model was judged on, as the report has it."""
    caveats: list[str]


class ExplanationFacts(_Facts, frozen=True):
    """Whether the reasons hold."""

    rows: int
    declines: int
    largest_additivity_error: float
    monotonic_violations: int
    monotonic_rows: int
    reason_flip_rate: float | None
    codes: list[str]
    """Every reason code that moves the score."""


class PartitionFacts(_Facts, frozen=True):
    """One part of the data set."""

    rows: int
    digest: str


class DataFacts(_Facts, frozen=True):
    """Where the records came from."""

    digest: str
    source_digest: str
    region: str
    rows: int
    identifier: str
    """`tokenised`, `absent` (none declared) or `raw`."""
    target: str
    split_method: str
    split_seed: int
    partitions: dict[str, PartitionFacts]


class MonitoringFacts(_Facts, frozen=True):
    """When the model in production needs a look."""

    drift_index_at_most: float
    adverse_impact_ratio_at_least: float
    auc_drop_at_most: float
    minimum_decisions: int


class RetentionFacts(_Facts, frozen=True):
    """For how many whole months, counted so that the promise holds whatever month it starts in."""

    decisions_months: int
    releases_months: int


class DeclaredFacts(_Facts, frozen=True):
    """How long the lists must be: what the spec declares, so that an entry lost on the way is noticed."""

    features: int
    protected: int


class Facts(_Facts, frozen=True):
    """The whole document, as `input` to every rule."""

    schema: str
    as_of: str
    model: ModelFacts
    governance: GovernanceFacts
    declared: DeclaredFacts
    features: list[FeatureFacts]
    protected: list[ProtectedFacts]
    performance: PerformanceFacts
    calibration: CalibrationFacts
    limits: LimitFacts
    decision: DecisionFacts
    evaluation: EvaluationFacts
    explanation: ExplanationFacts
    data: DataFacts
    monitoring: MonitoringFacts
    retention: RetentionFacts


def shape_error(facts: Any) -> str | None:
    """Return what is wrong with the shape of `facts`, with its path, or None where nothing is."""
    try:
        document = msgspec.convert(facts, Facts)
    except (msgspec.ValidationError, RecursionError) as error:
        return str(error)
    return None if document.schema == SCHEMA else f"the schema is {document.schema!r}, not {SCHEMA!r}"


def facts_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the facts."""
    return msgspec.json.schema(Facts)
