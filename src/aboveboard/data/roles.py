"""Columns that are not inputs of the model: protected attributes, the answer, the identifier, the time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from aboveboard.data import conversion
from aboveboard.data.conversion import Converted
from aboveboard.data.wording import count_where, counted, found
from aboveboard.errors import Problem
from aboveboard.spec.model import Spec
from aboveboard.spec.protected import ProtectedAttribute

LARGEST_UNASSIGNED_SHARE = 0.05
"""Records outside every declared group escape the fairness check; above this share the check says too little."""


RESERVED = "subject"
"""The name of the column of tokens."""

Role = Literal["feature", "protected", "target", "identifier", "split"]


@dataclass(slots=True)
class Checked:
    """Every declared column in its declared type, and everything that is wrong."""

    columns: dict[str, pl.Series] = field(default_factory=dict)
    """Features, protected attributes and the target, by name."""
    identifier: pl.Series | None = None
    """Spelled as text. Not to be stored."""
    moments: pl.Series | None = None
    """For a split by time: a number per record that grows with time."""
    favourable: pl.Series | None = None
    unassigned: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    problems: list[Problem] = field(default_factory=list)


def declared_roles(spec: Spec) -> dict[str, list[Role]]:
    """Return every column the spec declares, with what it is for, features first."""
    roles: dict[str, list[Role]] = {}
    for feature in spec.features:
        roles.setdefault(feature.name, []).append("feature")
    for attribute in spec.protected:
        if "protected" not in (uses := roles.setdefault(attribute.column, [])):
            uses.append("protected")
    roles.setdefault(spec.data.target.column, []).append("target")
    if spec.data.identifier is not None:
        roles.setdefault(spec.data.identifier, []).append("identifier")
    if spec.data.split.method == "time" and spec.data.split.column is not None:
        roles.setdefault(spec.data.split.column, []).append("split")
    return roles


def read_protected(frame: pl.DataFrame, spec: Spec, checked: Checked) -> None:
    """Read the columns of protected attributes and count who is in no group."""
    for attribute in spec.protected:
        if attribute.column not in frame.columns:
            continue
        source = frame[attribute.column]
        values = checked.columns.get(attribute.column)  # a protected feature keeps the feature's type
        if values is None:
            converted = convert_protected(source, attribute)
            values = checked.columns[attribute.column] = converted.values
            if converted.failed.any():
                checked.problems.append(_unreadable(converted.failed, attribute))
                continue
        outside = _outside_every_group(values, attribute)
        checked.unassigned[attribute.name] = count_where(outside)
        checked.problems += _unassigned_problems(values, outside, attribute)


def _unreadable(failed: pl.Series, attribute: ProtectedAttribute) -> Problem:
    return Problem(
        attribute.column,
        found(failed, "value", f"not a finite number, but {attribute.name} has bands"),
        "mend the data, or add the spelling of a missing value to data.source.nullValues",
    )


def convert_protected(source: pl.Series, attribute: ProtectedAttribute) -> Converted:
    """Return the values of a protected attribute as its groups list them, and where they do not fit."""
    listed = [value for group in attribute.groups for value in group.values or ()]
    if listed:
        return conversion.like(source, listed)
    whole = conversion.to_integer(source)
    return conversion.to_number(source) if whole.failed.any() else whole


def _outside_every_group(values: pl.Series, attribute: ProtectedAttribute) -> pl.Series:
    distinct = values.unique().to_list()
    homeless = [value for value in distinct if value is not None and attribute.group_of(value) is None]
    return values.is_null() | values.is_in(homeless).fill_null(False)


def _unassigned_problems(values: pl.Series, outside: pl.Series, attribute: ProtectedAttribute) -> Iterator[Problem]:
    share = count_where(outside) / max(len(outside), 1)
    if share <= LARGEST_UNASSIGNED_SHARE:
        return
    missing = values.null_count()
    distinct = values.filter(outside).drop_nulls().n_unique()
    yield Problem(
        attribute.column,
        found(
            outside,
            "record",
            f"({share:.1%}; at most {LARGEST_UNASSIGNED_SHARE:.0%}) in no group of {attribute.name}: {missing} with "
            f"no value, the others with {counted(distinct, 'distinct value')} that no group names",
        ),
        "add a group for them, or a value to a group"
        if missing < count_where(outside)
        else "fairness cannot be checked on people of unknown group: complete the column, or spell the gap out "
        "(for example unknown) and declare a group for it",
    )


def read_target(frame: pl.DataFrame, spec: Spec, checked: Checked) -> None:
    """Read the answer and tell which records have the favourable one."""
    target = spec.data.target
    if target.column not in frame.columns:
        return
    source = frame[target.column]
    values = checked.columns[target.column] = conversion.like(source, [target.favourable]).values
    if source.null_count():
        checked.problems.append(
            Problem(
                target.column,
                found(source.is_null(), "record", "without an answer"),
                "leave out records whose outcome is not known yet; they cannot teach or judge a model",
            )
        )
    wanted = conversion.spell(target.favourable) if values.dtype == pl.String else target.favourable
    favourable = (values == wanted).fill_null(False)
    distinct = values.drop_nulls().n_unique()
    if not favourable.any():
        checked.problems.append(
            Problem(
                target.column,
                f"no record has the favourable value {target.favourable!r}",
                "set data.target.favourable to the value that is good for the person",
            )
        )
    elif distinct == 1:
        checked.problems.append(
            Problem(target.column, "every record has the same answer", "a model needs both outcomes to learn from")
        )
    if distinct > 2:
        checked.problems.append(
            Problem(
                target.column,
                f"{distinct} distinct values; a decision has two",
                "derive a column that says favourable or not, and leave out records that are neither",
            )
        )
    checked.favourable = favourable


def read_identifier(frame: pl.DataFrame, spec: Spec, checked: Checked) -> None:
    """Read who each record is about; nobody may occur twice unless the spec allows it."""
    name = spec.data.identifier
    if name is None or name not in frame.columns:
        return
    converted = conversion.to_text(frame[name])
    checked.identifier = converted.values
    absent = converted.values.is_null()
    if absent.any():
        checked.problems.append(
            Problem(
                name,
                found(absent, "record", "without an identifier"),
                "every record must name its person, or erasure could not find it",
            )
        )
    if spec.data.allow_duplicates:
        return
    repeated = ~converted.values.is_first_distinct() & ~absent
    exact = ~first_distinct(frame)
    if (repeated & ~exact).any():
        checked.problems.append(
            Problem(
                name,
                found(repeated & ~exact, "record", "with an identifier seen before"),
                "keep one record per person, or state allowDuplicates: true if people may occur more than once",
            )
        )


def read_moments(frame: pl.DataFrame, spec: Spec, checked: Checked) -> None:
    """Read the time to split by."""
    name = spec.data.split.column
    if spec.data.split.method != "time" or name is None or name not in frame.columns:
        return
    converted = conversion.to_moment(frame[name])
    checked.moments = converted.values
    unknown = converted.values.is_null()
    if unknown.any():
        checked.problems.append(
            Problem(
                name,
                found(unknown, "record", "without a time that can be read"),
                "write dates as 2026-11-21 or 2026-11-21T09:30:00, or as numbers that grow with time",
            )
        )


def first_distinct(frame: pl.DataFrame) -> pl.Series:
    """Tell for each record whether no earlier one equals it in every column of the file."""
    return frame.select(pl.struct(pl.all()).is_first_distinct()).to_series()
