"""How a score becomes an outcome, and what an evaluation must show before anyone relies on it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

from aboveboard.spec.types import Family, Fraction, ReferenceConvention, Strict

Parameter = int | float | str | bool


class Span(Strict):
    """A range the search may try, both ends included; `log` samples orders of magnitude evenly."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic span starts above zero")
        return self


def _kind_of_range(value: object) -> str:
    return "span" if isinstance(value, dict | Span) else "choices"


Range = Annotated[
    Annotated[Span, Tag("span")] | Annotated[tuple[Parameter, ...], Tag("choices"), Field(min_length=1)],
    Discriminator(_kind_of_range),
]
"""What one parameter may be: a span, or a list of choices."""


class Search(Strict):
    """How many candidates the training tries, and where it looks. A whole-numbered span is searched in integers."""

    trials: Annotated[int, Field(ge=1, le=10_000)] = 1
    space: dict[str, Range] = {}


class Algorithm(Strict):
    """The model family, its fixed parameters, and the space that is searched for the rest."""

    family: Family
    seed: Annotated[int, Field(ge=0)] = 0
    parameters: dict[str, Parameter] = {}
    search: Search = Search()


class ReviewSpec(Strict):
    """How people decide what the model leaves to them, and what somebody contests."""

    four_eyes: bool = False
    """Whether a second reviewer must confirm what the first decides, unless it is what the model decided."""
    deadline_days: Annotated[int, Field(ge=1, le=365)] = 30
    """How long a person may take: 30 days, 12 CFR 1002.9(a)(1)."""


class DecisionSpec(Strict):
    """Cut-offs on the calibrated probability of the favourable outcome.

    At or above `approveAt` the outcome is favourable; from `referAt` up a person decides; below it is adverse.
    """

    approve_at: Annotated[float, Field(gt=0, lt=1)]
    refer_at: Annotated[float, Field(gt=0, lt=1)]
    reference: ReferenceConvention = ReferenceConvention.AT_CUT_OFF
    max_reasons: Annotated[int, Field(ge=1, le=4)] = 4
    review: ReviewSpec = ReviewSpec()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.refer_at > self.approve_at:
            raise ValueError("referAt is above approveAt")
        return self


class Limits(Strict):
    """What the evaluation must show on held-out data. Those without a default must be stated."""

    auc_at_least: Annotated[float, Field(ge=0.5, le=1)]
    calibration_error_at_most: Fraction
    adverse_impact_ratio_at_least: Fraction
    ks_at_least: Fraction | None = None
    brier_at_most: Fraction | None = None
    equal_opportunity_difference_at_most: Fraction | None = None
    standardized_mean_difference_at_most: Annotated[float, Field(ge=0)] | None = None


class EvaluationSpec(Strict):
    """The bar a model is held to, and how sure we must be."""

    limits: Limits
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    minimum_group_size: Annotated[int, Field(ge=2)] = 30
    """A group with fewer held-out members gives no verdict: the evidence is insufficient."""
