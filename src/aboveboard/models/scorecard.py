"""The scorecard family: whole points for each value of each feature, added up. A person can check it by hand.

Points and log-odds are the same thing on two scales: 600 points stand for odds of 50 to 1 that the outcome is
favourable, and 20 points more double the odds. What the card shows is what decides: the points are whole numbers
and the log-odds follow from their sum, not the other way round. The contribution of a feature against a reference
is therefore the difference of two entries, exactly (for an additive model that is the Baseline Shapley value).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified, RequestRefused
from aboveboard.models.boxes import Boxes, Condition
from aboveboard.models.contract import EncodedFeature
from aboveboard.models.encoding import Encoding
from aboveboard.spec.types import Family, Monotonic

SCORECARD_FILE: Final = "scorecard.json"
BASE_POINTS: Final = 600
BASE_ODDS: Final = 50
POINTS_TO_DOUBLE: Final = 20
FACTOR: Final = POINTS_TO_DOUBLE / math.log(2)
"""Points for one unit of log-odds."""
_MOST: Final = 1_000_000
"""No entry of a card is larger than this."""


class Bin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entry for the numbers above the bin before it and up to `up_to`, itself included; None is no bound."""

    up_to: float | None
    points: int
    weight_of_evidence: float
    """ln of (share of the favourable here / share of the others here), as fitted; for the reader."""
    share: float
    """Of the training records, how many are here; for the reader."""


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entry for a category, or for a missing value."""

    points: int
    weight_of_evidence: float
    share: float


class CardFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entries of one feature: bins of a number, or levels in the order in which categories are declared."""

    name: str
    missing: Level
    bins: tuple[Bin, ...] = ()
    levels: tuple[Level, ...] = ()


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of scorecard.json."""

    format: Literal["aboveboard-scorecard/1"]
    base_points: Literal[600]
    base_odds: Literal[50]
    points_to_double: Literal[20]
    start: int
    """What everybody has before any feature is looked at."""
    features: tuple[CardFeature, ...]


class Scorecard:
    """A `Predictor` that adds up points. Safe to share between threads.

    Raises `NotVerified` where the card does not fit the encoding, or goes against a declared direction.
    """

    family = Family.SCORECARD

    def __init__(self, card: Card, encoding: Encoding) -> None:
        if [entry.name for entry in card.features] != [feature.name for feature in encoding.features]:
            raise _unfit("its features are not those of the encoding")
        if abs(card.start) > _MOST or not all(map(_sound, card.features, encoding.features)):
            raise _unfit("an entry of a feature is missing, out of order, or against its declared direction")
        self.card = card
        self._width = encoding.width
        self._first = [encoding.columns_of(index).start for index in range(len(encoding.features))]
        self._entries = [_Entry(entry, first) for entry, first in zip(card.features, self._first, strict=True)]
        self._shift = math.log(BASE_ODDS) - BASE_POINTS / FACTOR

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], encoding: Encoding) -> Scorecard:
        """Return the card that `files` gave. Raises `NotVerified`."""
        try:
            return cls(msgspec.json.decode(files[SCORECARD_FILE], type=Card), encoding)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _unfit(str(error)) from error

    def points(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the whole points of each feature, shape (n, features), of rows, shape (n, width)."""
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise RequestRefused(
                f"rows of shape {rows.shape} do not fit a model of {self._width} columns",
                hint="encode them with the model's own encoding",
            )
        if len(rows) == 1:
            cells = rows[0].tolist()
            return np.array([[entry.one(cells) for entry in self._entries]])
        return np.stack([entry.many(rows) for entry in self._entries], axis=1)

    def margin(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log-odds, shape (n,), of rows, shape (n, width)."""
        total: NDArray[np.float64] = self.points(rows).sum(axis=1)
        return (self.card.start + total) / FACTOR + self._shift

    def margin_of(self, row: NDArray[np.float64]) -> float:
        """Return the log-odds of one row, shape (width,)."""
        return float(self.margin(row.reshape(1, -1))[0])

    def attribute(self, rows: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return exact Baseline Shapley values, shape (n, width), against a reference row, shape (width,)."""
        out = np.zeros(rows.shape)
        out[:, self._first] = (self.points(rows) - self.points(reference.reshape(1, -1))) / FACTOR
        return out

    def boxes(self) -> Boxes:
        """Return the entries as boxes: one for each bin or category of a feature, and one for its missing value."""
        points: list[int] = []
        conditions: list[Condition] = []
        for entry, first in zip(self.card.features, self._first, strict=True):
            edges = [-math.inf, *(math.inf if bin_.up_to is None else bin_.up_to for bin_ in entry.bins)]
            for low, high in itertools.pairwise(edges):
                conditions.append(Condition(len(conditions), first, low, high, missing=False))
            for level in range(len(entry.levels)):
                conditions.append(Condition(len(conditions), first + level, 0.5, math.inf, missing=False))
            conditions.append(Condition(len(conditions), first, math.inf, -math.inf, missing=True))
            parts: list[Bin | Level] = [*entry.bins, *entry.levels, entry.missing]
            points += [part.points for part in parts]
        return Boxes.of(self.card.start / FACTOR + self._shift, np.array(points) / FACTOR, conditions)

    def files(self) -> dict[str, bytes]:
        """Return the card as one JSON file."""
        return {SCORECARD_FILE: msgspec.json.format(msgspec.json.encode(self.card), indent=1) + b"\n"}


class _Entry:
    """One feature of the card, laid out for looking up."""

    def __init__(self, entry: CardFeature, first: int) -> None:
        self._first = first
        self._edges = [bin_.up_to for bin_ in entry.bins[:-1] if bin_.up_to is not None]
        self._bounds = np.array(self._edges)
        self._missing = float(entry.missing.points)
        self._points = [float(part.points) for part in (entry.bins or entry.levels)]
        self._lookup = np.array(self._points)
        self._levels = len(entry.levels)

    def one(self, cells: Sequence[float]) -> float:
        value = cells[self._first]
        if value != value:
            return self._missing
        if self._levels:
            own = cells[self._first : self._first + self._levels]
            return self._points[own.index(max(own))]
        return self._points[bisect_left(self._edges, value)]

    def many(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        value = rows[:, self._first]
        if self._levels:
            index = np.argmax(rows[:, self._first : self._first + self._levels], axis=1)
        else:
            index = np.searchsorted(self._bounds, np.where(np.isnan(value), 0.0, value), side="left")
        return np.where(np.isnan(value), self._missing, self._lookup[index])


def _sound(entry: CardFeature, feature: EncodedFeature) -> bool:
    parts: Sequence[Bin | Level] = entry.bins or entry.levels
    if any(abs(part.points) > _MOST for part in (*parts, entry.missing)):
        return False
    if feature.categories is not None:
        return not entry.bins and len(entry.levels) == len(feature.categories)
    edges = [bin_.up_to for bin_ in entry.bins]
    if not edges or entry.levels or edges[-1] is not None:
        return False
    inner = [edge for edge in edges[:-1] if edge is not None and math.isfinite(edge)]
    if len(inner) != len(edges) - 1 or any(low >= high for low, high in itertools.pairwise(inner)):
        return False
    points = [bin_.points for bin_ in entry.bins]
    match feature.monotonic:
        case Monotonic.INCREASING:
            return points == sorted(points)
        case Monotonic.DECREASING:
            return points == sorted(points, reverse=True)
        case Monotonic.NONE:
            return True


def _unfit(why: str) -> NotVerified:
    return NotVerified(f"not a scorecard we can read: {why}", hint="fetch the model again, or build it again")
