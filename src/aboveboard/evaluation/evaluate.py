"""From a fitted model and held-out records to the report: the one function that puts the measures together."""

from __future__ import annotations

from collections.abc import Iterator

from aboveboard.clock import Clock, timestamp
from aboveboard.errors import DataRefused, NotVerified, Problem
from aboveboard.evaluation.calibration import assess_calibration
from aboveboard.evaluation.explanation import assess_explanation
from aboveboard.evaluation.fairness import assess_fairness, assign_groups
from aboveboard.evaluation.performance import assess_performance, score_distribution
from aboveboard.evaluation.report import AttributeFairness, Calibration, Explanation, Report
from aboveboard.evaluation.rows import encode_frame
from aboveboard.evaluation.types import EvaluatedData, EvaluatedModel
from aboveboard.spec import ModelSpec
from aboveboard.spec.types import Purpose

HOLDOUT = "holdout"

_SLOPE_TOLERANCE = 0.1
_FLIP_TOLERANCE = 0.2


def evaluate(
    model: EvaluatedModel, spec: ModelSpec, dataset: EvaluatedData, *, model_digest: str, clock: Clock
) -> Report:
    """Return the evidence about `model` on the held-out partition of `dataset`.

    The same model, data and clock give the same report to the last digit: what is drawn at random is drawn from
    the model's seed. Raises `DataRefused` when nothing is held out, `NotVerified` when a score is not a
    probability or a contribution not finite, and whatever the encoding refuses.
    """
    frame = dataset.rows(HOLDOUT)
    favourable = dataset.favourable[dataset.partitions[HOLDOUT]]
    if len(favourable) == 0:
        problem = Problem("spec.data.split.holdout", "no record is held out", "hold out a larger share")
        raise DataRefused("there is nothing to evaluate on", [problem], hint="see spec.data.split in model.yaml")
    features = spec.spec.features
    rows = encode_frame(model.encoding, spec, frame)
    score = model.score(rows)
    if not ((score >= 0) & (score <= 1)).all():
        raise NotVerified(
            "a score is not a probability",
            hint="look for overflow in the model's parameters, or for a calibration that does not map to [0, 1]",
        )
    approved = score >= model.approve_at
    referred = int(((score >= model.refer_at) & ~approved).sum())
    evaluation, seed = spec.spec.evaluation, spec.spec.model.seed
    confidence, limit = evaluation.confidence, evaluation.limits.adverse_impact_ratio_at_least

    calibration = assess_calibration(score, favourable, confidence=confidence, seed=seed)
    fairness = assess_fairness(
        approved,
        favourable,
        score,
        [
            assign_groups(
                attribute,
                frame[attribute.column].to_list(),
                used_as_feature=any(feature.name == attribute.column for feature in features),
            )
            for attribute in spec.spec.protected
        ],
        confidence=confidence,
        adverse_impact_limit=limit,
        seed=seed,
    )
    explanation = assess_explanation(model, rows, seed=seed)
    return Report(
        model=spec.metadata.name,
        family=spec.spec.model.family.value,
        model_digest=model_digest,
        data_digest=dataset.lineage.data_digest,
        created=timestamp(clock()),
        rows=len(favourable),
        confidence=confidence,
        minimum_group_size=evaluation.minimum_group_size,
        adverse_impact_ratio_limit=limit,
        approve_at=model.approve_at,
        refer_at=model.refer_at,
        performance=assess_performance(score, favourable, approved, confidence=confidence, seed=seed),
        scores=score_distribution(score, favourable),
        calibration=calibration,
        fairness=fairness,
        explanation=explanation,
        caveats=list(caveats(spec, calibration, fairness, explanation, referred=referred)),
    )


def caveats(
    spec: ModelSpec,
    calibration: Calibration,
    fairness: list[AttributeFairness],
    explanation: Explanation,
    *,
    referred: int,
) -> Iterator[str]:
    """Yield, in whole sentences, what a reader must know before relying on the numbers.

    `referred` is how many held-out records fall between the cut-offs.
    """
    yield _SELECTIVE_LABELS[spec.spec.purpose]
    if spec.spec.data.split.method == "seed":
        yield (
            "The held-out records were drawn at random from the same period as the training records: the report does "
            "not show how the model holds up over time. Monitoring does."
        )
    if referred:
        yield (
            f"{referred:,} held-out records fall between the cut-offs and go to a person. They count as not "
            "approved here; the person's decisions can make selection rates more equal or less."
        )
    minimum = spec.spec.evaluation.minimum_group_size
    for attribute in fairness:
        small = [f"{group.group} (n = {group.n})" for group in attribute.groups if group.n < minimum]
        if small:
            yield (
                f"{attribute.attribute}: too few held-out members for a conclusion, the minimum being {minimum}: "
                f"{', '.join(small)}."
            )
        if attribute.unassigned:
            yield (
                f"{attribute.attribute}: {attribute.unassigned:,} held-out records are missing a value or belong to "
                "no declared group, and are in none of its figures."
            )
        if attribute.used_as_feature:
            yield f"{attribute.attribute}: the model reads the protected attribute itself ({attribute.column})."
    if calibration.slope is None:
        yield "The logistic recalibration has no solution on these records, so no calibration slope is given."
    elif abs(calibration.slope - 1) > _SLOPE_TOLERANCE:
        extreme = "extreme" if calibration.slope < 1 else "timid"
        yield (
            f"The calibration slope is {calibration.slope:.2f}: the scores are too {extreme}, and probabilities far "
            "from the average should be read with care."
        )
    flips = explanation.reason_flip_rate
    if flips is not None and flips > _FLIP_TOLERANCE:
        yield (
            f"In {flips:.0%} of adverse decisions the set of stated reasons depends on which reference people are "
            f"compared with; the convention in force is {spec.spec.decision.reference.value}."
        )
    yield (
        "Calibration errors are never negative, so chance alone makes them larger, and most in the smallest groups. "
        "Read them with their intervals, and do not rank groups of different size by them."
    )


_SELECTIVE_LABELS = {
    Purpose.CREDIT_DECISION: (
        "Selective labels: outcomes are known only for credit that was granted. Rates of true and false positives, "
        "performance and calibration describe people like those accepted in the past, not everybody who applies."
    ),
    Purpose.FRAUD_DETECTION: (
        "Selective labels: what was blocked or never reviewed has no confirmed outcome. Rates of true and false "
        "positives, performance and calibration describe the transactions whose outcome became known."
    ),
    Purpose.RECOMMENDATION: (
        "Selective labels: a response is known only for what was offered. Rates of true and false positives, "
        "performance and calibration describe people like those who received an offer in the past."
    ),
    Purpose.TEXT_CLASSIFICATION: (
        "The true outcomes are labels given by people: where labelling is biased, a fair-looking error rate is too."
    ),
}
