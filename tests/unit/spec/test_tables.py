"""Tables are told apart by what is in them, then by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from aboveboard.spec.tables import is_table, table_format


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("people.csv", b"a,b\n", "csv"),
        ("people.CSV", b"PAR1...PAR1", "parquet"),
        ("people", b"PAR1...PAR1", "parquet"),
        ("people.pq", b"", "parquet"),
        ("people.Parquet", None, "parquet"),
        ("people.txt", b"a,b\n", "csv"),
        ("people.txt", None, "csv"),
    ],
)
def test_the_bytes_decide_before_the_name(tmp_path: Path, name: str, content: bytes | None, expected: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert table_format(path) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", True), ("a.PARQUET", True), ("a.pq", True), ("a.json", False), ("-", False), ("csv", False)],
)
def test_a_file_of_requests_is_no_table(name: str, expected: bool) -> None:
    assert is_table(Path(name)) is expected
