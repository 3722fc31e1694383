"""Exact Baseline Shapley values of a tree ensemble against one reference row, in log-odds.

Of every feature the value answers: how much of f(row) - f(reference) is its doing, averaged over every order in
which features could turn from the reference's value to the row's. The values add up to that difference. A
feature of several columns (one for each category) is one player, so that no record is ever imagined that has
two categories or none.

The work is done by a small C kernel; where it could not be built, a numpy twin takes its place.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified, RequestRefused
from aboveboard.models.shapley_numpy import NumpyForest
from aboveboard.models.trees import Trees

try:
    _kernel: Any = importlib.import_module("aboveboard.models._shapley")
except ImportError:  # no compiler at installation, or another platform's file
    _kernel = None

HAS_KERNEL: Final = _kernel is not None
"""Whether the C kernel is in use; the numpy twin gives the same values, some thirty times slower."""

REFERENCE_LEFT: Final = 8
"""Flag: the reference row goes left at this split. Stands beside the flags of `trees`."""


class Forest(Protocol):
    """An ensemble prepared against one reference row."""

    def attribute(self, rows: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Add each player's contribution for rows, shape (n, width), to out, shape (n, players)."""
        ...


def numpy_forest(trees: Trees, reference: NDArray[np.float64], owner: NDArray[np.intp]) -> Forest:
    """Return the ensemble prepared for numpy."""
    return NumpyForest(trees, reference, owner)


def kernel_forest(trees: Trees, reference: NDArray[np.float64], owner: NDArray[np.intp]) -> Forest:
    """Return the ensemble prepared for the C kernel. Raises `NotVerified` where the kernel does not take it."""
    nodes = trees.nodes.copy()
    nodes["flags"] |= np.where(trees.goes_left(reference), np.uint32(REFERENCE_LEFT), np.uint32(0))
    try:
        forest: Forest = _kernel.Forest(nodes, trees.roots, owner.astype(np.int32), int(owner.max()) + 1)
    except ValueError as error:
        raise NotVerified(f"the kernel does not take the trees: {error}", hint="build the model again") from error
    return forest


def kernel_margin(trees: Trees, owner: NDArray[np.intp]) -> Callable[[NDArray[np.float64]], float] | None:
    """Return what gives the margin of one row, shape (width,), bit for bit as LightGBM does; None without the kernel.

    LightGBM keeps a tree in five arrays and the kernel in one: of memory that others have used meanwhile, and in a
    server they have, a row needs a third. What is returned raises `ValueError` for a row of another shape.
    """
    if not HAS_KERNEL:
        return None
    forest: Any = kernel_forest(trees, np.zeros(trees.width), owner)
    margin: Callable[[NDArray[np.float64]], float] = forest.margin
    return margin


class Explainer:
    """Explains rows against one reference row; `owner` names the player of each column.

    Safe to share between threads. Raises `NotVerified` where the kernel does not take the trees.
    """

    def __init__(self, trees: Trees, reference: NDArray[np.float64], owner: NDArray[np.intp]) -> None:
        self._width = trees.width
        self._players, self._first = np.unique(owner, return_index=True)
        self._forest = (kernel_forest if HAS_KERNEL else numpy_forest)(trees, reference, owner)

    def attribute(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return contributions, shape (n, width), of rows, shape (n, width).

        A player's contribution stands in the first of its columns. Raises `RequestRefused` for another shape.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise RequestRefused(
                f"rows of shape {rows.shape} do not fit a model of {self._width} columns",
                hint="encode them with the model's own encoding",
            )
        by_player = np.zeros((len(rows), len(self._players)))
        if len(rows):
            self._forest.attribute(np.ascontiguousarray(rows, dtype=np.float64), by_player)
        if len(self._players) == self._width:
            return by_player
        out = np.zeros(rows.shape)
        out[:, self._first] = by_player
        return out
