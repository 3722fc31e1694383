"""What a person, or the terms of an application, could change about a feature: so that advice asks nobody for more.

The words are those of Ustun, Spangher & Liu, "Actionable Recourse in Linear Classification" (FAT* 2019): a feature
is immutable unless it is declared otherwise, and what can be changed has a direction, a grid and a bound.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from aboveboard.spec.types import Strict


class Direction(StrEnum):
    """Which way a value can go. Categories go in the order in which they are listed, and false comes before true."""

    NONE = "none"
    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class Recourse(Strict):
    """How the value of a feature could be another one, so that a notice may say what would change the outcome."""

    change: Direction = Direction.NONE
    step: Annotated[float, Field(gt=0)] | None = None
    """Values that are named are multiples of it. A whole number may leave it out: 1. Any other number must say."""
    most: Annotated[float, Field(gt=0)] | None = None
    """The largest change worth naming. Changes are measured in shares of it, or else of maximum minus minimum."""
    counter_offer: bool = False
    """Whether it is a term of the application (the amount asked for), not a property of the person."""

    @property
    def possible(self) -> bool:
        """Tell whether anything can be changed."""
        return self.change is not Direction.NONE

    @model_validator(mode="after")
    def _says_which_way(self) -> Self:
        if not self.possible and (self.step is not None or self.most is not None or self.counter_offer):
            raise ValueError("say which way the value can change: change")
        return self
