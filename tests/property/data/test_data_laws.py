"""Laws of the data step: partitions, digests, tokens and reading hold for whatever people write into files."""

from __future__ import annotations

import csv
import io
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from aboveboard.data import load_dataset
from aboveboard.data.contract import check_contract
from aboveboard.data.conversion import spell, spelling, to_integer, to_number
from aboveboard.data.lineage import content_digest
from aboveboard.data.protection import luhn_valid, tokenise
from aboveboard.data.source import read_source, with_nulls
from aboveboard.data.split import PARTITIONS, divide
from aboveboard.errors import DataRefused
from aboveboard.ids import subject_token
from aboveboard.spec.data import Split
from aboveboard.spec.model import API_VERSION, ModelSpec, Spec

people = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=60)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
keys = st.binary(min_size=16, max_size=64)


def _where(parts: dict[str, np.ndarray], n: int) -> list[str]:
    where = [""] * n
    for name, rows in parts.items():
        for row in rows:
            where[row] = name
    return where


@given(people, st.integers(0, 10), st.data())
def test_a_split_is_a_partition_in_which_nobody_is_twice(names: list[str], seed: int, data: st.DataObject) -> None:
    moments = np.array(
        data.draw(st.lists(st.integers(0, 9), min_size=len(names), max_size=len(names))), dtype=np.float64
    )
    for split in (Split(seed=seed), Split(method="time", column="t")):
        parts = divide(split, names, moments)
        assert list(parts) == list(PARTITIONS)
        assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(names)))
        where = dict(zip(names, _where(parts, len(names)), strict=True))
        assert all(where[name] == part for name, part in zip(names, _where(parts, len(names)), strict=True))


@given(people, people, st.integers(0, 10), st.randoms(use_true_random=False))
def test_a_person_stays_put_when_records_are_shuffled_and_added(
    names: list[str], newcomers: list[str], seed: int, random: object
) -> None:
    split = Split(seed=seed)
    before = dict(zip(names, _where(divide(split, names, None), len(names)), strict=True))
    later = [*names, *newcomers]
    random.shuffle(later)  # type: ignore[attr-defined]
    after = dict(zip(later, _where(divide(split, later, None), len(later)), strict=True))
    assert all(after[name] == part for name, part in before.items())


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), text),
        min_size=1,
        max_size=20,
    )
)
def test_the_digest_of_csv_and_parquet_is_one(rows: list[tuple[float | None, str]]) -> None:
    frame = pl.DataFrame(rows, schema={"number": pl.Float64, "text": pl.String}, orient="row")
    with tempfile.TemporaryDirectory() as directory:
        as_csv, as_parquet = Path(directory) / "x.csv", Path(directory) / "x.parquet"
        frame.write_csv(as_csv, quote_style="always")
        frame.write_parquet(as_parquet)
        digests = set()
        for path, kind in ((as_csv, "csv"), (as_parquet, "parquet")):
            read = read_source(path, kind, ("",)).frame  # type: ignore[arg-type]
            digests.add(content_digest({"number": to_number(read["number"]).values, "text": read["text"]}))
    assert len(digests) == 1


@given(st.text(alphabet='ab,"\n\r ;é', max_size=40))
@settings(max_examples=300)
def test_reading_agrees_with_another_parser_or_refuses(body: str) -> None:
    content = f"h1,h2\n{body}"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.csv"
        path.write_bytes(content.encode())
        try:
            frame = read_source(path, "csv", ()).frame
        except DataRefused:
            return
    expected = list(csv.reader(io.StringIO(content.rstrip("\r\n"), newline="")))[1:]
    assert [list(row) for row in frame.rows()] == expected


