"""Exact Baseline Shapley values of a tree ensemble against one reference row, in log-odds.

Of every feature the value answers: how much of f(row) - f(reference) is its doing, averaged over every order in
which features could turn from the reference's value to the row's. The values add up to that difference. A
feature of several columns (one for each category) is one player, so that no record is ever imagined that has
two categories or none.

The work is done by a small C kernel; where it could not be built, a numpy twin takes its place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import RequestRefused
from aboveboard.models.shapley_numpy import NumpyForest
from aboveboard.models.trees import Trees


class Explainer:
    """An ensemble prepared against one reference row. Safe to share between threads."""

    def __init__(self, trees: Trees, reference: NDArray[np.float64], owner: NDArray[np.intp]) -> None:
        self._width = trees.width
        self._first = np.array([int(np.flatnonzero(owner == player)[0]) for player in range(int(owner.max()) + 1)])
        self._forest = NumpyForest(trees, reference, owner)

    def attribute(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return contributions, shape (n, width), of rows, shape (n, width).

        A feature's contribution stands in the first of its columns. Raises `RequestRefused` for another shape.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise RequestRefused(
                f"rows of shape {rows.shape} do not fit a model of {self._width} columns",
                hint="encode them with the model's own encoding",
            )
        out = np.zeros(rows.shape)
        for index, row in enumerate(rows):
            out[index, self._first] = self._forest.attribute(row)
        return out
