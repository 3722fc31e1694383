from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from aboveboard.data.source import read_source
from aboveboard.errors import DataRefused
from tests.unit.data.data_cases import loans, make_spec, refusal


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"a,b\n", "there is a header and no record"),
        (b"a;b\n1;2\n", "separated by semicolons"),
        (b"a\tb\n1\t2\n", "separated by tabs"),
        (b"a,b,a\n1,2,3\n", "a: 2 columns have this name"),
        (b"a,,c\n1,2,3\n", "column 2 has no name"),
        (b"a,b\n1,2\n3\n4,5,6\n7,8\n", "2 records do not have the header's 2 fields but 1, 3; first in rows 2, 3"),
        (b"a,b\n1,2\n\n3,4\n", "1 records do not have the header's 2 fields but 0; first in row 2"),
        (b'a,b\n1,"2\n3,4\n', "line 3"),
        (b'a,b\n1,"x"y\n', "line 2"),
        (b"a,b\n1,M\xfcller\n", "line 2 is not UTF-8"),
        (b"a,b\n1,\x00\n", "line 2 has a NUL byte"),
        (b"\xff\xfea\x00,\x00b\x00", "text in UTF-16"),
        (b"PAR1....", "it is not CSV but a Parquet file"),
        (b"PK\x03\x04....", "a spreadsheet"),
        (b"\x1f\x8b\x08....", "compressed with gzip"),
        (b"a,b\n1,2\r3,4\n", "its quotes or line ends are broken"),
        (b'a,b\n1,x"y\n2,z\n', "its quotes or line ends are broken"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(DataRefused) as caught:
        read_source(path, "csv")
    assert any(expected in str(problem) for problem in caught.value.problems), caught.value.problems
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PAR1 cut short", b"PAR1" + bytes(40) + b"PAR1"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(DataRefused, match="Parquet"):
        read_source(path, "parquet")


def test_a_missing_file_a_directory_and_an_unreadable_name_are_refused(tmp_path: Path) -> None:
    for path, expected in [
        (tmp_path / "none.csv", "no such file"),
        (tmp_path, "it is a directory"),
        (tmp_path / ("x" * 300), "file name too long"),
        (tmp_path / "a\0b", "cannot be opened"),
    ]:
        with pytest.raises(DataRefused, match=expected):
            read_source(path, "csv")


def test_a_byte_order_mark_crlf_and_quoted_fields_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfa,"b, c"\r\n1,"x ""y"",\r\nz"\r\n2,\r\n')
    table = read_source(path, "csv")
    assert table.frame.to_dict(as_series=False) == {"a": ["1", "2"], "b, c": ['x "y",\r\nz', None]}


def test_csv_stays_text_and_only_declared_spellings_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n007,NA\n1e3,\n")
    assert read_source(path, "csv").frame.to_dict(as_series=False) == {"a": ["007", "1e3"], "b": ["NA", None]}
    assert read_source(path, "csv", ("NA",)).frame["b"].to_list() == [None, ""]


def test_parquet_nan_is_missing_only_where_that_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": [1.0, float("nan")], "b": pl.Series(["x", "y"], dtype=pl.Categorical)}).write_parquet(path)
    assert read_source(path, "parquet").frame["a"].null_count() == 0
    assert read_source(path, "parquet", ("NaN",)).frame["a"].null_count() == 1
    assert read_source(path, "parquet").frame["b"].dtype == pl.String


def test_a_name_with_glob_characters_is_one_file(tmp_path: Path) -> None:
    for name in ("a[1].csv", "a1.csv"):
        (tmp_path / name).write_bytes(f"n\n{name}\n".encode())
    assert read_source(tmp_path / "a[1].csv", "csv").frame["n"].to_list() == ["a[1].csv"]


def test_format_declared_wrongly_says_what_to_write(tmp_path: Path) -> None:
    spec = make_spec(source={"path": "loans.csv", "format": "csv", "region": "local"})
    frame = tmp_path / "other.parquet"
    loans().write_parquet(frame)
    assert "set format: parquet" in refusal(tmp_path, frame.read_bytes(), spec)[0]
