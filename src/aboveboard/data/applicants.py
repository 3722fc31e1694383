"""People to decide about, from a table: no outcome is known yet, and each is refused or decided by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from aboveboard.data.contract import convert_feature
from aboveboard.data.conversion import Converted, spelling
from aboveboard.data.roles import convert_protected
from aboveboard.data.source import read_source
from aboveboard.spec import ModelSpec
from aboveboard.spec.tables import table_format


@dataclass(frozen=True, slots=True)
class Applicant:
    """One person as a decision request wants them."""

    subject: str
    """The identifier in the spec's identifier column, or `row N`, counted from 1, where there is none."""
    features: dict[str, Any]
    cohort: dict[str, Any]
    """Protected attributes, for monitoring fairness only."""


def read_applicants(spec: ModelSpec, path: Path) -> list[Applicant]:
    """Return the people in a CSV or Parquet file with the columns of the spec; the target need not be there.

    Values come in their declared types. One that does not fit stays as it is written, and one that is missing is
    left out, for the decision path to refuse that person alone. Raises `DataRefused` for an unreadable file.
    """
    body = spec.spec
    frame = read_source(path, table_format(path), body.data.source.null_values).frame
    features = {
        feature.name: _values(frame[feature.name], convert_feature(frame[feature.name], feature))
        for feature in body.features
        if feature.name in frame.columns
    }
    cohort = {
        attribute.name: _values(frame[attribute.column], convert_protected(frame[attribute.column], attribute))
        for attribute in body.protected
        if attribute.column in frame.columns
    }
    names = spelling(frame[body.data.identifier]) if body.data.identifier in frame.columns else None
    return [
        Applicant(
            subject=f"row {row + 1}" if names is None or names[row] is None else names[row],
            features={name: values[row] for name, values in features.items() if values[row] is not None},
            cohort={name: values[row] for name, values in cohort.items() if values[row] is not None},
        )
        for row in range(frame.height)
    ]


def _values(source: pl.Series, converted: Converted) -> list[Any]:
    """Return converted values, and where one does not fit what is written there."""
    return [
        written if failed else value
        for written, value, failed in zip(source, converted.values, converted.failed, strict=True)
    ]
