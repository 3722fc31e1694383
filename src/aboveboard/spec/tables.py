"""Which files hold a table, and in which format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

TableFormat = Literal["csv", "parquet"]

_BY_SUFFIX: dict[str, TableFormat] = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_PARQUET_MAGIC = b"PAR1"


def is_table(path: Path) -> bool:
    """Say whether a file is a table by its name; others, such as JSON, are something else."""
    return path.suffix.casefold() in _BY_SUFFIX


def table_format(path: Path) -> TableFormat:
    """Tell the format of a table by its first bytes, else by its name, else CSV. Never raises: reading it will."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_PARQUET_MAGIC))
    except (OSError, ValueError):
        start = b""
    return "parquet" if start == _PARQUET_MAGIC else _BY_SUFFIX.get(path.suffix.casefold(), "csv")
