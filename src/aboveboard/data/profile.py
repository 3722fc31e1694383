"""What a column of an unknown file looks like: its kind, its values, and how it goes with the answer.

Pure. Nothing is decided here; `proposal` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aboveboard.data import conversion

Kind = Literal["integer", "number", "boolean", "text", "time", "empty", "unreadable"]


@dataclass(frozen=True, slots=True)
class Profile:
    """One column."""

    name: str
    kind: Kind
    values: pl.Series
    """In the type of the kind."""
    missing: float
    distinct: int
    """Without the missing ones."""

    @property
    def numeric(self) -> bool:
        """Whether it holds quantities."""
        return self.kind in ("integer", "number")

    @property
    def low(self) -> float:
        """The smallest value of a numeric column."""
        return float(self.values.min())  # type: ignore[arg-type]

    @property
    def high(self) -> float:
        """The largest value of a numeric column."""
        return float(self.values.max())  # type: ignore[arg-type]

    def counts(self) -> list[tuple[bool | int | float | str, int]]:
        """Return every value and how many records have it, the most frequent first, ties by value."""
        table = self.values.drop_nulls().value_counts(name="n")
        return sorted(table.rows(), key=lambda row: (-row[1], str(row[0])))


def profile(series: pl.Series) -> Profile:
    """Return what a column looks like. Text that is numbers, true/false or ISO dates throughout is taken for that."""
    kind, values = _kind(series)
    missing = series.null_count() / max(len(series), 1)
    return Profile(series.name, kind, values, missing, values.drop_nulls().n_unique())


def _kind(series: pl.Series) -> tuple[Kind, pl.Series]:
    if series.null_count() == len(series):
        return "empty", series
    if series.dtype == pl.Boolean:
        return "boolean", series
    if series.dtype == pl.String and series.drop_nulls().str.to_lowercase().is_in(["true", "false"]).all():
        return "boolean", conversion.to_boolean(series).values
    if series.dtype == pl.String or series.dtype.is_numeric():
        for kind, convert in (("integer", conversion.to_integer), ("number", conversion.to_number)):
            converted = convert(series)
            if not converted.failed.any():
                return ("integer" if kind == "integer" else "number"), converted.values
    moments = conversion.to_moment(series)
    if not moments.failed.any():
        return "time", moments.values
    return ("text", series) if series.dtype == pl.String else ("unreadable", series)


def separation(column: Profile, favourable: NDArray[np.bool_]) -> float:
    """Return the AUC of a single column for the favourable outcome, in [0, 1]; 0.5 says nothing.

    Numbers are ranked as they are (Mann-Whitney, ties count half); other values by their own favourable rate, so
    that theirs is never below 0.5. Records without a value are left out; 0.5 where no pair can be compared.
    """
    present = column.values.is_not_null().to_numpy()
    outcome = favourable[present]
    values = column.values.drop_nulls()
    if column.numeric:
        scores = values.to_numpy().astype(np.float64)
    else:
        _, codes = np.unique(values.cast(pl.String).to_numpy().astype(np.str_), return_inverse=True)
        members = np.bincount(codes)
        scores = (np.bincount(codes, weights=outcome) / members)[codes]
    good, bad = int(outcome.sum()), int((~outcome).sum())
    if good == 0 or bad == 0:
        return 0.5
    ranks = pl.Series(scores).rank(method="average").to_numpy()
    return float((ranks[outcome].sum() - good * (good + 1) / 2) / (good * bad))


def presence_separation(column: Profile, favourable: NDArray[np.bool_]) -> float:
    """Return the AUC of whether there is a value at all: one entered only after the outcome gives it away."""
    present = column.values.is_not_null().to_numpy()
    good, bad = favourable, ~favourable
    if not good.any() or not bad.any():
        return 0.5
    return float(0.5 + (present[good].mean() - present[bad].mean()) / 2)
