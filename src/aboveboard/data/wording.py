"""Counts and places for messages about data: which records, how many, and never what is in them."""

from __future__ import annotations

import polars as pl


def counted(number: int, one: str, many: str = "") -> str:
    """Return e.g. `1 record`, `3 records`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def row_numbers(rows: list[int]) -> str:
    """Return up to five 1-based record numbers as words; the first record after a header is row 1."""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(str(row) for row in rows[:5])}"


def count_where(where: pl.Series) -> int:
    """Return how many are true."""
    return int(where.sum() or 0)


def rows_where(where: pl.Series) -> str:
    """Return the first record numbers at which a condition holds, as words."""
    return row_numbers([index + 1 for index in where.arg_true().head(5).to_list()])


def found(where: pl.Series, noun: str, what: str) -> str:
    """Return e.g. `3 values below the minimum of 0; first in rows 4, 9, 17`."""
    return f"{counted(count_where(where), noun)} {what}; first in {rows_where(where)}"
