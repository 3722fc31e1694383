from __future__ import annotations

import json
from pathlib import Path

import msgspec
import polars as pl

from aboveboard.data import Lineage
from aboveboard.data.lineage import content_digest
from tests.unit.data.data_cases import FEATURES, load, loans, make_spec

PARQUET = {"path": "loans.parquet", "format": "parquet", "region": "local"}


def test_the_digest_is_the_same_from_csv_and_parquet_and_in_any_column_order(tmp_path: Path) -> None:
    csv, parquet = load(tmp_path, loans()), load(tmp_path, loans(), make_spec(source=PARQUET))
    turned = loans().select(reversed(loans().columns)).with_columns(extra=pl.lit(1))
    assert csv.lineage.data_digest == parquet.lineage.data_digest == load(tmp_path, turned).lineage.data_digest
    assert csv.lineage.source.digest != parquet.lineage.source.digest
    assert csv.lineage.split == parquet.lineage.split


def test_the_digest_tells_one_value_one_gap_and_one_swap(tmp_path: Path) -> None:
    base = content_digest({"a": pl.Series([1, 2]), "b": pl.Series(["x", None])})
    assert base != content_digest({"a": pl.Series([1, 3]), "b": pl.Series(["x", None])})
    assert base != content_digest({"a": pl.Series([1, 2]), "b": pl.Series([None, "x"])})
    assert base != content_digest({"a": pl.Series([2, 1]), "b": pl.Series([None, "x"])})
    assert base != content_digest({"a": pl.Series([1, 2]), "c": pl.Series(["x", None])})
    assert content_digest({"b": pl.Series(["xy", "z"])}) != content_digest({"b": pl.Series(["x", "yz"])})
    assert content_digest({"a": pl.Series([0.0])}) == content_digest({"a": pl.Series([-0.0])})
    assert content_digest({"a": pl.Series([True, None])}) != content_digest({"a": pl.Series([False, None])})


def test_the_record_survives_being_written_and_holds_nobody(tmp_path: Path) -> None:
    lineage = load(tmp_path, loans()).lineage
    text = msgspec.json.encode(lineage).decode()
    assert msgspec.json.decode(text, type=Lineage) == lineage
    assert not any(customer in text for customer in loans()["customer"])
    assert json.loads(text)["split"]["partitions"]["holdout"]["rows"] > 0


def test_missing_shares_and_own_protection_are_recorded(tmp_path: Path) -> None:
    features = [
        FEATURES[0] | {"legalBasis": "consent", "origin": "open-banking", "classification": "pii"},
        *FEATURES[1:],
    ]
    frame = loans().with_columns(
        income=pl.when(pl.int_range(pl.len()) % 50 == 0).then(None).otherwise(pl.col("income"))
    )
    (income,) = [c for c in load(tmp_path, frame, make_spec(features=features)).lineage.columns if c.name == "income"]
    assert (income.missing, income.legal_basis, income.origin, income.classification) == (
        0.02,
        "consent",
        "open-banking",
        "pii",
    )


def test_a_protected_column_that_is_also_a_feature_has_both_roles(tmp_path: Path) -> None:
    features = [
        *FEATURES,
        {"name": "age", "type": "integer", "minimum": 0, "maximum": 120, "protectedUse": "15 USC 1691(b)(3)"},
    ]
    dataset = load(tmp_path, loans(), make_spec(features=features))
    (age,) = [c for c in dataset.lineage.columns if c.name == "age"]
    assert age.roles == ["feature", "protected"]
    assert dataset.frame.columns.count("age") == 1
