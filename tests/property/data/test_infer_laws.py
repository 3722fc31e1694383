"""Whatever a file holds: `init` writes a spec that can be read and that its own data passes, or it refuses."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aboveboard.data import load_dataset
from aboveboard.data.infer import infer_spec
from aboveboard.data.naming import distinct_slugs
from aboveboard.data.proposal import padded
from aboveboard.data.scaffold import in_comment, single_quoted, yaml_scalar
from aboveboard.errors import DataRefused
from aboveboard.spec.load import parse_spec

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(scalars)
@settings(max_examples=150)
def test_a_scalar_is_read_back_as_what_it_was(value: bool | int | float | str) -> None:
    from ruamel.yaml import YAML

    for version in ("1.1", "1.2"):
        parser = YAML(typ="safe", pure=True)
        parser.version = version
        read = parser.load(f"[{yaml_scalar(value)}]  # {in_comment(str(value))}\n")[0]
        assert read == value
        assert isinstance(read, float) or isinstance(read, str) == isinstance(value, str)
        assert isinstance(read, bool) == isinstance(value, bool)
        if isinstance(value, str):
            assert parser.load(f"[{single_quoted(value)}]")[0] == value


@given(st.lists(text, max_size=12))
def test_slugs_are_labels_and_no_two_alike(texts: list[str]) -> None:
    import re

    labels = distinct_slugs(texts, prefix="group")
    assert len(set(labels)) == len(texts)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) for label in labels)


@given(finite, finite, st.booleans())
def test_the_padded_range_holds_what_was_seen(one: float, other: float, whole: bool) -> None:
    low, high = sorted((one, other))
    if whole:
        low, high = (float(max(-(2**53), min(2**53, int(bound)))) for bound in (low, high))
    bottom, top = padded(low, high, whole=whole)
    assert (bottom is None) == (top is None)
    if bottom is not None and top is not None:
        assert bottom <= low <= high <= top
        assert not whole or (bottom.is_integer() and top.is_integer())
        assert low < 0 or bottom >= 0


names = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
        str.strip
    ),
    min_size=4,
    max_size=8,
    unique=True,
)
columns = st.one_of(
    st.lists(st.one_of(st.none(), finite), min_size=8, max_size=8).map(lambda v: pl.Series(v * 10, dtype=pl.Float64)),
    st.lists(st.integers(-(2**60), 2**60), min_size=8, max_size=8).map(lambda v: pl.Series(v * 10, dtype=pl.Int64)),
    st.lists(st.integers(-3, 3), min_size=8, max_size=8).map(lambda v: pl.Series(v * 10, dtype=pl.Int64)),
    st.lists(st.one_of(st.none(), text), min_size=8, max_size=8).map(lambda v: pl.Series(v * 10, dtype=pl.String)),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=8, max_size=8).map(
        lambda v: pl.Series(v * 10, dtype=pl.Boolean)
    ),
    st.lists(st.dates(), min_size=8, max_size=8).map(lambda v: pl.Series(v * 10)),
)


@given(names, st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_parquet_file_gets_a_spec_it_passes_or_a_refusal(names: list[str], data: st.DataObject) -> None:
    target, protected, *others = names
    pattern = data.draw(st.permutations([True, True, False, False, True, False, True, False, True, True]))
    frame = pl.DataFrame(
        {
            target: [good for good in pattern for _ in range(8)],
            protected: data.draw(st.permutations(["a"] * 40 + ["b"] * 40)),
            **{name: data.draw(columns) for name in others},
        }
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.parquet"
        frame.write_parquet(path)
        try:
            written = infer_spec(
                path,
                target=target,
                favourable="true",
                protected=[protected],
                owner="me",
                purpose="recommendation",
                jurisdictions=["us"],
                legal_basis="consent",
            )
        except DataRefused as error:
            assert error.problems
            return
        spec = parse_spec(written.replace('"?"', '"answered"'), name="model.yaml")
        try:
            dataset = load_dataset(
                spec, path.parent, token_key=b"k" * 32, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)
            )
        except DataRefused as error:
            assert all(p.path.startswith("split.") for p in error.problems), error.problems  # few records
        else:
            assert dataset.frame.height == 80
