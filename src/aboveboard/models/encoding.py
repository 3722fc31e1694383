"""From a record as people write it to the row of numbers a model reads: strictly, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified, RequestRefused
from aboveboard.models.contract import EncodedFeature, Value, check_features
from aboveboard.spec.types import FeatureType, Monotonic

if TYPE_CHECKING:
    from aboveboard.spec import ModelSpec

_SHOWN: Final = 64
"""Of a name nobody declared, how many characters are repeated; and how many such names are listed."""


@dataclass(frozen=True)
class Encoding:
    """How records become rows: features in declared order, categories as one-hot columns, booleans 0 and 1.

    A missing value, where it is allowed, is NaN in every column of its feature. Raises `NotVerified` when the
    features contradict themselves, as they can only in a damaged file.
    """

    features: tuple[EncodedFeature, ...]
    owner: NDArray[np.intp] = field(init=False, repr=False, compare=False)
    """For each column, the index of the feature it comes from."""
    column_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The feature's name, or `name=category`."""
    _steps: tuple[tuple[Any, ...], ...] = field(init=False, repr=False, compare=False)
    """What the hot path needs about each feature: name, low, high, whole, blank, levels."""

    def __post_init__(self) -> None:
        check_features(self.features)
        owner = [index for index, feature in enumerate(self.features) for _ in range(feature.width)]
        object.__setattr__(self, "owner", np.array(owner, dtype=np.intp))
        object.__setattr__(self, "column_names", tuple(name for f in self.features for name in f.column_names))
        object.__setattr__(self, "_steps", tuple(_step(feature) for feature in self.features))

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Encoding:
        """Return the encoding of the features a model spec declares."""
        return cls(
            tuple(
                EncodedFeature(
                    name=feature.name,
                    type=feature.type,
                    minimum=feature.minimum,
                    maximum=feature.maximum,
                    categories=feature.categories,
                    optional=feature.max_missing > 0,
                    monotonic=feature.monotonic,
                )
                for feature in spec.spec.features
            )
        )

    @classmethod
    def from_json(cls, content: bytes) -> Encoding:
        """Return the encoding that `to_json` wrote. Raises `NotVerified`."""
        try:
            return cls(msgspec.json.decode(content, type=tuple[EncodedFeature, ...]))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NotVerified(f"not an encoding: {error}", hint="fetch or build the model again") from error

    def to_json(self) -> bytes:
        """Return the encoding as JSON, a list of features."""
        return msgspec.json.encode(self.features)

    @property
    def width(self) -> int:
        """The number of columns of a row."""
        return len(self.column_names)

    @property
    def monotonic(self) -> tuple[int, ...]:
        """For each column, 1 where the score may only rise with it, -1 where it may only fall, else 0."""
        sign = {Monotonic.INCREASING: 1, Monotonic.DECREASING: -1, Monotonic.NONE: 0}
        return tuple(sign[feature.monotonic] for feature in self.features for _ in range(feature.width))

    def columns_of(self, feature: int) -> slice:
        """Return where the columns of the feature with this index stand in a row."""
        start = int(np.searchsorted(self.owner, feature))
        return slice(start, start + self.features[feature].width)

    def encode(self, record: Mapping[str, object]) -> NDArray[np.float64]:
        """Return the row, shape (width,), of one record.

        A whole number may be given as 5 or 5.0. A boolean is not a number, a number is not a boolean, and NaN
        and infinity are nothing at all. Raises `RequestRefused` with everything that is wrong: its fact
        `problems` is a list of {feature, problem}, in which no value is repeated.
        """
        row: list[float] = []
        absent = 0
        get: Any = record.get
        for name, low, high, whole, blank, levels in self._steps:
            value = get(name)
            if value is None:
                if blank is None:
                    raise self._refusal(record)
                absent += name not in record
                row += blank
                continue
            kind = type(value)
            if levels is None:
                if kind is float:
                    if not low <= value <= high or (whole and value % 1):
                        raise self._refusal(record)
                elif kind is not int or not low <= value <= high:
                    raise self._refusal(record)
                row.append(value)
            else:
                level = levels[kind].get(value) if kind in levels else None
                if level is None:
                    raise self._refusal(record)
                row += level
        if len(record) + absent != len(self._steps):
            raise self._refusal(record)
        return np.array(row, dtype=np.float64)

    def encode_columns(self, columns: Mapping[str, Sequence[object]]) -> NDArray[np.float64]:
        """Return the rows, shape (n, width), of n records given by column, under the contract of `encode`.

        Raises `RequestRefused` with everything that is wrong, by feature and with counts.
        """
        lists = {name: list(values) for name, values in columns.items()}
        lengths = {len(values) for values in lists.values()}
        if len(lengths) > 1:
            raise _refused([{"feature": "", "problem": "the columns differ in length"}])
        rows = np.empty((lengths.pop() if lengths else 0, self.width))
        problems = list(self._unknown(columns))
        for index, feature in enumerate(self.features):
            if feature.name in lists:
                values, problem = feature.encode_column(lists[feature.name])
            else:
                values, problem = np.full((len(rows), feature.width), np.nan), None
                problem = None if feature.optional else "is missing"
            if problem is not None:
                problems.append({"feature": feature.name, "problem": problem})
            rows[:, self.columns_of(index)] = values
        if problems:
            raise _refused(problems)
        return rows

    def decode(self, row: NDArray[np.float64]) -> dict[str, Value | None]:
        """Return the record that `encode` turns into this row, shape (width,); the inverse of `encode`."""
        record: dict[str, Value | None] = {}
        for index, feature in enumerate(self.features):
            cells = row[self.columns_of(index)]
            if np.isnan(cells[0]):
                record[feature.name] = None
            elif feature.categories is not None:
                record[feature.name] = feature.categories[int(np.argmax(cells))]
            elif feature.type is FeatureType.BOOLEAN:
                record[feature.name] = bool(cells[0])
            else:
                record[feature.name] = int(cells[0]) if feature.type is FeatureType.INTEGER else float(cells[0])
        return record

    def _refusal(self, record: Mapping[str, object]) -> RequestRefused:
        """Say everything that is wrong with a record the hot path has refused."""
        problems = list(self._unknown(record))
        for feature in self.features:
            value = record.get(feature.name)
            present = feature.problem_with(value) if value is not None else None
            problem = "is missing" if value is None and not feature.optional else present
            if problem is not None:
                problems.append({"feature": feature.name, "problem": problem})
        return _refused(problems)

    def _unknown(self, names: Mapping[str, object]) -> Iterator[dict[str, str]]:
        declared = {feature.name for feature in self.features}
        for name in [name for name in names if name not in declared][:_SHOWN]:
            yield {"feature": str(name)[:_SHOWN], "problem": "is not a feature of this model"}


def _step(feature: EncodedFeature) -> tuple[Any, ...]:
    blank = (np.nan,) * feature.width if feature.optional else None
    levels = None
    if feature.levels is not None:
        levels = {
            kind: {value: _cells(feature, index) for value, index in table.items()}
            for kind, table in feature.levels.items()
        }
    return feature.name, feature.low, feature.high, feature.type is FeatureType.INTEGER, blank, levels


def _cells(feature: EncodedFeature, index: int) -> tuple[float, ...]:
    if feature.type is FeatureType.BOOLEAN:
        return (float(index),)
    return tuple(float(position == index) for position in range(feature.width))


def _refused(problems: list[dict[str, str]]) -> RequestRefused:
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    return RequestRefused(
        f"outside the contract of the model: {count}",
        hint="send every feature the model declares, with its type and range, and nothing else",
        problems=problems,
    )
