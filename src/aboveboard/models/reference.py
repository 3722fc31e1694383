"""The row an applicant is compared with: a typical approved applicant, who is nobody in particular.

Regulation B's commentary on 12 CFR 1002.9(b)(2) accepts the shortfall against applicants at or slightly above
the cut-off, and against all approved applicants. Both references are kept in the model, as records, so that
they are signed with it and can be read.

A reference is put together feature by feature (the lower median of a number, the commonest category) from at
least fifty people, so it identifies no one. Its own score is at or above the cut-off, so everyone below the
cut-off has something that lowered the score against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import DataRefused, Problem
from aboveboard.models.contract import EncodedFeature
from aboveboard.models.encoding import Encoding
from aboveboard.spec.types import ReferenceConvention

FEWEST: Final = 50
"""The smallest number of people a reference summarises."""

_SHARES: Final = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
"""Shares of the approved, from the cut-off up, that are tried for a typical applicant just above it."""

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A typical approved applicant, and how many people it summarises."""

    record: dict[str, bool | int | float | str | None]
    people: int
    score: float
    """Its calibrated probability of the favourable outcome, at or above the cut-off."""


def find_references(
    encoding: Encoding, rows: NDArray[np.float64], score: Score, approve_at: float
) -> dict[ReferenceConvention, Reference]:
    """Return the reference of each convention among applicants given as rows, shape (n, width).

    Raises `DataRefused` where fewer than fifty applicants are approved, or no typical one would be.
    """
    scores = score(rows)
    approved = rows[scores >= approve_at]
    standing = scores[scores >= approve_at]
    if len(approved) < FEWEST:
        raise _refused(f"{len(approved)} of {len(rows)} applicants reach the cut-off; {FEWEST} are needed")
    find = partial(_first, encoding, rows, approved, score, approve_at)
    return {
        ReferenceConvention.AT_CUT_OFF: find(_just_above(standing)),
        ReferenceConvention.ALL_APPROVED: find(_upper_parts(standing)),
    }


def typical(encoding: Encoding, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, feature by feature, the lower median or commonest category of rows, shape (n, width).

    A feature that most of them lack is missing. The result has shape (width,).
    """
    row = np.full(encoding.width, np.nan)
    for index, feature in enumerate(encoding.features):
        columns = encoding.columns_of(index)
        row[columns] = _typical_value(feature, rows[:, columns])
    return row


def _typical_value(feature: EncodedFeature, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    present = cells[~np.isnan(cells[:, 0])]
    if 2 * len(present) <= len(cells):
        return np.full(feature.width, np.nan)
    if feature.categories is not None:
        value = np.zeros(feature.width)
        value[int(np.argmax(present.sum(axis=0)))] = 1.0
        return value
    middle = (len(present) - 1) // 2
    return np.partition(present[:, 0], middle)[middle : middle + 1]


def _just_above(scores: NDArray[np.float64]) -> Iterator[NDArray[np.bool_]]:
    """Yield bands of approved applicants: growing from the cut-off first, then walking up from it.

    Whoever has the same score as the last of a band is in it too, so bands do not hang on the order of records.
    """
    ascending = np.sort(scores)
    sizes = [min(len(scores), max(FEWEST, int(share * len(scores)))) for share in _SHARES]
    for size in sorted(set(sizes)):
        yield scores <= ascending[size - 1]
    width = max(FEWEST, len(scores) // 10)
    for start in range(0, len(scores) - width + 1, width // 2):
        yield (scores >= ascending[start]) & (scores <= ascending[start + width - 1])


def _upper_parts(scores: NDArray[np.float64]) -> Iterator[NDArray[np.bool_]]:
    """Yield all approved applicants, then ever smaller parts of them from the top."""
    descending = np.sort(scores)[::-1]
    size = len(scores)
    while size >= FEWEST:
        yield scores >= descending[size - 1]
        size = size * 3 // 4


def _first(
    encoding: Encoding,
    rows: NDArray[np.float64],
    approved: NDArray[np.float64],
    score: Score,
    approve_at: float,
    bands: Iterator[NDArray[np.bool_]],
) -> Reference:
    """Return the reference of the first band whose typical applicant reaches the cut-off and is nobody's record.

    Nobody's, or that of fifty people and more. Where features are so few that every combination is somebody's,
    the first band that reaches the cut-off must do: what it says of people is still a summary of fifty.
    """
    fallback: Reference | None = None
    for band in bands:
        row = typical(encoding, approved[band])
        reached = float(score(row.reshape(1, -1))[0])
        if reached < approve_at:
            continue
        reference = Reference(record=encoding.decode(row), people=int(band.sum()), score=reached)
        same = int(np.all((rows == row) | (np.isnan(rows) & np.isnan(row)), axis=1).sum())
        if same == 0 or same >= FEWEST:
            return reference
        fallback = fallback or reference
    if fallback is None:
        raise _refused("no group of fifty approved applicants has a typical member who would be approved")
    return fallback


def _refused(why: str) -> DataRefused:
    hint = "lower approveAt, bring more records, or declare directions with monotonic"
    problem = Problem("spec.decision.approveAt", why, hint)
    return DataRefused("no reference for the reasons can be found", [problem], hint=hint)
