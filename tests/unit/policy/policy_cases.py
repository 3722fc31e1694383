"""One whole case that every built-in pack passes: a spec, and a report and lineage made by hand to go with it."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

from aboveboard.data.lineage import (
    Lineage,
    LineageColumn,
    PartitionRecord,
    SourceFile,
    SplitRecord,
    TargetRecord,
)
from aboveboard.evaluation.report import (
    AttributeFairness,
    Calibration,
    Explanation,
    FeatureImportance,
    GroupFairness,
    Measure,
    Performance,
    Report,
)
from aboveboard.spec import ModelSpec, load_spec

SPEC = Path(__file__).parent / "model.yaml"
TODAY = date(2026, 11, 21)
ROWS = 9000


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def case_spec() -> ModelSpec:
    return load_spec(SPEC)


def measure(value: float, half_width: float, n: int = ROWS) -> Measure:
    return Measure(value=value, low=value - half_width, high=value + half_width, n=n)


def lineage(spec: ModelSpec) -> Lineage:
    """Return the record of 30,000 clients whose identifier was tokenised."""
    columns = [
        LineageColumn(
            name=feature.name,
            roles=["feature"],
            type=feature.type.value,
            classification=feature.classification.value,
            legal_basis="contract",
            origin="internal",
            missing=0.0,
            masked=False,
            treatment="kept",
        )
        for feature in spec.spec.features
    ]
    columns.append(
        LineageColumn(
            name="ID",
            roles=["identifier"],
            type="string",
            classification="pii",
            legal_basis="contract",
            origin="internal",
            missing=0.0,
            masked=True,
            treatment="tokenised",
        )
    )
    partitions = {
        "train": PartitionRecord(16500, 12850, digest("1")),
        "calibration": PartitionRecord(4500, 3505, digest("2")),
        "holdout": PartitionRecord(ROWS, 7009, digest("3")),
    }
    return Lineage(
        data_digest=digest("d"),
        source=SourceFile("credit_default_taiwan.parquet", "parquet", 1_000_000, digest("e")),
        region="eu-west",
        rows=30000,
        subjects=30000,
        duplicates=0,
        columns=columns,
        dropped=[],
        unassigned={attribute.name: 0 for attribute in spec.spec.protected},
        split=SplitRecord("seed", 2005, None, partitions),
        target=TargetRecord("default_payment_next_month", 0, 23364),
        created="2026-11-21T09:00:00.000Z",
    )


def group(
    name: str, *, reference: bool, n: int, reference_n: int, rate: float, reference_rate: float
) -> GroupFairness:
    """Return a group with the interval on ln AIR that its sizes and rates give."""
    ratio = rate / reference_rate
    width = 1.96 * math.sqrt((1 - rate) / (n * rate) + (1 - reference_rate) / (reference_n * reference_rate))
    air = (
        Measure(1.0, 1.0, 1.0, n)
        if reference
        else Measure(ratio, ratio * math.exp(-width), ratio * math.exp(width), min(n, reference_n))
    )
    nothing = Measure(0.0, 0.0, 0.0, n)
    return GroupFairness(
        group=name,
        reference=reference,
        n=n,
        selection_rate=measure(rate, 0.01, n),
        true_positive_rate=measure(0.85, 0.02, n),
        false_positive_rate=measure(0.5, 0.03, n),
        mean_score=measure(0.78, 0.01, n),
        calibration_error=measure(0.01, 0.005, n),
        adverse_impact_ratio=air,
        standardized_mean_difference=nothing if reference else measure(-0.05, 0.04, n),
        equal_opportunity_difference=nothing if reference else measure(-0.01, 0.03, n),
        p_value=None if reference else 0.2,
        p_value_adjusted=None if reference else 0.4,
        flips_to_parity=0,
        flips_to_impact=None if reference else 200,
    )


def fairness(spec: ModelSpec) -> list[AttributeFairness]:
    features = {feature.name for feature in spec.spec.features}
    return [
        AttributeFairness(
            attribute=attribute.name,
            column=attribute.column,
            reference=attribute.reference,
            used_as_feature=attribute.column in features,
            unassigned=0,
            demographic_parity_difference=0.03,
            demographic_parity_ratio=0.96,
            equalized_odds_difference=0.04,
            groups=[
                group(
                    declared.name,
                    reference=declared.name == attribute.reference,
                    n=1500,
                    reference_n=1500,
                    rate=0.75 if declared.name == attribute.reference else 0.74,
                    reference_rate=0.75,
                )
                for declared in attribute.groups
            ],
        )
        for attribute in spec.spec.protected
    ]


def report(spec: ModelSpec) -> Report:
    """Return a report in which every number is well within the limits of the spec."""
    codes = sorted({spec.spec.reason_texts(feature)[0] for feature in spec.spec.features})
    return Report(
        model=spec.metadata.name,
        family=spec.spec.model.family.value,
        model_digest=digest("a"),
        data_digest=digest("d"),
        created="2026-11-21T09:05:00.000Z",
        rows=ROWS,
        confidence=0.95,
        minimum_group_size=spec.spec.evaluation.minimum_group_size,
        adverse_impact_ratio_limit=spec.spec.evaluation.limits.adverse_impact_ratio_at_least,
        approve_at=spec.spec.decision.approve_at,
        refer_at=spec.spec.decision.refer_at,
        performance=Performance(
            favourable_rate=measure(0.779, 0.009),
            approval_rate=measure(0.745, 0.009),
            auc=measure(0.779, 0.011),
            ks=measure(0.42, 0.02),
            brier=measure(0.134, 0.004),
            average_precision=measure(0.91, 0.006),
        ),
        scores=[],
        calibration=Calibration(error=measure(0.012, 0.006), slope=0.99, intercept=0.01, bands=[]),
        fairness=fairness(spec),
        explanation=Explanation(
            rows=2000,
            declines=500,
            largest_additivity_error=3e-15,
            monotonic_violations=0,
            monotonic_rows=500,
            reason_flip_rate=0.06,
            importances=[FeatureImportance(code, 0.2, 0.5) for code in codes],
        ),
        caveats=[],
    )
