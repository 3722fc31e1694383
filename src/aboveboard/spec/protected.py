"""Protected attributes and the groups whose treatment is compared."""

from __future__ import annotations

import itertools
from typing import Annotated, Self

from pydantic import Field, model_validator

from aboveboard.spec.types import Column, Name, Scalar, Strict, Text


def _spelling(value: Scalar) -> str:
    """Return how a value is written where 2, 2.0 and "2" are the same answer."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class Group(Strict):
    """People who share a value of a protected attribute: listed values, or a band `from` ≤ value < `below`."""

    name: Name
    values: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    from_: Annotated[float | None, Field(alias="from")] = None
    below: float | None = None

    def holds(self, value: Scalar) -> bool:
        """Tell whether a person with this value belongs here; a number matches its spelling (2, 2.0 and "2")."""
        if self.values is not None:
            return _spelling(value) in {_spelling(listed) for listed in self.values}
        if isinstance(value, bool | str):
            return False
        return (self.from_ is None or value >= self.from_) and (self.below is None or value < self.below)

    @model_validator(mode="after")
    def _values_or_band(self) -> Self:
        band = self.from_ is not None or self.below is not None
        if band == (self.values is not None):
            raise ValueError("a group has either values, or a band given by from and/or below")
        if self.from_ is not None and self.below is not None and self.from_ >= self.below:
            raise ValueError("the band is empty: from is not less than below")
        return self


class ProtectedAttribute(Strict):
    """A characteristic the law protects. It is read to check fairness, and kept from the model."""

    name: Name
    column: Column
    description: Text | None = None
    groups: Annotated[tuple[Group, ...], Field(min_length=2)]
    reference: Name
    """The group the others are compared with."""

    def group_of(self, value: Scalar | None) -> str | None:
        """Return the name of the group a value belongs to, or None where it is missing or in no group."""
        if value is None:
            return None
        return next((group.name for group in self.groups if group.holds(value)), None)

    @model_validator(mode="after")
    def _groups_are_distinct(self) -> Self:
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise ValueError("two groups have the same name")
        if self.reference not in names:
            raise ValueError(f"reference group {self.reference!r} is not one of {', '.join(names)}")
        values = [_spelling(value) for group in self.groups for value in group.values or ()]
        if len(set(values)) != len(values):
            raise ValueError("a value belongs to two groups")
        bands = sorted(
            (
                group.from_ if group.from_ is not None else float("-inf"),
                group.below if group.below is not None else float("inf"),
            )
            for group in self.groups
            if group.values is None
        )
        if bands and values:
            raise ValueError("listed values and bands do not mix in one attribute")
        if any(end > start for (_, end), (start, _) in itertools.pairwise(bands)):
            raise ValueError("two bands overlap")
        return self
