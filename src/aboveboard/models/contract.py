"""What one feature may hold, and what to say when it holds something else (never the value itself)."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified
from aboveboard.spec.types import FeatureType, Monotonic

Value = bool | int | float | str
"""What a feature of a record may hold; None stands for a missing value."""

Levels = dict[type, dict[Value, int]]
"""Where each category or truth value stands, by exact type first."""

LARGEST: Final = sys.float_info.max
_SHOWN: Final = 8
"""How many categories a message lists before it only counts them."""


class EncodedFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contract of one feature, as a model carries it with itself."""

    name: str
    type: FeatureType
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[bool | int | float | str, ...] | None = None
    optional: bool = False
    """Whether the value may be missing."""
    monotonic: Monotonic = Monotonic.NONE

    @property
    def width(self) -> int:
        """How many columns the feature takes: one for each category, else one."""
        return len(self.categories) if self.categories is not None else 1

    @property
    def column_names(self) -> tuple[str, ...]:
        """The feature's name, or `name=category` for each category."""
        if self.categories is None:
            return (self.name,)
        return tuple(f"{self.name}={category}" for category in self.categories)

    @property
    def low(self) -> float:
        """The smallest number allowed; every finite one where no minimum is declared."""
        return -LARGEST if self.minimum is None else self.minimum

    @property
    def high(self) -> float:
        """The largest number allowed; every finite one where no maximum is declared."""
        return LARGEST if self.maximum is None else self.maximum

    @property
    def levels(self) -> Levels | None:
        """Where each category or truth value stands, by exact type first, so that True is never 1.

        A category is known by its value and by its spelling: 2, 2.0 and "2" are one category, as they are for the
        data contract. None for a feature that is a quantity.
        """
        if self.type is FeatureType.BOOLEAN:
            return {bool: {False: 0, True: 1}}
        if self.categories is None:
            return None
        table: Levels = {}
        exact = list(enumerate(self.categories))
        aliases = [(index, alias) for index, category in exact for alias in _aliases(category)]
        for index, value in [*exact, *aliases]:
            table.setdefault(type(value), {}).setdefault(value, index)
        return table

    def problem_with(self, value: object) -> str | None:
        """Return what is wrong with one present value, or None where nothing is."""
        levels = self.levels
        if levels is not None:
            known = type(value) in levels and value in levels[type(value)]
            return None if known else self._expected
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._expected
        if isinstance(value, float) and not math.isfinite(value):
            return "is not a finite number"
        if not self.low <= value <= self.high:
            return self._range
        if self.type is FeatureType.INTEGER and value % 1:
            return self._expected
        return None

    def encode_column(self, values: Sequence[object]) -> tuple[NDArray[np.float64], str | None]:
        """Return the columns, shape (n, width), of n values, and what is wrong with them or None."""
        missing = sum(value is None for value in values)
        if missing and not self.optional:
            return self._nothing(values), f"is missing in {missing} of {len(values)} records"
        levels = self.levels
        return self._quantities(values) if levels is None else self._one_hot(values, levels)

    def _quantities(self, values: Sequence[object]) -> tuple[NDArray[np.float64], str | None]:
        if not set(map(type, values)) <= {int, float, NoneType}:
            others = sum(type(value) not in (int, float, NoneType) for value in values)
            return self._nothing(values), f"{self._expected} in {others} of {len(values)} records"
        try:
            column = np.array(values, dtype=np.float64)
        except OverflowError:  # a Python integer beyond the largest float
            huge = sum(isinstance(value, int) and abs(value) > LARGEST for value in values)
            return self._nothing(values), f"{self._range} in {huge} of {len(values)} records"
        absent = np.array([value is None for value in values], dtype=np.bool_)
        present = column[~absent]
        for wrong, problem in (  # in the order of a single value's checks
            (~np.isfinite(present), "is not a finite number"),
            (np.isfinite(present) & ~((present >= self.low) & (present <= self.high)), self._range),
            (np.isfinite(present) & (np.trunc(present) != present), self._expected),
        ):
            if problem == self._expected and self.type is not FeatureType.INTEGER:
                continue
            if count := int(wrong.sum()):
                return self._nothing(values), f"{problem} in {count} of {len(values)} records"
        return column.reshape(-1, 1), None

    def _one_hot(self, values: Sequence[object], levels: Levels) -> tuple[NDArray[np.float64], str | None]:
        unknown, absent = -1, -2
        known: dict[type, dict[Any, int]] = {**levels, NoneType: {None: absent}}
        codes = np.array(
            [known[type(value)].get(value, unknown) if type(value) in known else unknown for value in values],
            dtype=np.intp,
        )
        if count := int((codes == unknown).sum()):
            return self._nothing(values), f"{self._expected} in {count} of {len(values)} records"
        if self.type is FeatureType.BOOLEAN:
            columns = codes.astype(np.float64).reshape(-1, 1)
        else:
            columns = np.zeros((len(values), self.width))
            rows = np.flatnonzero(codes >= 0)
            columns[rows, codes[rows]] = 1.0
        columns[codes == absent] = np.nan
        return columns, None

    def _nothing(self, values: Sequence[object]) -> NDArray[np.float64]:
        return np.full((len(values), self.width), np.nan)

    @property
    def _expected(self) -> str:
        match self.type:
            case FeatureType.NUMBER:
                return "is not a number"
            case FeatureType.INTEGER:
                return "is not a whole number"
            case FeatureType.BOOLEAN:
                return "is neither true nor false"
            case FeatureType.CATEGORY:
                categories = self.categories or ()
                listed = ", ".join(repr(category) for category in categories[:_SHOWN])
                more = f" and {len(categories) - _SHOWN} more" if len(categories) > _SHOWN else ""
                return f"is not one of {listed}{more}"

    @property
    def _range(self) -> str:
        if self.minimum is None and self.maximum is None:
            return "is too large a number"
        if self.minimum is None:
            return f"is above the maximum of {self.maximum:g}"
        if self.maximum is None:
            return f"is below the minimum of {self.minimum:g}"
        return f"is outside the range from {self.minimum:g} to {self.maximum:g}"


def _aliases(category: Value) -> Iterator[Value]:
    """Yield other ways to give a category."""
    if isinstance(category, bool):
        yield str(category).lower()
    elif isinstance(category, str):
        if re.fullmatch(r"0|-?[1-9][0-9]{0,14}", category):
            yield int(category)
            yield float(category)
    else:
        yield str(category)
        yield float(category)
        if category == int(category):
            yield int(category)
            yield str(int(category))


def check_features(features: Sequence[EncodedFeature]) -> None:
    """Raise `NotVerified` where the features contradict themselves, as they can only in a damaged file."""
    names = [feature.name for feature in features]
    sound = len(set(names)) == len(names) > 0 and all(_sound(feature) for feature in features)
    if not sound:
        raise NotVerified("the model's features contradict themselves", hint="fetch or build the model again")


def _sound(feature: EncodedFeature) -> bool:
    category = feature.type is FeatureType.CATEGORY
    numeric = feature.type in (FeatureType.NUMBER, FeatureType.INTEGER)
    bounds = [bound for bound in (feature.minimum, feature.maximum) if bound is not None]
    spellings = [str(value) for value in feature.categories or ()]
    return (
        bool(feature.name)
        and category == bool(feature.categories)
        and (feature.categories is None) == (not category)
        and len(set(spellings)) == len(spellings)
        and (numeric or not bounds)
        and all(math.isfinite(bound) for bound in bounds)
        and feature.low <= feature.high
        and (not category or feature.monotonic is Monotonic.NONE)
    )
