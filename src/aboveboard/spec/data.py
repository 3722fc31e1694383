"""Where the data comes from, which column is the answer, and what each feature must look like."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from aboveboard.spec.recourse import Direction, Recourse
from aboveboard.spec.tables import TableFormat
from aboveboard.spec.types import (
    Classification,
    Column,
    FeatureType,
    Fraction,
    LegalBasis,
    Monotonic,
    Name,
    Origin,
    Scalar,
    Strict,
    Text,
    Texts,
)

_IN_VAIN: Final = (
    (Monotonic.INCREASING, Direction.DECREASE),
    (Monotonic.DECREASING, Direction.INCREASE),
)
"""Ways to change a value that the declared direction of the score rules out."""


class Source(Strict):
    """One file of records, CSV or Parquet, named relative to model.yaml."""

    path: Text
    format: TableFormat
    region: Name
    """Where the records are kept; they are not read in a region that residency does not allow."""
    null_values: tuple[str, ...] = ("",)
    """Spellings of a missing value in a CSV file."""


class Target(Strict):
    """The column to be predicted, and the value of it that is good for the person concerned."""

    column: Column
    favourable: Scalar


class Split(Strict):
    """Which records train the model and which are held out to judge it.

    By seed (a keyed permutation), or by time (the newest records are held out) when a column is named.
    """

    method: Literal["seed", "time"] = "seed"
    seed: Annotated[int, Field(ge=0)] = 0
    column: Column | None = None
    calibration: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    holdout: Annotated[float, Field(gt=0, lt=0.6)] = 0.3

    @model_validator(mode="after")
    def _time_needs_a_column(self) -> Self:
        if self.method == "time" and self.column is None:
            raise ValueError("a split by time needs the column that says when")
        return self


class DataSpec(Strict):
    """The data contract beyond the features: source, answer, identifier and how records are split."""

    source: Source
    target: Target
    identifier: Column | None = None
    """Names the person; replaced by a keyed token before anything is stored."""
    legal_basis: LegalBasis
    """Holds for every feature that does not state its own."""
    origin: Origin = Origin.INTERNAL
    """Holds for every feature that does not state its own."""
    minimum_rows: Annotated[int, Field(ge=1)] = 500
    allow_duplicates: bool = False
    """Whether the same record may appear twice (equal in every column, the identifier included)."""
    split: Split = Split()


class Feature(Strict):
    """One input of the model: its contract, its protection and the words for it when it counts against someone."""

    name: Column
    type: FeatureType
    unit: Text | None = None
    description: Text | None = None
    classification: Classification
    legal_basis: LegalBasis | None = None
    origin: Origin | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=256)] | None = None
    max_missing: Fraction = 0.0
    """The largest share of records in which the value may be missing."""
    monotonic: Monotonic = Monotonic.NONE
    protected_use: Text | None = None
    """Why a protected attribute may be used as a feature: the statute that allows it. Policy still decides."""
    proxy_for: tuple[Name, ...] = ()
    """Protected attributes it is known to stand in for. Nobody is advised to change it."""
    recourse: Recourse = Recourse()
    """What a person, or the terms applied for, could change about it. Nothing, unless it is said here."""
    reason_group: Name | None = None
    """Declared-correlated features share a group: their contributions are added up before reasons are ranked."""
    reasons: Texts | None = None
    """What an applicant is told when this feature lowered the score, by language. Its group's text stands first."""

    @model_validator(mode="after")
    def _contract_fits_the_type(self) -> Self:
        numeric = self.type in (FeatureType.NUMBER, FeatureType.INTEGER)
        if self.type is FeatureType.CATEGORY and self.categories is None:
            raise ValueError("a category feature lists its categories")
        if self.categories is not None and self.type is not FeatureType.CATEGORY:
            raise ValueError(f"categories do not go with type {self.type}")
        if self.categories is not None and len({str(c) for c in self.categories}) != len(self.categories):
            raise ValueError("a category is listed twice")
        if not numeric and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"minimum and maximum do not go with type {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum is above maximum")
        if self.type is FeatureType.CATEGORY and self.monotonic is not Monotonic.NONE:
            raise ValueError("a category has no order to be monotonic in")
        if self.reason_group is None and self.reasons is None:
            raise ValueError("say what an applicant is told: reasons, or a reasonGroup")
        return self

    @model_validator(mode="after")
    def _recourse_fits(self) -> Self:
        recourse = self.recourse
        if not recourse.possible:
            return self
        if self.protected_use is not None or self.proxy_for:
            raise ValueError("nobody is advised to change a protected attribute, or what stands in for one: recourse")
        if self.type in (FeatureType.CATEGORY, FeatureType.BOOLEAN):
            if recourse.step is not None or recourse.most is not None or recourse.counter_offer:
                raise ValueError(f"recourse of type {self.type} takes change only")
        elif recourse.step is None and self.type is FeatureType.NUMBER:
            raise ValueError("recourse of a number needs a step: the values that are named are multiples of it")
        elif recourse.step is not None and self.type is FeatureType.INTEGER and not recourse.step.is_integer():
            raise ValueError("the recourse step of an integer is a whole number")
        elif recourse.most is None and (self.minimum is None or self.maximum is None):
            raise ValueError("recourse needs most, or minimum and maximum: they say what a large change is")
        if (self.monotonic, recourse.change) in _IN_VAIN:
            raise ValueError(f"the score is monotonic {self.monotonic}: a recourse to {recourse.change} never helps")
        return self
