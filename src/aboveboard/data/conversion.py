"""Turning a column as it was read into the type its contract declares, and marking what does not fit.

Conversions lose nothing and guess nothing: a value either is of the declared type, in one of the spellings named
below, or it is marked as failed. Values are never put into messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from aboveboard.spec.types import Scalar

LARGEST_INTEGER = 2**53
"""Beyond it a 64-bit float skips whole numbers (IEEE 754) and canonical JSON refuses them (RFC 8785)."""

_INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TRUE = ("true", "yes", "y", "t", "1")
_FALSE = ("false", "no", "n", "f", "0")


@dataclass(frozen=True, slots=True)
class Converted:
    """The values that fit, null elsewhere, and where a value was present and did not fit."""

    values: pl.Series
    failed: pl.Series
    """Boolean, one per record."""


def to_number(series: pl.Series) -> Converted:
    """Return 64-bit floats. Text is a decimal number (`-1.5`, `2e3`); NaN and infinities do not fit."""
    if series.dtype == pl.String:
        numeric = _where(series, series.str.contains(_NUMBER)).cast(pl.Float64, strict=False)
    elif series.dtype.is_numeric():
        numeric = series.cast(pl.Float64, strict=False)
    else:
        return _nothing_fits(series, pl.Float64)
    return _converted(series, _where(numeric, numeric.is_finite()))


def to_integer(series: pl.Series) -> Converted:
    """Return 64-bit integers up to 2^53 in size. `5.0` is a whole number; `5.5`, `5e0` and `true` are not."""
    if series.dtype == pl.String:
        whole = _where(series, series.str.contains(_INTEGER)).str.replace(r"\.0*$", "")
        integers = whole.str.strip_prefix("+").cast(pl.Int64, strict=False)
    elif series.dtype.is_integer():
        integers = series.cast(pl.Int64, strict=False)
    elif series.dtype.is_numeric():
        floats = series.cast(pl.Float64, strict=False)
        integers = _where(floats, floats.is_finite() & (floats == floats.floor())).cast(pl.Int64, strict=False)
    else:
        return _nothing_fits(series, pl.Int64)
    return _converted(series, _where(integers, integers.is_between(-LARGEST_INTEGER, LARGEST_INTEGER)))


def to_boolean(series: pl.Series) -> Converted:
    """Return booleans. Text is true/false, yes/no, y/n, t/f or 1/0 in any case; numbers are 1 or 0."""
    if series.dtype == pl.Boolean:
        return _converted(series, series)
    spelled = spelling(series)
    if spelled is None:
        return _nothing_fits(series, pl.Boolean)
    truth = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
    return _converted(series, spelled.str.to_lowercase().replace_strict(truth, default=None, return_dtype=pl.Boolean))


def to_category(series: pl.Series, categories: Sequence[Scalar]) -> Converted:
    """Return the declared categories that the values spell; a number matches its spelling (2, 2.0 and "2")."""
    listed = _in_type_of(series, categories)
    known = [spell(category) for category in categories] if listed.values.dtype == pl.String else list(categories)
    return _converted(series, _where(listed.values, listed.values.is_in(known)))


def like(series: pl.Series, declared: Sequence[Scalar]) -> Converted:
    """Return the values in the type of the declared ones; all of them as text where one is not of that type."""
    listed = _in_type_of(series, declared)
    return to_text(series) if listed.failed.any() else listed


def to_moment(series: pl.Series) -> Converted:
    """Return numbers that grow with time, from dates, times or numbers; text is ISO 8601, or a decimal number."""
    if series.dtype in (pl.Date, pl.Datetime):
        return _converted(series, series.cast(pl.Datetime("us")).to_physical().cast(pl.Float64))
    if series.dtype != pl.String:
        return to_number(series)
    numbers = to_number(series)
    if not numbers.failed.any():
        return numbers
    padded = series.str.replace(" ", "T").str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00")
    padded = padded.str.strip_suffix("Z").str.replace(r"^(.*T\d{2}:\d{2})$", "${1}:00")
    moments = padded.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return _converted(series, moments.to_physical().cast(pl.Float64))


def to_text(series: pl.Series) -> Converted:
    """Return every value's spelling; lists, structures and bytes do not fit."""
    spelled = spelling(series)
    return _nothing_fits(series, pl.String) if spelled is None else _converted(series, spelled)


def _in_type_of(series: pl.Series, declared: Sequence[Scalar]) -> Converted:
    kinds = {type(value) for value in declared}
    if kinds == {bool}:
        return to_boolean(series)
    if kinds == {int}:
        return to_integer(series)
    if kinds <= {int, float}:
        return to_number(series)
    return to_text(series)


def spelling(series: pl.Series) -> pl.Series | None:
    """Return values as text: `true`, `12`, `1.5`, dates in ISO 8601; a whole float is spelled as an integer.

    None when the column cannot be spelled: lists, structures, bytes.
    """
    if series.dtype == pl.String:
        return series
    if series.dtype.is_float() or series.dtype.is_decimal():
        whole = to_integer(series)
        if not whole.failed.any():
            return whole.values.cast(pl.String)
        floats = series.cast(pl.Float64).fill_nan(None)
        return pl.Series(series.name, [None if v is None else spell(v) for v in floats.to_list()], dtype=pl.String)
    if series.dtype.is_integer() or series.dtype.is_temporal() or series.dtype in (pl.Boolean, pl.Null):
        return series.cast(pl.String)
    return None


def spell(value: Scalar) -> str:
    """Return one value as `spelling` writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _where(series: pl.Series, condition: pl.Series) -> pl.Series:
    """Keep values where the condition holds; null elsewhere."""
    return series.zip_with(condition.fill_null(False), pl.Series(series.name, [None], dtype=series.dtype))


def _converted(source: pl.Series, values: pl.Series) -> Converted:
    return Converted(values.alias(source.name), source.is_not_null() & values.is_null())


def _nothing_fits(series: pl.Series, dtype: type[pl.DataType]) -> Converted:
    return Converted(pl.Series(series.name, [None] * len(series), dtype=dtype()), series.is_not_null())
