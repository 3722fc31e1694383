"""Records become rows strictly: what is wrong is said at once, by feature, and no value is repeated."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from aboveboard.errors import NotVerified, RequestRefused
from aboveboard.models import Encoding
from aboveboard.models.contract import EncodedFeature
from aboveboard.spec.types import FeatureType, Monotonic
from tests.unit.models.credit_case import CreditCase

ENCODING = Encoding(
    (
        EncodedFeature("income", FeatureType.NUMBER, minimum=0, maximum=1e6, optional=True),
        EncodedFeature("months", FeatureType.INTEGER, minimum=-2, maximum=9, monotonic=Monotonic.DECREASING),
        EncodedFeature("home", FeatureType.CATEGORY, categories=("own", "rent", "other"), optional=True),
        EncodedFeature("region", FeatureType.CATEGORY, categories=(1, 2)),
        EncodedFeature("employed", FeatureType.BOOLEAN),
        EncodedFeature("ratio", FeatureType.NUMBER),
    )
)
GOOD: dict[str, object] = {
    "income": 5000.5,
    "months": 3,
    "home": "rent",
    "region": 2,
    "employed": True,
    "ratio": -1.5,
}


def problems(record: dict[str, object]) -> dict[str, str]:
    with pytest.raises(RequestRefused) as refused:
        ENCODING.encode(record)
    stated = refused.value.facts["problems"]
    assert refused.value.hint
    assert str(len(stated)) in refused.value.message
    return {problem["feature"]: problem["problem"] for problem in stated}


def test_a_record_becomes_a_row_in_declared_order() -> None:
    assert ENCODING.column_names == (
        "income", "months", "home=own", "home=rent", "home=other", "region=1", "region=2", "employed", "ratio",
    )  # fmt: skip
    assert ENCODING.owner.tolist() == [0, 1, 2, 2, 2, 3, 3, 4, 5]
    assert ENCODING.monotonic == (0, -1, 0, 0, 0, 0, 0, 0, 0)
    assert ENCODING.encode(GOOD).tolist() == [5000.5, 3, 0, 1, 0, 0, 1, 1, -1.5]
    assert ENCODING.decode(ENCODING.encode(GOOD)) == GOOD


@pytest.mark.parametrize(
    "record",
    [
        {**GOOD, "income": None, "home": None},
        {name: GOOD[name] for name in ("months", "region", "employed", "ratio")},
    ],
)
def test_what_may_be_missing_becomes_nan_whether_null_or_absent(record: dict[str, object]) -> None:
    row = ENCODING.encode(record)
    assert np.isnan(row).tolist() == [True, False, True, True, True, False, False, False, False]
    assert ENCODING.decode(row) == {**GOOD, "income": None, "home": None}


@pytest.mark.parametrize(
    ("feature", "value", "problem"),
    [
        ("income", True, "is not a number"),
        ("income", "5000", "is not a number"),
        ("income", [5000], "is not a number"),
        ("income", math.nan, "is not a finite number"),
        ("income", math.inf, "is not a finite number"),
        ("income", -0.01, "is outside the range from 0 to 1e+06"),
        ("income", 10**400, "is outside the range from 0 to 1e+06"),
        ("months", 5.5, "is not a whole number"),
        ("months", True, "is not a whole number"),
        ("months", "5", "is not a whole number"),
        ("months", 10, "is outside the range from -2 to 9"),
        ("months", None, "is missing"),
        ("home", "Rent", "is not one of 'own', 'rent', 'other'"),
        ("home", 1, "is not one of 'own', 'rent', 'other'"),
        ("home", ["rent"], "is not one of 'own', 'rent', 'other'"),
        ("region", True, "is not one of 1, 2"),
        ("region", 3, "is not one of 1, 2"),
        ("region", math.nan, "is not one of 1, 2"),
        ("employed", 1, "is neither true nor false"),
        ("employed", "true", "is neither true nor false"),
        ("ratio", -math.inf, "is not a finite number"),
        ("ratio", 10**400, "is too large a number"),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_wrong_value_is_refused_alone_and_in_a_batch(feature: str, value: object, problem: str) -> None:
    assert problems({**GOOD, feature: value}) == {feature: problem}
    columns = {name: [good, value if name == feature else good] for name, good in GOOD.items()}
    with pytest.raises(RequestRefused) as refused:
        ENCODING.encode_columns(columns)
    [stated] = refused.value.facts["problems"]
    assert stated == {"feature": feature, "problem": f"{problem} in 1 of 2 records"}


@pytest.mark.parametrize(("feature", "value"), [("months", 5.0), ("income", 5000), ("region", 2.0), ("region", "2")])
def test_other_spellings_of_the_same_value_are_taken(feature: str, value: object) -> None:
    row = ENCODING.encode({**GOOD, feature: value})
    batch = ENCODING.encode_columns({name: [{**GOOD, feature: value}[name]] for name in GOOD})
    assert np.array_equal(row, batch[0])


def test_everything_wrong_is_said_at_once_and_no_value_is_repeated() -> None:
    record: dict[str, object] = {"income": "31337", "months": 5.5, "home": "castle", "employed": None, "vip": "zeta"}
    stated = problems(record)
    assert list(stated) == ["vip", "income", "months", "home", "region", "employed", "ratio"]
    assert stated["vip"] == "is not a feature of this model"
    with pytest.raises(RequestRefused) as refused:
        ENCODING.encode(record)
    said = str(refused.value.as_dict())
    assert not any(secret in said for secret in ("31337", "5.5", "castle", "zeta"))


def test_names_nobody_declared_are_repeated_only_in_part() -> None:
    record = {**GOOD, **{f"{index:03}" + "x" * 500: 1 for index in range(500)}}
    stated = problems(record)
    assert len(stated) == 64
    assert all(len(name) == 64 for name in stated)


def test_a_batch_says_everything_wrong_with_counts() -> None:
    columns: dict[str, list[Any]] = {name: [value] * 4 for name, value in GOOD.items()}
    columns["income"] = [None, "a", True, 1.0]
    columns["months"] = [1, None, None, 2]
    columns["extra"] = [1] * 4
    del columns["ratio"]
    with pytest.raises(RequestRefused) as refused:
        ENCODING.encode_columns(columns)
    assert refused.value.facts["problems"] == [
        {"feature": "extra", "problem": "is not a feature of this model"},
        {"feature": "income", "problem": "is not a number in 2 of 4 records"},
        {"feature": "months", "problem": "is missing in 2 of 4 records"},
        {"feature": "ratio", "problem": "is missing"},
    ]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(RequestRefused, match="1 problem"):
        ENCODING.encode_columns({"income": [1.0], "months": [1, 2]})


def test_no_records_give_no_rows() -> None:
    assert ENCODING.encode_columns({name: [] for name in GOOD}).shape == (0, 9)


def test_an_encoding_survives_its_file() -> None:
    assert Encoding.from_json(ENCODING.to_json()) == ENCODING


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b"[" * 100_000,
        b'[{"name": "a", "type": "colour"}]',
        b'[{"name": "a", "type": "number", "extra": 1}]',
        b'[{"name": "", "type": "number"}]',
        b'[{"name": "a", "type": "category"}]',
        b'[{"name": "a", "type": "category", "categories": []}]',
        b'[{"name": "a", "type": "category", "categories": ["x", "x"]}]',
        b'[{"name": "a", "type": "number", "categories": ["x"]}]',
        b'[{"name": "a", "type": "number", "minimum": 2, "maximum": 1}]',
        b'[{"name": "a", "type": "boolean", "minimum": 0}]',
        b'[{"name": "a", "type": "number"}, {"name": "a", "type": "number"}]',
    ],
)
def test_a_damaged_encoding_is_refused(content: bytes) -> None:
    with pytest.raises(NotVerified):
        Encoding.from_json(content)


def test_real_records_come_back_from_their_rows(credit: CreditCase) -> None:
    names = [feature.name for feature in credit.encoding.features]
    for index in range(0, 30_000, 997):
        record = credit.frame.select(names).row(index, named=True)
        assert np.array_equal(credit.encoding.encode(record), credit.rows[index])
        assert credit.encoding.decode(credit.rows[index]) == record


@pytest.mark.slow
def test_thirty_thousand_records_take_well_under_a_second(credit: CreditCase) -> None:
    columns = {f.name: credit.frame[f.name].to_list() for f in credit.encoding.features}
    begin = time.perf_counter()
    credit.encoding.encode_columns(columns)
    assert time.perf_counter() - begin < 1.0
