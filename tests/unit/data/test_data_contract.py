"""Every way in which records can be outside their contract: said at once, with counts and rows, without values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aboveboard.errors import DataRefused
from tests.unit.data.data_cases import FEATURES, load, loans, make_spec, put, refusal


def test_the_clean_loan_book_loads(tmp_path: Path) -> None:
    dataset = load(tmp_path, loans())
    assert dataset.frame.columns == ["subject", "income", "late", "housing", "guarantor", "sex", "age", "repaid"]
    assert dataset.frame.dtypes[1:5] == [pl.Float64, pl.Int64, pl.String, pl.Boolean]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("income", "SECRET", "income: 1 value not a finite number; first in row 17"),
        ("income", "inf", "income: 1 value not a finite number; first in row 17"),
        ("income", "NaN", "income: 1 value not a finite number; first in row 17"),
        ("income", "1e400", "income: 1 value not a finite number; first in row 17"),
        ("income", "-0.01", "income: 1 value below the minimum of 0; first in row 17"),
        ("income", "1000001", "income: 1 value above the maximum of 1e+06; first in row 17"),
        ("late", "1.5", "late: 1 value not a whole number within ±2^53; first in row 17 (declare type: number"),
        ("late", "99999999999999999999", "late: 1 value not a whole number within ±2^53"),
        ("late", "9007199254740993", "late: 1 value not a whole number within ±2^53"),
        ("late", "13", "late: 1 value above the maximum of 12"),
        ("income", "1.234,50", "write a decimal point"),
        ("late", " 4", "there are spaces around the values"),
        ("late", "NA", "add the spelling to data.source.nullValues"),
        ("late", None, "late: 1 value missing (0.33%; at most 0.00%); first in row 17"),
        ("housing", "tent", "housing: 1 value not a declared category (1 unknown category); first in row 17"),
        ("housing", "OWN", "1 unknown category"),
        ("guarantor", "maybe", "guarantor: 1 value not true or false; first in row 17"),
        ("age", "old", "age: 1 value not a finite number, but age has bands; first in row 17"),
        ("customer", None, "customer: 1 record without an identifier; first in row 17"),
        ("customer", "C00003", "customer: 1 record with an identifier seen before; first in row 17"),
        ("repaid", None, "repaid: 1 record without an answer; first in row 17"),
        ("repaid", "perhaps", "repaid: 3 distinct values; a decision has two"),
    ],
)
def test_one_wrong_value_is_refused(tmp_path: Path, column: str, value: str | None, expected: str) -> None:
    (problem,) = refusal(tmp_path, put(loans(), column, 17, value))
    assert expected in problem
    assert value is None or len(value) < 4 or value not in problem


def test_everything_wrong_is_said_at_once_with_no_value(tmp_path: Path) -> None:
    frame = put(loans(99), "income", 3, "SECRET1").rename({"housing": "Housng"})
    frame = put(put(frame, "late", 4, "SECRET2"), "age", 5, "SECRET3").with_columns(repaid=pl.lit("yes"))
    problems = refusal(tmp_path, frame)
    assert {problem.split(":")[0] for problem in problems} == {"income", "housing", "late", "age", "repaid", "rows"}
    assert "SECRET" not in "".join(problems)
    assert "housing: no such column; it is declared as feature (did you mean 'Housng'?)" in problems
    assert "repaid: every record has the same answer (a model needs both outcomes to learn from)" in problems
    assert any("99 records; at least 100 are required" in problem for problem in problems)


def test_a_column_that_is_not_there_is_answered_with_what_is(tmp_path: Path) -> None:
    (problem,) = refusal(tmp_path, loans().rename({"late": "xyzzy"}))
    assert problem == "late: no such column; it is declared as feature (columns that nothing else uses: 'xyzzy')"
    (problem,) = refusal(tmp_path, loans().drop("late"))
    assert "the file has no column that is not already used" in problem


def test_counts_and_the_first_five_rows_are_named(tmp_path: Path) -> None:
    frame = loans().with_columns(late=pl.when(pl.int_range(pl.len()) % 10 == 9).then(50).otherwise(pl.col("late")))
    (problem,) = refusal(tmp_path, frame)
    assert problem.startswith("late: 30 values above the maximum of 12; first in rows 10, 20, 30, 40, 50 (")


def test_equal_records_are_refused_unless_allowed(tmp_path: Path) -> None:
    frame = pl.concat([loans(), loans().head(3)])
    (problem,) = refusal(tmp_path, frame)
    assert problem.startswith("rows: 3 records equal to an earlier one in every column; first in rows 301, 302, 303")
    assert load(tmp_path, frame, make_spec(allowDuplicates=True)).lineage.duplicates == 3


def test_a_favourable_value_that_does_not_occur_is_refused(tmp_path: Path) -> None:
    (problem,) = refusal(tmp_path, loans(), make_spec(target={"column": "repaid", "favourable": 1}))
    assert "no record has the favourable value 1" in problem


def test_a_few_people_in_no_group_are_counted_and_many_are_refused(tmp_path: Path) -> None:
    few = put(put(loans(), "sex", 1, "x"), "sex", 2, None)
    assert load(tmp_path, few).lineage.unassigned == {"sex": 2, "age": 0}
    many = loans().with_columns(sex=pl.when(pl.int_range(pl.len()) < 20).then(pl.lit("x")).otherwise(pl.col("sex")))
    (problem,) = refusal(tmp_path, many)
    assert problem.startswith(
        "sex: 20 records (6.7%; at most 5%) in no group of sex: 0 with no value, the others with 1"
    )
    assert "add a group" in problem


def test_the_reserved_name_of_the_token_column_is_refused(tmp_path: Path) -> None:
    features = [FEATURES[0] | {"name": "subject"}, *FEATURES[1:]]
    (problem,) = refusal(tmp_path, loans().rename({"income": "subject"}), make_spec(features=features))
    assert "reserved" in problem


def test_categories_of_mixed_type_are_refused(tmp_path: Path) -> None:
    features = [*FEATURES[:2], FEATURES[2] | {"categories": ["own", 1]}, FEATURES[3]]
    (problem,) = refusal(tmp_path, loans(), make_spec(features=features))
    assert "quote every category" in problem


@pytest.mark.parametrize(
    ("categories", "values"), [([1, 2], ["1", "2.0"]), (["1", "2"], [1, 2]), ([True, False], ["yes", "FALSE"])]
)
def test_a_category_matches_its_spelling_and_comes_out_as_declared(
    tmp_path: Path, categories: list[Any], values: list[Any]
) -> None:
    features = [*FEATURES[:2], FEATURES[2] | {"categories": categories}, FEATURES[3]]
    parquet = {"path": "loans.parquet", "format": "parquet", "region": "local"}
    frame = loans().with_columns(housing=pl.Series(values * 150))
    dataset = load(tmp_path, frame, make_spec(features=features, source=parquet))
    assert dataset.frame["housing"].to_list() == categories * 150


@pytest.mark.parametrize("column", ["income", "late", "housing", "guarantor", "sex", "age", "repaid", "customer"])
def test_a_parquet_column_of_lists_is_refused(tmp_path: Path, column: str) -> None:
    frame = loans().with_columns(pl.concat_list(pl.col(column)))
    spec = make_spec(source={"path": "loans.parquet", "format": "parquet", "region": "local"})
    with pytest.raises(DataRefused) as caught:
        load(tmp_path, frame, spec)
    assert {problem.path for problem in caught.value.problems} == {column}


def test_parquet_types_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    frame = loans().with_columns(income=pl.lit(value=True), late=pl.lit(2.5), age=pl.lit(float("nan")))
    spec = make_spec(source={"path": "loans.parquet", "format": "parquet", "region": "local"})
    problems = refusal(tmp_path, frame, spec)
    assert [problem.split(":")[0] for problem in problems] == ["income", "late", "age"]
    assert "the file has the type Boolean" in problems[0]
