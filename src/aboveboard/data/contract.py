"""The data contract: what the spec says about every column, held against the records. Pure; all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import polars as pl

from aboveboard.data import conversion
from aboveboard.data.conversion import Converted
from aboveboard.data.roles import (
    RESERVED,
    Checked,
    declared_roles,
    first_distinct,
    read_identifier,
    read_moments,
    read_protected,
    read_target,
)
from aboveboard.data.wording import count_where, counted, found
from aboveboard.errors import Problem
from aboveboard.spec.data import Feature
from aboveboard.spec.model import Spec
from aboveboard.spec.types import FeatureType


def check_contract(frame: pl.DataFrame, spec: Spec) -> Checked:
    """Return the declared columns of `frame` in their declared types, with all problems found on the way.

    The caller must not use the columns when there are problems.
    """
    checked = Checked()
    checked.problems += _missing_columns(frame, spec)
    checked.problems += _size(frame, spec)
    _read_features(frame, spec, checked)
    read_protected(frame, spec, checked)
    read_target(frame, spec, checked)
    read_identifier(frame, spec, checked)
    read_moments(frame, spec, checked)
    _find_duplicates(frame, spec, checked)
    return checked


def _missing_columns(frame: pl.DataFrame, spec: Spec) -> Iterator[Problem]:
    uses = declared_roles(spec)
    unclaimed = [name for name in frame.columns if name not in uses]
    for name, roles in uses.items():
        if name not in frame.columns:
            message = f"no such column; it is declared as {' and '.join(roles)}"
            yield Problem(name, message, _resembling(name, unclaimed))
        if name == RESERVED and roles != ["identifier"]:
            yield Problem(name, f"the name {RESERVED!r} is reserved for the token", "rename the column")


def _resembling(name: str, candidates: list[str]) -> str:
    """Return a suggestion among the columns that nothing else claims."""
    folded = {candidate.strip().casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    if candidates:
        shown = ", ".join(repr(candidate) for candidate in candidates[:8])
        return f"columns that nothing else uses: {shown}{' …' if len(candidates) > 8 else ''}"
    return "the file has no column that is not already used"


def _size(frame: pl.DataFrame, spec: Spec) -> Iterator[Problem]:
    if frame.height < spec.data.minimum_rows:
        yield Problem(
            "rows",
            f"{frame.height} records; at least {spec.data.minimum_rows} are required",
            "bring more data, or state a smaller data.minimumRows and live with wider intervals",
        )


def _read_features(frame: pl.DataFrame, spec: Spec, checked: Checked) -> None:
    for feature in spec.features:
        if feature.name not in frame.columns:
            continue
        if len({type(category) is str for category in feature.categories or ()}) > 1:
            checked.problems.append(
                Problem(feature.name, "categories mix text with numbers or truth values", "quote every category")
            )
            continue
        source = frame[feature.name]
        converted = convert_feature(source, feature)
        checked.columns[feature.name] = converted.values
        checked.problems += _type_problems(source, converted, feature)
        checked.problems += _range_problems(converted.values, feature)
        checked.problems += _missing_problems(source, feature)


def convert_feature(series: pl.Series, feature: Feature) -> Converted:
    """Return a feature's values in their declared type, and where they do not fit it."""
    match feature.type:
        case FeatureType.NUMBER:
            return conversion.to_number(series)
        case FeatureType.INTEGER:
            return conversion.to_integer(series)
        case FeatureType.BOOLEAN:
            return conversion.to_boolean(series)
        case FeatureType.CATEGORY:
            return conversion.to_category(series, feature.categories or ())


_EXPECTED = {
    FeatureType.NUMBER: "a finite number",
    FeatureType.INTEGER: "a whole number within ±2^53",
    FeatureType.BOOLEAN: "true or false",
    FeatureType.CATEGORY: "a declared category",
}


def _type_problems(source: pl.Series, converted: Converted, feature: Feature) -> Iterator[Problem]:
    if not converted.failed.any():
        return
    offending = source.filter(converted.failed)
    if feature.type is FeatureType.CATEGORY:
        detail = f" ({counted(offending.n_unique(), 'unknown category', 'unknown categories')})"
        hint = "add them to categories, or mend the data"
    else:
        detail, hint = "", _spelling_hint(source, offending, feature)
    yield Problem(
        feature.name,
        found(converted.failed, "value", f"not {_EXPECTED[feature.type]}{detail}"),
        hint,
    )


def _spelling_hint(source: pl.Series, offending: pl.Series, feature: Feature) -> str:
    """Guess from the shape of what failed, never from its content, what the person may want to do."""
    if source.dtype != pl.String:
        return f"the file has the type {source.dtype}; change the declared type, or write null for a missing value"
    trimmed = offending.str.strip_chars()
    if not convert_feature(trimmed, feature).failed.any():
        return "there are spaces around the values; remove them"
    if offending.n_unique() <= 3 and not trimmed.str.contains("[0-9]").any():
        return "if that is how a missing value is spelled, add the spelling to data.source.nullValues"
    if trimmed.str.contains(r"^[+-]?[0-9.]*,[0-9]+$").all():
        return "write a decimal point, and no separator between thousands"
    if feature.type is FeatureType.INTEGER and not conversion.to_number(offending).failed.any():
        return "declare type: number if fractions are meant"
    return "mend the data, or change the declared type"


def _range_problems(values: pl.Series, feature: Feature) -> Iterator[Problem]:
    if feature.minimum is not None and (below := (values < feature.minimum).fill_null(False)).any():
        yield Problem(
            feature.name,
            found(below, "value", f"below the minimum of {feature.minimum:g}"),
            "mend the data, or lower the minimum if such values are genuine",
        )
    if feature.maximum is not None and (above := (values > feature.maximum).fill_null(False)).any():
        yield Problem(
            feature.name,
            found(above, "value", f"above the maximum of {feature.maximum:g}"),
            "mend the data, or raise the maximum if such values are genuine",
        )


def _missing_problems(source: pl.Series, feature: Feature) -> Iterator[Problem]:
    missing = source.null_count() / max(len(source), 1)
    if missing > feature.max_missing:
        yield Problem(
            feature.name,
            found(source.is_null(), "value", f"missing ({missing:.2%}; at most {feature.max_missing:.2%})"),
            "state a larger maxMissing if the model may rely on a column with such gaps",
        )


def _find_duplicates(frame: pl.DataFrame, spec: Spec, checked: Checked) -> None:
    repeated = ~first_distinct(frame)
    checked.duplicates = count_where(repeated)
    if checked.duplicates and not spec.data.allow_duplicates:
        checked.problems.append(
            Problem(
                "rows",
                found(repeated, "record", "equal to an earlier one in every column"),
                "remove them, or state allowDuplicates: true if equal records can be different cases",
            )
        )
