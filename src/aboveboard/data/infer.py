"""`aboveboard init`: from a stranger's file to a commented model.yaml."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aboveboard.data import conversion, naming
from aboveboard.data.profile import Profile, profile
from aboveboard.data.proposal import LARGEST_CATEGORIES, LARGEST_LISTED, propose_attribute, propose_features
from aboveboard.data.protection import count_card_numbers
from aboveboard.data.roles import RESERVED, first_distinct
from aboveboard.data.scaffold import render_scaffold, yaml_scalar
from aboveboard.data.source import read_source, with_nulls
from aboveboard.data.wording import count_where, counted, found
from aboveboard.errors import DataRefused, Problem
from aboveboard.spec.load import UNANSWERED
from aboveboard.spec.tables import table_format
from aboveboard.spec.types import LegalBasis, Origin, Purpose, Scalar

_MARKERS = ("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "-", ".")
"""Spellings of a missing value, where everything else in the column is a number."""

_GOVERNANCE = {
    "validator": ("who validates it independently; not the owner (SR 26-2)", ("us", "uk")),
    "monitoringPlan": ("where the plan for ongoing monitoring is written down (SR 26-2)", ("us",)),
    "dpia": ("the id of the data protection impact assessment (GDPR art. 35)", ("eu",)),
    "humanReview": (
        "where a person can ask for a human to decide (GDPR art. 22(3); Colorado SB 26-189)",
        ("us", "eu", "uk"),
    ),
}
"""The documents and people the policy packs ask for, and which packs ask."""

_JURISDICTIONS = ("us", "eu", "uk")


@dataclass(frozen=True, slots=True)
class _Arguments:
    target: str
    favourable: str
    protected: Sequence[str]
    identifier: str | None


def infer_spec(
    path: Path,
    *,
    target: str,
    favourable: str,
    protected: Sequence[str],
    identifier: str | None = None,
    name: str | None = None,
    owner: str | None = None,
    purpose: str | None = None,
    jurisdictions: Sequence[str] = (),
    legal_basis: str | None = None,
    relative_to: Path | None = None,
) -> str:
    """Return the text of a model.yaml for the CSV or Parquet file at `path`, with comments and open questions.

    `favourable` is the spelling of the target's value that is good for the person. What is None or empty and
    cannot be inferred becomes `"?"`, which the spec loader reports. `relative_to` is the directory the model.yaml
    will stand in (the file's own by default). Raises `DataRefused` with every reason why it cannot be done.
    """
    file_format = table_format(path)
    table = read_source(path, file_format)
    null_values = _missing_spellings(table.frame)
    frame = with_nulls(table.frame, null_values)
    arguments = _Arguments(target, favourable, tuple(dict.fromkeys(protected)), identifier)
    problems = [*_argument_problems(frame, arguments), *_card_problems(frame, identifier)]
    if problems:
        raise _refused(path, problems)
    columns = {column: profile(frame[column]) for column in frame.columns}
    problems = [*_target_problems(columns[target], favourable), *_protected_problems(columns, arguments)]
    if problems:
        raise _refused(path, problems)
    good_value, good = _favourable(columns[target], favourable)
    person = identifier or _find_identifier(columns.values(), arguments)
    taken = {target, person, *arguments.protected}
    proposed = propose_features([c for c in columns.values() if c.name not in taken], good)
    if not proposed.features:
        reasons = [Problem(column.name, column.why) for column in proposed.left_out]
        raise _refused(path, reasons or [Problem("file", "there is no column left to learn from")])
    attributes = [propose_attribute(columns[column]) for column in arguments.protected]
    labels = naming.distinct_slugs([attribute.name for attribute in attributes], prefix="attribute")
    approve_at, refer_at = _cut_offs(float(good.mean()))
    return render_scaffold(
        source_name=path.name,
        rows=frame.height,
        columns=frame.width,
        name=yaml_scalar(name or naming.slug(path.stem, otherwise="model")),
        owner=_answer(owner),
        owner_open=owner is None,
        purpose=_answer(purpose),
        purpose_open=purpose is None,
        purposes=", ".join(Purpose),
        jurisdictions=f"[{', '.join(map(yaml_scalar, jurisdictions))}]" if jurisdictions else '"?"',
        jurisdictions_open=not jurisdictions,
        known_jurisdictions=", ".join(_JURISDICTIONS),
        governance=[
            (key, '"?"', comment)
            for key, (comment, asked_by) in _GOVERNANCE.items()
            if not jurisdictions or set(asked_by) & set(jurisdictions)
        ],
        path=os.path.relpath(path.resolve(), (relative_to or path.parent).resolve()),
        format=file_format,
        null_values=() if null_values == ("",) else null_values,
        target=target,
        favourable=good_value,
        base_rate=float(good.mean()),
        identifier=person,
        legal_basis=_answer(legal_basis),
        legal_basis_open=legal_basis is None,
        legal_bases=", ".join(LegalBasis),
        origins=", ".join(Origin),
        minimum_rows=max(1, frame.height * 4 // 5),
        repeated=_repeated(frame, person),
        features=proposed.features,
        left_out=proposed.left_out,
        attributes=[replace(attribute, name=label) for label, attribute in zip(labels, attributes, strict=True)],
        family="lightgbm" if frame.height >= 5000 else "scorecard",
        leaf=max(20, frame.height // 500),
        approve_at=approve_at,
        refer_at=refer_at,
        calibration_error=0.05 if frame.height >= 5000 else 0.1,
    )


def _answer(value: str | None) -> str:
    return '"?"' if value is None else yaml_scalar(value)


def _missing_spellings(frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the spellings of a missing value in the file: a lone question mark anywhere, others among numbers."""
    spellings = {""}
    for series in frame.iter_columns():
        if series.dtype.is_float() and series.is_nan().any():
            spellings.add("NaN")
        if series.dtype != pl.String:
            continue
        if (series == "?").any():
            spellings.add("?")
        present = {marker for marker in _MARKERS if (series == marker).any()}
        rest = series.filter(~series.is_in([*present, "?", ""]).fill_null(True))
        if present and len(rest) and not conversion.to_number(rest).failed.any():
            spellings |= present
    return tuple(sorted(spellings))


def _argument_problems(frame: pl.DataFrame, arguments: _Arguments) -> Iterator[Problem]:
    named = {"--target": [arguments.target], "--protected": arguments.protected}
    if arguments.identifier is not None:
        named["--identifier"] = [arguments.identifier]
    for option, names in named.items():
        for name in names:
            if name not in frame.columns:
                close = difflib.get_close_matches(name, frame.columns, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(frame.columns[:20])}"
                yield Problem(option, f"there is no column {name!r}", hint)
    for option, names in named.items():
        for name in names:
            if name == UNANSWERED or (name == RESERVED and option != "--identifier"):
                why = "stands for an open question" if name == UNANSWERED else "is reserved for the token"
                yield Problem(option, f"the name {name!r} {why}", "rename the column")
    if not arguments.protected:
        yield Problem("--protected", "no protected attribute is named", "fairness is checked on at least one")
    for other in ("--identifier", "--protected"):
        if arguments.target in named.get(other, ()):
            yield Problem(other, f"{arguments.target!r} is the target", "name another column")
    if arguments.identifier in arguments.protected:
        yield Problem("--identifier", f"{arguments.identifier!r} is a protected attribute", "name another column")


def _card_problems(frame: pl.DataFrame, identifier: str | None) -> Iterator[Problem]:
    for series in frame.iter_columns():
        if series.name != identifier and (cards := count_card_numbers(series)):
            yield Problem(
                series.name,
                f"{counted(cards, 'record')} with what looks like a payment card number",
                "remove the column from the file, or truncate it at the source (PCI DSS 4.0.1, 3.5.1)",
            )


def _target_problems(column: Profile, favourable: str) -> Iterator[Problem]:
    if column.values.null_count():
        yield Problem(
            column.name,
            found(column.values.is_null(), "record", "without an answer"),
            "leave out records whose outcome is not known yet",
        )
    if column.distinct != 2:
        yield Problem(
            column.name,
            f"the target has {counted(column.distinct, 'distinct value')}; a decision has two",
            "derive a column that says favourable or not, and leave out records that are neither",
        )
        return
    if not _favourable(column, favourable)[1].any():
        spellings = " and ".join(sorted(repr(conversion.spell(value)) for value, _ in column.counts()))
        yield Problem("--favourable", f"no record of {column.name!r} has that value", f"the target holds {spellings}")


def _favourable(column: Profile, spelled: str) -> tuple[Scalar, NDArray[np.bool_]]:
    """Return the favourable value in the type of the target, and which records have it."""
    given = pl.Series("favourable", [spelled])
    convert = {
        "integer": conversion.to_integer,
        "number": conversion.to_number,
        "boolean": conversion.to_boolean,
    }.get(column.kind, conversion.to_text)
    value: Scalar | None = convert(given).values[0]
    if value is None or column.kind in ("time", "empty", "unreadable"):
        return spelled, np.zeros(len(column.values), dtype=np.bool_)
    return value, (column.values == value).fill_null(False).to_numpy().astype(np.bool_)


def _protected_problems(columns: Mapping[str, Profile], arguments: _Arguments) -> Iterator[Problem]:
    for name in arguments.protected:
        column = columns[name]
        if column.kind in ("time", "unreadable", "empty"):
            yield Problem(
                name,
                "no groups can be made of its values",
                "derive a column with the group, or with a number of years",
            )
        elif column.distinct < 2:
            yield Problem(name, "everybody has the same value", "there is nothing to compare; name another column")
        elif column.kind == "text" and column.distinct > LARGEST_CATEGORIES:
            yield Problem(
                name,
                f"{column.distinct} distinct texts; at most {LARGEST_CATEGORIES} groups can be compared",
                "group the values in the file first",
            )


def _find_identifier(columns: Iterable[Profile], arguments: _Arguments) -> str | None:
    """Return the column that names the person: by its name, and with a value of its own in every record."""
    reserved = {arguments.target, *arguments.protected}
    for column in columns:
        unique = column.missing == 0 and column.distinct == len(column.values) > LARGEST_LISTED
        if (
            column.name not in reserved
            and column.kind in ("integer", "text")
            and naming.suggests_identifier(column.name)
            and unique
        ):
            return column.name
    return None


def _repeated(frame: pl.DataFrame, identifier: str | None) -> str:
    """Say what occurs twice in the file, or nothing."""
    equal = count_where(~first_distinct(frame))
    if equal:
        return f"{counted(equal, 'record')} equal an earlier one in every column, which different people may"
    if identifier is not None and (again := count_where(~frame[identifier].is_first_distinct())):
        return f"{counted(again, 'record')} have an identifier seen before, as people with several records do"
    return ""


def _cut_offs(base_rate: float) -> tuple[float, float]:
    """Return approveAt at the share of favourable records and referAt somewhat below, inside (0, 1)."""
    approve_at = min(max(round(base_rate, 2), 0.02), 0.98)
    return approve_at, round(approve_at * 0.85, 3)


def _refused(path: Path, problems: list[Problem]) -> DataRefused:
    return DataRefused(
        f"{path.name}: no model.yaml can be written yet", problems, hint="mend what is listed and run init again"
    )
