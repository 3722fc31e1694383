"""From a file and a spec to a checked, protected and divided data set with its lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from aboveboard.clock import Clock, timestamp
from aboveboard.data.contract import check_contract
from aboveboard.data.lineage import (
    DroppedColumn,
    Lineage,
    LineageColumn,
    PartitionRecord,
    SourceFile,
    SplitRecord,
    TargetRecord,
    content_digest,
)
from aboveboard.data.protection import resembles, tokenise, undeclared_identifiers
from aboveboard.data.roles import Checked, Role, declared_roles
from aboveboard.data.source import SourceTable, read_source
from aboveboard.data.split import divide, require_both_outcomes
from aboveboard.errors import DataRefused, Misuse
from aboveboard.spec.model import ModelSpec, Spec
from aboveboard.spec.types import Classification


@dataclass(frozen=True, slots=True)
class Dataset:
    """Records fit for use: inside their contract, without raw identifiers, divided, with their lineage."""

    frame: pl.DataFrame
    """Features, protected attributes and target in their declared types, and `subject`, in source order."""
    favourable: NDArray[np.bool_]
    """(n,) whether the record has the outcome that the person wants."""
    partitions: Mapping[str, NDArray[np.int64]]
    """Row numbers by partition: train, calibration, holdout."""
    lineage: Lineage

    def rows(self, partition: str) -> pl.DataFrame:
        """Return the records of one partition, in source order."""
        if partition not in self.partitions:
            raise Misuse(f"no partition {partition!r}", hint=f"there are {', '.join(self.partitions)}")
        return self.frame[self.partitions[partition]]


def load_dataset(spec: ModelSpec, directory: Path, *, token_key: bytes, clock: Clock) -> Dataset:
    """Return the data set that `spec` declares; its source path is relative to `directory`.

    `token_key` (32 random bytes, kept) turns identifiers into tokens. Raises `DataRefused` with every problem.
    """
    declared = spec.spec
    source = declared.data.source
    table = read_source(directory / source.path, source.format, source.null_values)
    checked = check_contract(table.frame, declared)
    problems = [*checked.problems, *undeclared_identifiers(table.frame, declared)]
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataRefused(
            f"{table.name}: {count} with the data", problems, hint="mend the data, or the contract in model.yaml"
        )
    assert checked.favourable is not None  # noqa: S101  a missing target is a problem
    favourable = checked.favourable.to_numpy().astype(np.bool_)
    people, tokens = _people(checked, declared, token_key)
    moments = None if checked.moments is None else checked.moments.to_numpy()
    partitions = divide(declared.data.split, people, moments)
    require_both_outcomes(partitions, favourable, declared.data.split)
    for rows in partitions.values():
        rows.flags.writeable = False
    favourable.flags.writeable = False
    return Dataset(
        frame=pl.DataFrame([tokens, *checked.columns.values()]),
        favourable=favourable,
        partitions=partitions,
        lineage=_lineage(declared, table, checked, tokens, favourable, partitions, timestamp(clock())),
    )


def _people(checked: Checked, spec: Spec, token_key: bytes) -> tuple[list[str], pl.Series]:
    """Return who each record is about, for the split, and the tokens.

    Without an identifier a record stands for a person. Records that agree in features and protected attributes are
    then kept in one partition, whatever their outcome: twins on both sides of a split would leak the answer.
    """
    if checked.identifier is not None:
        return checked.identifier.to_list(), tokenise(checked.identifier, token_key)
    answer = spec.data.target.column
    names = [name for name in sorted(checked.columns) if name != answer]
    contents = [msgspec.json.encode(row).decode() for row in pl.DataFrame([checked.columns[n] for n in names]).rows()]
    seen: dict[str, int] = {}
    unique = []
    for content in contents:
        seen[content] = seen.get(content, 0) + 1
        unique.append(f"{content}#{seen[content]}")
    return contents, tokenise(pl.Series(unique, dtype=pl.String), token_key)


def _lineage(
    spec: Spec,
    table: SourceTable,
    checked: Checked,
    tokens: pl.Series,
    favourable: NDArray[np.bool_],
    partitions: Mapping[str, NDArray[np.int64]],
    created: str,
) -> Lineage:
    content = dict(checked.columns)
    if checked.identifier is not None and spec.data.identifier is not None:
        content[spec.data.identifier] = checked.identifier
    columns = _columns(spec, table.frame, checked)
    declared = {column.name for column in columns}
    return Lineage(
        data_digest=content_digest(content),
        source=SourceFile(name=table.name, format=table.format, size=table.size, digest=table.digest),
        region=spec.data.source.region,
        rows=table.frame.height,
        subjects=tokens.n_unique(),
        duplicates=checked.duplicates,
        columns=columns,
        dropped=[
            DroppedColumn(name=series.name, resembles=sorted(resembles(series)))
            for series in table.frame.iter_columns()
            if series.name not in declared
        ],
        unassigned=checked.unassigned,
        split=SplitRecord(
            method=spec.data.split.method,
            seed=spec.data.split.seed,
            column=spec.data.split.column if spec.data.split.method == "time" else None,
            partitions={
                name: PartitionRecord(
                    rows=len(rows),
                    favourable=int(favourable[rows].sum()),
                    digest=content_digest({column: series[rows] for column, series in content.items()}),
                )
                for name, rows in partitions.items()
            },
        ),
        target=TargetRecord(
            column=spec.data.target.column,
            favourable=spec.data.target.favourable,
            favourable_rows=int(favourable.sum()),
        ),
        created=created,
    )


def _columns(spec: Spec, frame: pl.DataFrame, checked: Checked) -> list[LineageColumn]:
    """Describe every declared column once, with all its roles."""
    features = {feature.name: feature for feature in spec.features}
    described = []
    for name, uses in declared_roles(spec).items():
        declared = features.get(name)
        treatment: Literal["kept", "tokenised", "dropped"] = (
            "kept" if name in checked.columns else "tokenised" if "identifier" in uses else "dropped"
        )
        described.append(
            LineageColumn(
                name=name,
                roles=uses,
                type=declared.type.value if declared else _type_name(checked, name),
                classification=(declared.classification if declared else _classification(uses)).value,
                legal_basis=(spec.legal_basis_of(declared) if declared else spec.data.legal_basis).value,
                origin=(spec.origin_of(declared) if declared else spec.data.origin).value,
                missing=frame[name].null_count() / frame.height,
                masked=treatment != "kept",
                treatment=treatment,
            )
        )
    return described


def _classification(uses: Sequence[Role]) -> Classification:
    """Classify a column that is not a feature by what it is for."""
    if "protected" in uses:
        return Classification.SENSITIVE
    return Classification.PII if "identifier" in uses else Classification.FINANCIAL


def _type_name(checked: Checked, name: str) -> str:
    if name not in checked.columns:
        return "text" if checked.identifier is not None and checked.identifier.name == name else "time"
    dtype = checked.columns[name].dtype
    if dtype == pl.Boolean:
        return "boolean"
    return "integer" if dtype.is_integer() else "number" if dtype.is_float() else "category"
