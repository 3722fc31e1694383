"""Reading a file of records exactly as it stands: CSV as text, Parquet as typed, nothing guessed."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from aboveboard.data.wording import row_numbers
from aboveboard.errors import DataRefused, Problem
from aboveboard.ids import sha256_digest
from aboveboard.spec.tables import TableFormat

_MAGIC = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "compressed with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstandard",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A file's records before any contract is applied."""

    frame: pl.DataFrame
    """CSV: every column is text, null where a value is spelled as missing. Parquet: the file's own types."""
    name: str
    format: TableFormat
    size: int
    digest: str


def read_source(path: Path, file_format: TableFormat, null_values: tuple[str, ...] = ("",)) -> SourceTable:
    """Return the records in the file at `path`.

    A CSV file is comma-separated UTF-8 text (a byte-order mark is allowed) with a header line, and every record
    has as many fields as the header. `null_values` are the spellings of a missing value; in Parquet they apply to
    text columns, and a spelling such as `NaN` to floating-point ones. Raises `DataRefused` with every problem.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _refused(
            path, "there is no such file", "check data.source.path: it is relative to model.yaml"
        ) from None
    except IsADirectoryError:
        raise _refused(path, "it is a directory", "name one CSV or Parquet file in data.source.path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be opened"
        raise _refused(path, reason.lower(), "check the path and its permissions") from error
    if not content.strip():
        raise _refused(path, "the file is empty", "export the data again")
    frame = _parquet(path, content) if file_format == "parquet" else _csv(path, content)
    if frame.height == 0:
        raise _refused(path, "there is a header and no record", "export the data again")
    return SourceTable(
        frame=with_nulls(frame, null_values),
        name=path.name,
        format=file_format,
        size=len(content),
        digest=sha256_digest(content),
    )


def _csv(path: Path, content: bytes) -> pl.DataFrame:
    for magic, what in _MAGIC.items():
        if content.startswith(magic):
            hint = "set format: parquet" if magic == b"PAR1" else "export it as comma-separated text in UTF-8"
            raise _refused(path, f"it is not CSV but {what}", hint)
    text = _decoded(path, content)
    problems = list(_layout_problems(text))
    if problems:
        raise DataRefused(f"{path.name}: not a table", problems, hint="mend the file or its export, then run again")
    try:
        frame = pl.read_csv(content.rstrip(b"\r\n"), infer_schema=False, empty_string_is_null=False)
    except PolarsError as error:
        raise _refused(
            path,
            "its quotes or line ends are broken",
            'end lines with LF or CR LF, and double every " inside a quoted field',
        ) from error
    if not _read_alike(frame, text):
        raise _refused(path, "its quotes can be read in two ways", 'quote fields that hold a ", and double it')
    return frame


def _read_alike(frame: pl.DataFrame, text: str) -> bool:
    """Tell whether two parsers agree on every record: their number, and how many characters the fields of each hold.

    A quote inside an unquoted field is undefined (RFC 4180, 2.5), and a comma after it then separates or does not.
    """
    records = csv.reader(io.StringIO(text, newline=""))
    next(records)
    if '"' not in text:
        return frame.height == sum(1 for _ in records)
    sizes = pl.Series("sizes", [sum(map(len, record)) for record in records], dtype=pl.Int64)
    return frame.select(pl.sum_horizontal(pl.all().str.len_chars()).cast(pl.Int64)).to_series().equals(sizes)


def _decoded(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(
            path, f"line {line} is not UTF-8", "convert it, for example with iconv -f latin1 -t utf-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _refused(path, f"line {line} has a NUL byte", "the file is damaged or binary; export it again")
    return text


def _layout_problems(text: str) -> Iterator[Problem]:
    """Yield what makes the text something else than a table with a header."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    ragged: Counter[int] = Counter()
    first: list[int] = []
    try:
        header = next(reader)
        yield from _header_problems(header)
        for number, record in enumerate(reader, start=1):
            if len(record) != len(header):
                ragged[len(record)] += 1
                if len(first) < 5:
                    first.append(number)
    except csv.Error as error:
        yield Problem("file", f"line {reader.line_num}: {error}", 'close every quote, and double every " inside one')
        return
    if ragged:
        widths = ", ".join(str(width) for width in sorted(ragged))
        yield Problem(
            "file",
            f"{ragged.total()} records do not have the header's {len(header)} fields but {widths}; "
            f"first in {row_numbers(first)}",
            "quote fields that hold a comma or a line end, and remove blank or summary lines",
        )


def _header_problems(header: list[str]) -> Iterator[Problem]:
    if len(header) == 1:
        for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in header[0]:
                yield Problem("header", f"fields are separated by {name}", "export it with commas")
                return
    yield from _name_problems(header)


def _name_problems(names: list[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if not name.strip():
            positions = ", ".join(str(i) for i, other in enumerate(names, start=1) if other == name)
            yield Problem("header", f"column {positions} has no name", "name every column in the header line")
        elif count > 1:
            yield Problem(name, f"{count} columns have this name", "rename or remove all but one")


def _parquet(path: Path, content: bytes) -> pl.DataFrame:
    if not content.startswith(b"PAR1"):
        raise _refused(path, "it is not a Parquet file", "set format: csv if it is text, or export it again")
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (PolarsError, PanicException, OSError, ValueError) as error:
        raise _refused(
            path, "the Parquet file cannot be read", "it is cut short or damaged; export it again"
        ) from error
    problems = list(_name_problems(frame.columns))
    if problems:
        raise DataRefused(f"{path.name}: not a table", problems, hint="mend the export, then run again")
    coded = [name for name, dtype in frame.schema.items() if dtype in (pl.Categorical, pl.Enum)]
    return frame.with_columns(pl.col(coded).cast(pl.String))


def with_nulls(frame: pl.DataFrame, null_values: tuple[str, ...]) -> pl.DataFrame:
    """Turn the declared spellings of a missing value into nulls."""
    spellings = list(null_values)
    text = [pl.when(pl.col(n).is_in(spellings)).then(None).otherwise(pl.col(n)).alias(n) for n in _text(frame)]
    if any(spelling.lower() == "nan" for spelling in spellings):
        floats = [n for n, dtype in frame.schema.items() if dtype.is_float()]
        return frame.with_columns(*text, *(pl.col(n).fill_nan(None) for n in floats))
    return frame.with_columns(*text)


def _text(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype == pl.String]


def _refused(path: Path, message: str, hint: str) -> DataRefused:
    return DataRefused(f"{path.name}: {message}", [Problem("file", message, hint)], hint=hint)
