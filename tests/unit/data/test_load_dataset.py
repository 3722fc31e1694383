from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aboveboard.data import Dataset, load_dataset
from aboveboard.errors import Misuse
from aboveboard.ids import subject_token
from aboveboard.spec import load_spec

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default"
KEY = b"k" * 32


def clock() -> datetime:
    return datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(load_spec(EXAMPLE / "model.yaml"), EXAMPLE, token_key=KEY, clock=clock)


def test_real_data_is_loaded_typed_and_in_source_order(dataset: Dataset) -> None:
    source = pl.read_parquet(EXAMPLE / "credit_default_taiwan.parquet")
    assert dataset.frame.height == 30_000
    assert dataset.frame["LIMIT_BAL"].equals(source["LIMIT_BAL"])
    assert dataset.frame["SEX"].equals(source["SEX"])
    assert np.array_equal(dataset.favourable, (source["default_payment_next_month"] == 0).to_numpy())


def test_the_identifier_is_replaced_by_a_keyed_token(dataset: Dataset) -> None:
    assert "ID" not in dataset.frame.columns
    assert dataset.frame["subject"][0] == subject_token(KEY, "1")
    assert dataset.frame["subject"].n_unique() == 30_000


def test_partitions_cover_every_record_once_and_have_the_shares_declared(dataset: Dataset) -> None:
    together = np.concatenate(list(dataset.partitions.values()))
    assert np.array_equal(np.sort(together), np.arange(30_000))
    assert len(dataset.partitions["holdout"]) == pytest.approx(9_000, abs=4 * 80)  # sd 79
    assert len(dataset.partitions["calibration"]) == pytest.approx(4_500, abs=4 * 62)
    assert dataset.rows("holdout").height == len(dataset.partitions["holdout"])


def test_an_unknown_partition_is_misuse(dataset: Dataset) -> None:
    with pytest.raises(Misuse, match="no partition 'test'"):
        dataset.rows("test")


def test_lineage_names_every_declared_column_with_its_protection(dataset: Dataset) -> None:
    lineage = dataset.lineage
    columns = {column.name: column for column in lineage.columns}
    assert columns["ID"].treatment == "tokenised"
    assert columns["ID"].masked
    assert columns["SEX"].roles == ["protected"]
    assert columns["SEX"].classification == "sensitive"
    assert columns["LIMIT_BAL"].legal_basis == "contract"
    assert lineage.rows == lineage.subjects == 30_000
    assert lineage.target.favourable_rows == 23_364
    assert lineage.created == "2026-11-21T00:00:00.000Z"
    assert sum(part.rows for part in lineage.split.partitions.values()) == 30_000


def test_thirty_thousand_records_load_within_a_second() -> None:
    spec = load_spec(EXAMPLE / "model.yaml")
    started = time.perf_counter()
    load_dataset(spec, EXAMPLE, token_key=KEY, clock=clock)
    assert time.perf_counter() - started < 1.0
