from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aboveboard.data.split import divide, position
from aboveboard.errors import DataRefused
from aboveboard.spec.data import Split
from tests.unit.data.data_cases import load, loans, make_spec, refusal

BY_TIME = Split(method="time", column="day")
TIMED: dict[str, Any] = {"split": {"method": "time", "column": "day", "calibration": 0.2, "holdout": 0.3}}


def test_the_position_is_fixed_for_good() -> None:
    """Another value would move people between partitions when the software is updated."""
    assert position(2005, "1") == pytest.approx(0.41362443, abs=1e-8)
    assert position(2006, "1") != position(2005, "1")


def test_positions_are_uniform() -> None:
    positions = np.array([position(1, str(number)) for number in range(20_000)])
    counts, _ = np.histogram(positions, bins=20, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001


def test_the_newest_are_held_out_and_the_ones_before_calibrate() -> None:
    parts = divide(BY_TIME, [str(n) for n in range(100)], np.arange(99.0, -1, -1, dtype=np.float64))
    assert parts["holdout"].tolist() == list(range(30))
    assert parts["calibration"].tolist() == list(range(30, 45))
    assert parts["train"].tolist() == list(range(45, 100))


def test_a_person_goes_with_their_newest_record_and_a_moment_stays_together() -> None:
    people = [*"abcdefghi", "a"]
    parts = divide(BY_TIME, people, np.array([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    assert {0, 9} <= set(parts["holdout"].tolist())
    ties = divide(BY_TIME, [str(n) for n in range(10)], np.array([0.0, 0, 0, 0, 1, 2, 3, 3, 3, 3]))
    assert ties["holdout"].tolist() == [6, 7, 8, 9]


@pytest.mark.parametrize(
    "days",
    [
        [dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(300)],
        [dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=n) for n in range(300)],
        [(dt.date(2026, 1, 1) + dt.timedelta(days=n)).isoformat() for n in range(300)],
        [(dt.datetime(2026, 1, 1) + dt.timedelta(minutes=7 * n)).isoformat() for n in range(300)],
        [f"2026-01-{1 + n // 24:02} {n % 24:02}:30Z" for n in range(300)],
        list(range(300)),
    ],
)
def test_time_is_read_from_dates_text_and_numbers(tmp_path: Path, days: list[object]) -> None:
    frame = loans().with_columns(day=pl.Series(days)).reverse()
    parquet = {"path": "loans.parquet", "format": "parquet", "region": "local"}
    dataset = load(tmp_path, frame, make_spec(source=parquet, **TIMED))
    assert dataset.partitions["holdout"].tolist() == list(range(90))
    assert "day" not in dataset.frame.columns
    (column,) = [c for c in dataset.lineage.columns if c.name == "day"]
    assert (column.roles, column.treatment, column.type) == (["split"], "dropped", "time")


def test_a_time_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    frame = loans().with_columns(day=pl.lit("21.11.2026"))
    assert "day: 300 records without a time that can be read" in refusal(tmp_path, frame, make_spec(**TIMED))[0]


def test_one_moment_for_all_cannot_be_split(tmp_path: Path) -> None:
    problems = refusal(tmp_path, loans().with_columns(day=pl.lit("2026-11-21")), make_spec(**TIMED))
    assert problems[0].startswith("split.train: 0 records")
    assert "finer time column" in problems[0]


def test_a_partition_without_both_outcomes_is_refused(tmp_path: Path) -> None:
    frame = loans().with_columns(
        repaid=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("no")).otherwise(pl.lit("yes"))
    )
    problems = refusal(tmp_path, frame)
    assert len(problems) == 2
    assert all("both outcomes are needed" in problem for problem in problems)


def test_all_records_of_a_person_go_to_one_partition(tmp_path: Path) -> None:
    frame = loans(900).with_columns(customer=pl.int_range(pl.len()) % 200)
    dataset = load(tmp_path, frame, make_spec(allowDuplicates=True))
    subjects = [set(dataset.rows(name)["subject"]) for name in dataset.partitions]
    assert sum(map(len, subjects)) == len(set.union(*subjects)) == 200
    with pytest.raises(DataRefused):
        load(tmp_path, frame)


def test_without_an_identifier_twins_stay_together_and_are_two_subjects(tmp_path: Path) -> None:
    frame = loans().drop("customer")
    twins = frame.with_columns(repaid=pl.when(pl.col("repaid") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes")))
    dataset = load(tmp_path, pl.concat([frame, twins]), make_spec(identifier=None))
    where = {int(row): name for name, rows in dataset.partitions.items() for row in rows}
    assert all(where[row] == where[row + 300] for row in range(300))
    assert dataset.frame["subject"].n_unique() == 600