@given(st.binary(max_size=200))
def test_reading_any_bytes_ends_in_a_table_or_in_our_refusal(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x"
        for prefix, kind in ((b"", "csv"), (b"a,b\n", "csv"), (b"PAR1", "parquet")):
            path.write_bytes(prefix + content)
            try:
                table = read_source(path, kind)  # type: ignore[arg-type]
            except DataRefused as error:
                assert error.problems
            else:
                assert table.frame.height > 0


@given(keys, keys, text)
def test_tokens_depend_on_key_and_person_alone_and_hide_the_identifier(one: bytes, other: bytes, person: str) -> None:
    token = tokenise(pl.Series([person, person], dtype=pl.String), one).to_list()
    assert token == [subject_token(one, person)] * 2
    assert (one.rstrip(b"\0") == other.rstrip(b"\0")) or token[0] != subject_token(other, person)
    assert len(person) < 5 or person not in token[0]


@given(st.integers(min_value=0, max_value=10**18))
def test_exactly_one_digit_completes_a_luhn_number(number: int) -> None:
    assert sum(luhn_valid(f"{number}{digit}") for digit in range(10)) == 1


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53)), min_size=1))
def test_whole_numbers_survive_text_and_floats(numbers: list[int | None]) -> None:
    whole = pl.Series(numbers, dtype=pl.Int64)
    for written in (whole.cast(pl.String), whole.cast(pl.Float64), whole):
        converted = to_integer(written)
        assert converted.values.to_list() == numbers
        assert not converted.failed.any()


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=1), st.lists(text, min_size=1))
def test_a_conversion_marks_what_it_drops_and_nothing_else(numbers: list[float | None], words: list[str]) -> None:
    for series in (pl.Series(numbers, dtype=pl.Float64), pl.Series(words)):
        for convert in (to_number, to_integer):
            converted = convert(series)
            assert converted.failed.equals(series.is_not_null() & converted.values.is_null())
    finite = [n for n in numbers if n is not None and np.isfinite(n)]
    assert spelling(pl.Series(finite, dtype=pl.Float64)).to_list() == [spell(n) for n in finite]  # type: ignore[union-attr]


_SPEC = Spec.model_validate(
    {
        "purpose": "credit-decision",
        "materiality": "low",
        "jurisdictions": ["us"],
        "regions": ["local"],
        "data": {
            "source": {"path": "x", "format": "csv", "region": "local"},
            "target": {"column": "t", "favourable": 1},
            "identifier": "who",
            "legalBasis": "contract",
            "minimumRows": 1,
        },
        "features": [
            {"name": "n", "type": "number", "classification": "financial", "minimum": 0, "reasons": {"en": "N"}},
            {
                "name": "c",
                "type": "category",
                "categories": ["a"],
                "classification": "public",
                "reasons": {"en": "C"},
            },
        ],
        "protected": [
            {
                "name": "p",
                "column": "p",
                "reference": "x",
                "groups": [{"name": "x", "values": [1]}, {"name": "y", "values": [2]}],
            }
        ],
        "model": {"family": "scorecard"},
        "decision": {"approveAt": 0.5, "referAt": 0.5},
        "evaluation": {"limits": {"aucAtLeast": 0.5, "calibrationErrorAtMost": 1, "adverseImpactRatioAtLeast": 0}},
    }
)
_secret = st.text(alphabet="QZXJ", min_size=6, max_size=8)
"""Letters in this order occur in no message of ours."""


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(("n", "c", "p", "t", "who"), _secret)), min_size=1, max_size=8))
def test_no_problem_ever_repeats_a_value(rows: list[dict[str, str]]) -> None:
    problems = check_contract(with_nulls(pl.DataFrame(rows), ("",)), _SPEC).problems
    assert problems
    said = "\n".join(map(str, problems))
    assert not any(value in said for row in rows for value in row.values())


@given(st.lists(_secret, min_size=80, max_size=80, unique=True), keys, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_masking_never_lets_an_identifier_through(identifiers: list[str], key: bytes, seed: int) -> None:
    rows = pl.int_range(80, eager=True)
    frame = pl.DataFrame(
        {"who": identifiers, "n": rows, "c": ["a"] * 80, "p": rows % 2 + 1, "t": rows % 2, "undeclared": identifiers}
    )
    data = _SPEC.data.model_copy(update={"split": Split(seed=seed, calibration=0.3, holdout=0.3)})
    document = {"apiVersion": API_VERSION, "kind": "Model", "metadata": {"name": "m", "owner": "o"}}
    spec = ModelSpec.model_validate({**document, "spec": _SPEC.model_copy(update={"data": data})})
    with tempfile.TemporaryDirectory() as directory:
        frame.write_csv(Path(directory) / "x")
        dataset = load_dataset(spec, Path(directory), token_key=key, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    stored = dataset.frame.write_csv() + msgspec.json.encode(dataset.lineage).decode()
    assert not any(identifier in stored for identifier in identifiers)
    assert dataset.frame["subject"].to_list() == [subject_token(key, identifier) for identifier in identifiers]
