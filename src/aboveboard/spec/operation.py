"""How a model is run once it is released: service levels, roll-out, monitoring, retention, and who answers for it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from aboveboard.spec.types import Duration, Fraction, Strict, Text


class Governance(Strict):
    """Who answers for the model, and the documents the law asks for."""

    validator: Text | None = None
    """Who validated it independently: not the owner (SR 26-2)."""
    dpia: Text | None = None
    """The id of the data protection impact assessment (GDPR art. 35)."""
    human_review: Text | None = None
    """Where a person can ask for a human to decide (GDPR art. 22(3))."""
    monitoring_plan: Text | None = None
    """Where the plan for ongoing monitoring is written down (SR 26-2)."""


class Serving(Strict):
    """The service level the decision server is held to."""

    p99_milliseconds: Annotated[float, Field(gt=0)] = 100.0
    availability: Annotated[float, Field(gt=0, lt=1)] = 0.999


class RolloutStep(Strict):
    """A share of traffic for the challenger, and the evidence that must exist before the next step."""

    weight: Annotated[int, Field(ge=0, le=100)]
    minimum_per_group: Annotated[int, Field(ge=1)] = 200


class Rollout(Strict):
    """How a new release takes over from the old one."""

    steps: tuple[RolloutStep, ...] = (
        RolloutStep(weight=1),
        RolloutStep(weight=5),
        RolloutStep(weight=25),
        RolloutStep(weight=100),
    )

    @model_validator(mode="after")
    def _weights_grow(self) -> Self:
        weights = [step.weight for step in self.steps]
        if weights != sorted(set(weights)):
            raise ValueError("each step's weight is above the one before")
        return self


class Monitoring(Strict):
    """When a model in production needs a look."""

    drift_index_at_most: Annotated[float, Field(gt=0)] = 0.25
    """Population stability index of a feature or of the score, against the training sample."""
    adverse_impact_ratio_at_least: Fraction = 0.8
    auc_drop_at_most: Fraction = 0.05
    minimum_decisions: Annotated[int, Field(ge=1)] = 500


class Retention(Strict):
    """How long records must be kept before a person's data may be erased."""

    decisions: Duration = "P25M"
    """25 months after notice: 12 CFR 1002.12(b)."""
    releases: Duration = "P10Y"
    """Ten years: AI Act art. 18."""
