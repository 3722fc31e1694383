"""Where a data set came from, what it holds and what was done to it: the record that policy and auditors read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from aboveboard.data.roles import Role


class SourceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it was read."""

    name: str
    format: str
    size: int
    """In bytes."""
    digest: str
    """Of the bytes of the file; differs between CSV and Parquet where the content digest does not."""


class LineageColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column that the spec declares, and how it was treated."""

    name: str
    roles: list[Role]
    type: str
    classification: str
    legal_basis: str
    origin: str
    missing: float
    """Share of records without a value."""
    masked: bool
    """Whether the values were replaced by keyed tokens or left out of the data set."""
    treatment: Literal["kept", "tokenised", "dropped"]
    """`dropped`: read for its role (to split by time), then left out of the data set."""


class DroppedColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of the file that the spec does not declare, so that it was not taken (GDPR art. 5(1)(c))."""

    name: str
    resembles: list[str]
    """Kinds of personal identifier its values look like, e.g. `email`."""


class PartitionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part of the data set."""

    rows: int
    favourable: int
    digest: str
    """Of the content of its records, in source order."""


class SplitRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How records were divided."""

    method: str
    seed: int
    column: str | None
    partitions: dict[str, PartitionRecord]
    """By name: train, calibration, holdout."""


class TargetRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is predicted."""

    column: str
    favourable: bool | int | float | str
    favourable_rows: int


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record of one data set. It holds names, counts and digests, and no value of any person."""

    data_digest: str
    """Of the content: see `content_digest`."""
    source: SourceFile
    region: str
    rows: int
    subjects: int
    """How many people (distinct tokens) the records are about."""
    duplicates: int
    """Records that repeat an earlier one, where the spec allows it."""
    columns: list[LineageColumn]
    dropped: list[DroppedColumn]
    unassigned: dict[str, int]
    """By protected attribute: records whose value is missing or belongs to no declared group."""
    split: SplitRecord
    target: TargetRecord
    created: str


def content_digest(columns: Mapping[str, pl.Series]) -> str:
    """Return the SHA-256 digest of the content of typed columns, as `sha256:` and 64 hex digits.

    It covers every declared column under its name and type, columns in the order of their names and records in
    the order of the source. The same records read from CSV and from Parquet, or from a file with its columns in
    another order, therefore have the same digest; another order of records has another one.
    """
    digest = hashlib.sha256()
    for name in sorted(columns):
        series = columns[name]
        present = series.is_not_null().to_numpy()
        header = f"{len(name.encode())}:{name}:{series.dtype}:{len(series)}\n"
        digest.update(header.encode())
        digest.update(np.packbits(present).tobytes())
        digest.update(_bytes_of(series.drop_nulls()))
    return "sha256:" + digest.hexdigest()


def _bytes_of(series: pl.Series) -> bytes:
    """Return the values without nulls, little-endian; strings as their lengths followed by their bytes."""
    if series.dtype == pl.String:
        lengths = series.str.len_bytes().to_numpy().astype("<u4").tobytes()
        return lengths + "".join(series.to_list()).encode()
    if series.dtype == pl.Float64:
        return (series.to_numpy() + 0.0).astype("<f8").tobytes()  # adding zero makes -0.0 and 0.0 one value
    return series.to_numpy().astype("<i8").tobytes()
