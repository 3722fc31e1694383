"""A small loan book, its spec, and a way to load what is written into a file."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aboveboard.data import Dataset, load_dataset
from aboveboard.errors import DataRefused
from aboveboard.spec.model import ModelSpec

KEY = b"k" * 32

DATA: dict[str, Any] = {
    "source": {"path": "loans.csv", "format": "csv", "region": "local"},
    "target": {"column": "repaid", "favourable": "yes"},
    "identifier": "customer",
    "legalBasis": "contract",
    "minimumRows": 100,
}

FEATURES: list[dict[str, Any]] = [
    {"name": "income", "type": "number", "minimum": 0, "maximum": 1e6, "maxMissing": 0.05},
    {"name": "late", "type": "integer", "minimum": 0, "maximum": 12},
    {"name": "housing", "type": "category", "categories": ["own", "rent"]},
    {"name": "guarantor", "type": "boolean"},
]

PROTECTED: list[dict[str, Any]] = [
    {
        "name": "sex",
        "column": "sex",
        "reference": "m",
        "groups": [{"name": "m", "values": ["m"]}, {"name": "f", "values": ["f"]}],
    },
    {
        "name": "age",
        "column": "age",
        "reference": "older",
        "groups": [{"name": "young", "below": 30}, {"name": "older", "from": 30}],
    },
]


def clock() -> datetime:
    return datetime(2026, 11, 21, tzinfo=UTC)


def make_spec(*, features: list[dict[str, Any]] | None = None, **data: Any) -> ModelSpec:
    """Return the spec of the loan book, with parts of `data` replaced."""
    common = {"classification": "financial", "reasons": {"en": "A reason"}}
    return ModelSpec.model_validate(
        {
            "apiVersion": "aboveboard.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": "loans", "owner": "risk@bank.example"},
            "spec": {
                "purpose": "credit-decision",
                "materiality": "high",
                "jurisdictions": ["us"],
                "regions": ["local"],
                "data": {**DATA, **data},
                "features": [common | feature for feature in features or FEATURES],
                "protected": PROTECTED,
                "model": {"family": "scorecard"},
                "decision": {"approveAt": 0.7, "referAt": 0.6},
                "evaluation": {
                    "limits": {"aucAtLeast": 0.6, "calibrationErrorAtMost": 0.1, "adverseImpactRatioAtLeast": 0.8}
                },
            },
        }
    )


def loans(n: int = 300) -> pl.DataFrame:
    """Return a clean loan book, the same one every time."""
    draw = random.Random(7)  # noqa: S311  not for secrets
    return pl.DataFrame(
        {
            "customer": [f"C{number:05}" for number in range(n)],
            "income": [round(draw.uniform(10_000, 90_000), 2) for _ in range(n)],
            "late": [draw.randint(0, 6) for _ in range(n)],
            "housing": [draw.choice(["own", "rent"]) for _ in range(n)],
            "guarantor": [draw.random() < 0.3 for _ in range(n)],
            "sex": [draw.choice("mf") for _ in range(n)],
            "age": [draw.randint(18, 80) for _ in range(n)],
            "repaid": [draw.choice(["yes", "yes", "no"]) for _ in range(n)],
        }
    )


def put(frame: pl.DataFrame, column: str, row: int, value: Any) -> pl.DataFrame:
    """Return the frame with one value replaced, as text; `row` counts from 1."""
    values = frame[column].cast(pl.String).to_list()
    values[row - 1] = value
    return frame.with_columns(pl.Series(column, values, dtype=pl.String))


def load(directory: Path, content: pl.DataFrame | bytes, spec: ModelSpec | None = None) -> Dataset:
    """Write the content to the spec's source in `directory` and load it."""
    spec = spec or make_spec()
    path = directory / spec.spec.data.source.path
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif spec.spec.data.source.format == "csv":
        content.write_csv(path)
    else:
        content.write_parquet(path)
    return load_dataset(spec, directory, token_key=KEY, clock=clock)


def refusal(directory: Path, content: pl.DataFrame | bytes, spec: ModelSpec | None = None) -> list[str]:
    """Return the problems, as text, for which the content is refused."""
    with pytest.raises(DataRefused) as caught:
        load(directory, content, spec)
    return [str(problem) for problem in caught.value.problems]
