"""`aboveboard init`: a stranger's file becomes a model.yaml that its own data passes, all questions answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aboveboard.data import Dataset, load_dataset
from aboveboard.data.infer import infer_spec
from aboveboard.data.proposal import allowed_missing, padded
from aboveboard.errors import DataRefused, SpecInvalid
from aboveboard.spec import ModelSpec
from aboveboard.spec.load import parse_spec
from tests.unit.data.data_cases import KEY, clock, loans

EXAMPLES = Path(__file__).parents[3] / "examples"
ANSWERS: dict[str, Any] = {
    "owner": "risk@bank.example",
    "purpose": "credit-decision",
    "jurisdictions": ["us"],
    "legal_basis": "contract",
}


def inferred(path: Path, **arguments: Any) -> tuple[str, ModelSpec]:
    """Return the text with every question answered, and the spec it says."""
    text = infer_spec(path, **{**ANSWERS, **arguments})
    text = text.replace('"?"', "answered@bank.example")
    return text, parse_spec(text, name="model.yaml")


def loaded(path: Path, **arguments: Any) -> tuple[str, ModelSpec, Dataset]:
    text, spec = inferred(path, **arguments)
    return text, spec, load_dataset(spec, path.parent, token_key=KEY, clock=clock)


def book(tmp_path: Path, frame: pl.DataFrame, name: str = "loan book.csv") -> Path:
    path = tmp_path / name
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


def common(**more: Any) -> dict[str, Any]:
    return {"target": "repaid", "favourable": "yes", "protected": ["sex", "age"], **more}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_loan_book_goes_from_init_to_a_data_set(tmp_path: Path, suffix: str) -> None:
    path = book(tmp_path, loans(), f"Loan Book 2026.{suffix}")
    _, spec, dataset = loaded(path, **common())
    assert spec.metadata.name == "loan-book-2026"
    assert spec.spec.data.identifier == "customer"
    assert [(f.name, f.type.value) for f in spec.spec.features] == [
        ("income", "number"),
        ("late", "integer"),
        ("housing", "category"),
        ("guarantor", "boolean"),
    ]
    assert [a.name for a in spec.spec.protected] == ["sex", "age"]
    assert [g.name for g in spec.spec.protected[1].groups] == ["under-25", "25-39", "40-61", "from-62"]
    assert dataset.lineage.unassigned == {"sex": 0, "age": 0}
    assert dataset.favourable.sum() == (loans()["repaid"] == "yes").sum()


def test_real_credit_card_clients(tmp_path: Path) -> None:
    path = EXAMPLES / "01-credit-default" / "credit_default_taiwan.parquet"
    text, spec, dataset = loaded(
        path, target="default_payment_next_month", favourable="0", protected=["SEX", "AGE", "MARRIAGE"]
    )
    assert spec.spec.data.identifier == "ID"
    assert spec.spec.data.target.favourable == 0
    assert dataset.lineage.rows == 30_000
    assert "AUC 0.69 alone): monotonic: decreasing?\n    - name: PAY_0\n" in text
    marriage = {group.name: group.values for group in spec.spec.protected[2].groups}
    assert marriage == {"marriage-2": (2,), "marriage-1": (1,), "other": (3, 0)}  # 323 and 54 people


def test_what_only_a_person_knows_is_asked_with_the_answers_beside_it(tmp_path: Path) -> None:
    text = infer_spec(book(tmp_path, loans()), **common())
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(text, name="model.yaml")
    assert {problem.path for problem in caught.value.problems} == {
        "metadata.owner",
        "spec.purpose",
        "spec.jurisdictions",
        "spec.data.legalBasis",
        *(f"spec.governance.{key}" for key in ("validator", "monitoringPlan", "dpia", "humanReview")),
    }
    lines = text.splitlines()
    assert all("#" in line for line in lines if '"?"' in line)
    assert all("only you know this" in problem.message for problem in caught.value.problems)


def test_only_what_the_named_laws_ask_for_is_asked(tmp_path: Path) -> None:
    path = book(tmp_path, loans())
    assert "dpia" not in infer_spec(path, **common(jurisdictions=["us"]))
    assert "monitoringPlan" not in infer_spec(path, **common(jurisdictions=["eu"]))


def test_columns_that_do_not_belong_are_left_out_with_the_reason(tmp_path: Path) -> None:
    n = 300
    frame = loans(n).with_columns(
        pl.lit(7).alias("constant"),
        pl.lit(None, dtype=pl.String).alias("nothing"),
        pl.Series("row", range(n)),
        pl.Series("remark", [f"remark {i}" for i in range(n)]),
        pl.Series("town", [f"town {i % 60}" for i in range(n)]),
        pl.Series("maritalStatus", ["single", "married"] * 150),
        pl.Series("account_age_months", np.arange(n) % 77),
        pl.Series("health_score", np.arange(n) % 10),
        pl.Series("branch_id", np.arange(n) % 40),
        pl.Series("contact", [f"c{i % 20}@mail.example" for i in range(n)]),
        pl.Series("opened", ["2026-01-01", "2026-02-01"] * 150),
        pl.col("repaid").replace({"yes": "1.5", "no": "0.5"}).alias("written_off"),
        pl.when(pl.col("repaid") == "no").then(pl.int_range(pl.len()) % 9).alias("collection_fee"),
    )
    text, spec, dataset = loaded(book(tmp_path, frame), **common())
    assert [f.name for f in spec.spec.features] == [
        "income", "late", "housing", "guarantor", "account_age_months",
    ]  # fmt: skip
    for column, why in {
        "constant": "the same value in every record",
        "nothing": "no value in any record",
        "row": "numbers the records",
        "remark": "nearly unique",
        "town": "60 distinct texts",
        "maritalStatus": "WARNING: its name suggests a protected attribute",
        "health_score": "WARNING: its name suggests health data",
        "branch_id": "identifier",
        "contact": "identifiers of people (email)",
        "opened": "split: {method: time",
        "written_off": "WARNING: it alone tells the outcome (AUC 1.000)",
        "collection_fee": "WARNING: whether it has a value alone tells the outcome",
    }.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"  # - {column}:")]
        assert why in line
    assert len(dataset.lineage.dropped) == 12


def test_missing_values_are_found_in_their_spellings(tmp_path: Path) -> None:
    rows = pl.int_range(pl.len())
    frame = loans().with_columns(
        income=pl.when(rows % 10 == 0).then(pl.lit("NA")).otherwise(pl.col("income").cast(pl.String)),
        housing=pl.when(rows % 15 == 0).then(pl.lit("?")).otherwise(pl.col("housing")),
    )
    text, spec, dataset = loaded(book(tmp_path, frame), **common())
    assert spec.spec.data.source.null_values == ("", "?", "NA")
    income, _, housing, _ = spec.spec.features
    assert (income.max_missing, housing.max_missing) == (0.16, 0.11)
    assert housing.categories == ("own", "rent")
    assert dataset.frame["income"].null_count() == 30
    assert "nullValues: ['', '?', 'NA']" in text


def test_next_months_data_still_fits(tmp_path: Path) -> None:
    _, spec = inferred(book(tmp_path, loans()), **common())
    later = loans().with_columns(pl.col("income") * 1.2, pl.col("late") + 2)
    later.write_csv(tmp_path / "loan book.csv")
    assert load_dataset(spec, tmp_path, token_key=KEY, clock=clock).frame.height == 300


def test_repeated_records_and_people_are_allowed_and_pointed_out(tmp_path: Path) -> None:
    frame = loans().drop("customer")
    text, spec, dataset = loaded(book(tmp_path, pl.concat([frame, frame.head(2)])), **common())
    assert spec.spec.data.allow_duplicates
    assert "# 2 records equal an earlier one in every column" in text
    assert dataset.lineage.duplicates == 2
    text, _ = inferred(
        book(tmp_path, loans().with_columns(customer=pl.int_range(pl.len()) // 2)), **common(identifier="customer")
    )
    assert "# 150 records have an identifier seen before" in text


def test_names_and_values_that_yaml_would_read_as_something_else(tmp_path: Path) -> None:
    nasty = [
        "yes",
        "no",
        "null",
        "~",
        "1",
        "01",
        "1e5",
        "- x",
        "a: b",
        "#c",
        "{d}",
        "é\u2028ü",
        "'",
        '"',
        "\\",
        " lead",
        "true?",
    ]
    n = len(nasty) * 20
    frame = loans(n).with_columns(
        pl.Series("y", nasty * 20),
        pl.Series('größe: #1\t"x"\u0085\'', np.arange(n) % 50),
        pl.Series("on", ["true!", "false!"] * (n // 2)),
    )
    _, spec, dataset = loaded(book(tmp_path, frame, "odd.parquet"), **common(protected=["on", "sex"], name="123"))
    assert spec.metadata.name == "123"
    (y,) = [f for f in spec.spec.features if f.name == "y"]
    assert set(y.categories or ()) == set(nasty)
    assert dataset.frame["y"].to_list() == nasty * 20
    assert spec.spec.features[-1].name == 'größe: #1\t"x"\u0085\''


def test_protected_attributes_become_groups(tmp_path: Path) -> None:
    n = 1000
    frame = loans(n).with_columns(
        pl.Series("origin", ["Île-de-France"] * 600 + ["日本"] * 390 + ["x"] * 5 + ["other"] * 5),
        pl.Series("code", [-1, 1, 2, 2] * 250),
        pl.Series("tenure", np.arange(n) % 100),
        pl.Series("flag", [True, False] * 500),
        pl.Series("age_years", [20] * 500 + [50] * 500),
    )
    protected = ["origin", "code", "tenure", "flag", "age_years"]
    _, spec, dataset = loaded(book(tmp_path, frame, "p.parquet"), **common(protected=protected))
    origin, code, tenure, flag, age = spec.spec.protected
    assert [(g.name, g.values) for g in origin.groups] == [
        ("ile-de-france", ("Île-de-France",)),
        ("origin-2", ("日本",)),
        ("other", ("other", "x")),
    ]
    assert origin.reference == "ile-de-france"
    assert {g.name: g.values for g in code.groups} == {"code-2": (2,), "code-minus-1": (-1,), "code-1": (1,)}
    assert [(g.name, g.from_, g.below) for g in tenure.groups] == [
        ("band-1", None, 25),
        ("band-2", 25, 50),
        ("band-3", 50, 75),
        ("band-4", 75, None),
    ]
    assert {g.name for g in flag.groups} == {"true", "false"}
    assert [g.name for g in age.groups] == ["age-years-20", "age-years-50"]
    assert set(dataset.lineage.unassigned.values()) == {0}


def test_the_reserved_name_is_refused_or_left_out(tmp_path: Path) -> None:
    path = book(tmp_path, loans().rename({"sex": "subject"}))
    with pytest.raises(DataRefused, match="can be written yet"):
        infer_spec(path, **common(protected=["subject"]))
    text, spec, _ = loaded(book(tmp_path, loans().rename({"late": "subject"})), **common())
    assert "  # - subject: the name 'subject' is reserved" in text
    assert "subject" not in [feature.name for feature in spec.spec.features]


def test_a_name_that_is_a_question_mark_is_refused_or_left_out(tmp_path: Path) -> None:
    path = book(tmp_path, loans().rename({"sex": "?"}))
    with pytest.raises(DataRefused, match="can be written yet"):
        infer_spec(path, **common(protected=["?"]))
    text, _, _ = loaded(book(tmp_path, loans().rename({"late": "?"})), **common())
    assert "  # - ?: a lone question mark stands for an open question" in text


def test_odd_parquet_columns_are_left_out_or_understood(tmp_path: Path) -> None:
    rows = pl.int_range(pl.len())
    frame = loans().with_columns(
        pl.concat_list("late").alias("history"),
        pl.when(rows % 9 == 0).then(float("nan")).otherwise(pl.col("income")).alias("spending"),
        pl.when(rows % 7 == 0).then(pl.lit("  ")).otherwise(pl.col("housing")).alias("blank"),
        pl.when(rows % 7 == 0).then(pl.lit("x" * 300)).otherwise(pl.col("housing")).alias("story"),
        pl.col("late").alias("LATE"),
        pl.when(rows < 12).then(None).otherwise(pl.col("sex")).alias("sex"),
    )
    text, spec, dataset = loaded(book(tmp_path, frame, "odd.parquet"), **common())
    assert "  # - history: its values are neither numbers nor text" in text
    assert "  # - blank: some of its values are nothing but spaces" in text
    assert "  # - story: its values are long texts" in text
    assert "# 4.0% of the records have no value; at most 5% may be in no group" in text
    assert spec.spec.data.source.null_values == ("", "NaN")
    assert dataset.frame["spending"].null_count() == 34
    reasons = [(feature.reasons or {})["en"] for feature in spec.spec.features]
    assert "The level of late (LATE)" in reasons
    assert len(set(reasons)) == len(reasons)


def test_rare_values_join_a_group_that_is_called_other(tmp_path: Path) -> None:
    kinds = ["a"] * 500 + ["b"] * 300 + ["other"] * 190 + ["c"] * 5 + ["d"] * 5
    _, spec = inferred(book(tmp_path, loans(1000).with_columns(kind=pl.Series(kinds))), **common(protected=["kind"]))
    assert {g.name: g.values for g in spec.spec.protected[0].groups} == {
        "a": ("a",),
        "b": ("b",),
        "other": ("other", "c", "d"),
    }


def test_bands_without_anybody_are_merged_into_their_neighbour(tmp_path: Path) -> None:
    frame = loans().with_columns(age=pl.int_range(pl.len()) % 20 + 30)
    _, spec = inferred(book(tmp_path, frame), **common())
    assert [(g.name, g.from_, g.below) for g in spec.spec.protected[1].groups] == [
        ("under-40", None, 40),
        ("from-40", 40, None),
    ]


def test_every_wrong_argument_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataRefused) as caught:
        infer_spec(
            book(tmp_path, loans()), **common(target="repayd", protected=["sexx", "age"], identifier="customers")
        )
    said = [str(problem) for problem in caught.value.problems]
    assert [line.split(":")[0] for line in said] == ["--target", "--protected", "--identifier"]
    assert "did you mean 'repaid'?" in said[0]


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        ({}, {"favourable": "YES"}, "the target holds 'no' and 'yes'"),
        ({}, {"protected": []}, "no protected attribute is named"),
        ({}, {"protected": ["repaid"]}, "is the target"),
        ({}, {"protected": ["customer"]}, "300 distinct texts"),
        ({}, {"identifier": "sex"}, "'sex' is a protected attribute"),
        ({"age": pl.lit("2001-01-01")}, {}, "no groups can be made of its values"),
        ({"repaid": pl.lit("yes")}, {}, "1 distinct value; a decision has two"),
        ({"repaid": pl.col("housing") + pl.col("sex")}, {}, "4 distinct values; a decision has two"),
        ({"repaid": pl.when(pl.col("late") > 1).then(pl.col("repaid"))}, {}, "without an answer"),
        ({"sex": pl.lit("f")}, {}, "everybody has the same value"),
        ({"late": pl.lit(4111111111111111)}, {}, "300 records with what looks like a payment card number"),
    ],
)
def test_what_cannot_become_a_model_is_refused(
    tmp_path: Path, changes: dict[str, pl.Expr], arguments: dict[str, Any], expected: str
) -> None:
    path = book(tmp_path, loans().with_columns(**changes))
    with pytest.raises(DataRefused) as caught:
        infer_spec(path, **common(**arguments))
    assert expected in "\n".join(map(str, caught.value.problems))


def test_a_file_without_a_usable_column_says_why_for_each(tmp_path: Path) -> None:
    path = book(tmp_path, loans().select("sex", "age", "repaid").with_columns(constant=pl.lit(1)))
    with pytest.raises(DataRefused) as caught:
        infer_spec(path, **common())
    assert [problem.path for problem in caught.value.problems] == ["constant"]


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, True, (0, 1)),
        (0.2, 0.9, False, (0, 1)),
        (4, 72, True, (0, 106)),
        (-2, 8, True, (-7, 13)),
        (1990, 2015, True, (1977, 2028)),
        (-5.0, -1.0, False, (-7, 0)),
        (10_000, 1_000_000, True, (0, 1_500_000)),
        (-1e308, 1e308, False, (None, None)),
        (0, 2**53, True, (0, 2**53)),
    ],
)
def test_ranges_are_wider_than_what_was_seen(
    low: float, high: float, whole: bool, expected: tuple[float, float]
) -> None:
    assert padded(low, high, whole=whole) == pytest.approx(expected) if expected[0] is not None else (None, None)


def test_gaps_are_allowed_where_there_were_some() -> None:
    assert [allowed_missing(share) for share in (0, 0.001, 0.1, 0.9)] == [0, 0.02, 0.16, 1]


def test_thirty_thousand_records_are_inferred_within_two_seconds() -> None:
    import time

    path = EXAMPLES / "01-credit-default" / "credit_default_taiwan.parquet"
    started = time.perf_counter()
    infer_spec(path, target="default_payment_next_month", favourable="0", protected=["SEX"])
    assert time.perf_counter() - started < 2
