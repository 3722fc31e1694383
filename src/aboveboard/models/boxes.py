"""A model taken apart into boxes: regions of the space of rows, each with what it adds to the margin.

Every leaf of a tree is a box, and so is every entry of a scorecard: a row's margin is the sum over the boxes that
hold it. What a change of one or two features does to a score is read off the boxes at once, for all values, instead
of being tried out value by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import Misuse
from aboveboard.models.monotone import leaf_boxes
from aboveboard.models.trees import MISSING_ZERO, Trees


class Condition(NamedTuple):
    """What one box asks of one column: low < value ≤ high, or, where `missing`, no value at all."""

    box: int
    column: int
    low: float
    high: float
    missing: bool


@dataclass(frozen=True, eq=False)
class Boxes:
    """A model as boxes. The margin of a row is `start` plus the values of the boxes that hold it.

    A box has at most one condition on a column; on a column without one it takes everything.
    """

    start: float
    values: NDArray[np.float64]
    """Log-odds of each box, shape (n,)."""
    box: NDArray[np.intp]
    """For each condition, shape (m,), the box that has it; likewise below."""
    column: NDArray[np.intp]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    missing: NDArray[np.bool_]

    @classmethod
    def of(cls, start: float, values: NDArray[np.float64], conditions: list[Condition]) -> Boxes:
        """Return boxes with these values and conditions."""
        box, column, low, high, missing = zip(*conditions, strict=True) if conditions else ((), (), (), (), ())
        return cls(
            start,
            values,
            np.array(box, dtype=np.intp),
            np.array(column, dtype=np.intp),
            np.array(low, dtype=np.float64),
            np.array(high, dtype=np.float64),
            np.array(missing, dtype=np.bool_),
        )

    def broken(self, row: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each condition, shape (m,), whether a row, shape (width,), does not meet it."""
        cells = row[self.column]
        met = (self.low < cells) & (cells <= self.high) | (np.isnan(cells) & self.missing)
        return ~met

    def count(self, chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return how many of the chosen conditions, shape (m,), each box has, shape (n,)."""
        return np.bincount(self.box[chosen], minlength=len(self.values))

    def bounds(self, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return low and high, shape (n,) each, of every box in a column: infinite where it asks nothing there."""
        low, high = np.full(len(self.values), -np.inf), np.full(len(self.values), np.inf)
        own = self.column == column
        low[self.box[own]], high[self.box[own]] = self.low[own], self.high[own]
        return low, high


def boxes_of_trees(trees: Trees) -> Boxes:
    """Return the leaves of an ensemble as boxes. Raises `Misuse` for trees that read zero as missing."""
    if (trees.nodes["flags"] & MISSING_ZERO).any():
        raise Misuse("trees that read zero as missing are no boxes", hint="train the model with zero as a number")
    values: list[NDArray[np.float64]] = []
    parts: list[tuple[NDArray[np.generic], ...]] = []
    first = 0
    ends = [*trees.roots[1:].tolist(), len(trees.nodes)]
    for start, end in zip(trees.roots.tolist(), ends, strict=True):
        nodes = trees.nodes[start:end]
        splits = len(nodes) // 2
        columns = np.unique(nodes["column"][:splits])
        low, high, missing = leaf_boxes(nodes, start, columns)
        leaf, place = np.nonzero((low > -np.inf) | (high < np.inf) | ~missing)
        asked = (leaf, place)
        parts.append((leaf + first, columns[place], low[asked], high[asked], missing[asked]))
        values.append(nodes["value"][splits:])
        first += len(nodes) - splits
    box, column, low, high, missing = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Boxes(0.0, np.concatenate(values), box, column.astype(np.intp), low, high, missing)
