"""Baseline Shapley values of a tree ensemble in numpy, leaf by leaf: the kernel's twin where it is not built.

A leaf is reached by a coalition of features exactly when, for each player on the way to it, the coalition takes
the value (the row's if the player is in it, the reference's if not) that goes the leaf's way. So the leaf is a
game in which `a` players must be in, `b` must be out, and the rest do not matter, whose Shapley values are

    value * (a-1)! b! / (a+b)!   for each of the a,      -value * a! (b-1)! / (a+b)!   for each of the b.

Lundberg et al. 2020 (Nature Machine Intelligence 2, interventional TreeSHAP); Sundararajan and Najmi 2020
(ICML, "The many Shapley values") for the baseline game.
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

from aboveboard.models.trees import MAX_DEPTH, Trees


def _weights() -> NDArray[np.float64]:
    """Return w[a, b] = (a-1)! b! / (a+b)! for a ≥ 1, and 0 for a = 0."""
    table = np.zeros((MAX_DEPTH + 1, MAX_DEPTH + 1))
    for a in range(1, MAX_DEPTH + 1):
        for b in range(MAX_DEPTH + 1):
            table[a, b] = factorial(a - 1) * factorial(b) / factorial(a + b)
    return table


WEIGHTS = _weights()
"""w[a, b]: the share of a leaf that each of `a` players gets who must be in, when `b` others must be out."""


class NumpyForest:
    """An ensemble prepared against one reference row; `owner` names the player of each column."""

    def __init__(self, trees: Trees, reference: NDArray[np.float64], owner: NDArray[np.intp]) -> None:
        self._trees = trees
        self._players = int(owner.max()) + 1
        leaves, nodes, lefts = _paths(trees)
        # One step of a path for each split above each leaf, sorted so that the steps of one player stand together.
        player = owner[trees.nodes["column"][nodes]]
        order = np.lexsort((player, leaves))
        leaves, self._nodes, self._lefts, player = leaves[order], nodes[order], lefts[order], player[order]
        starts = np.ones(len(leaves), dtype=np.bool_)
        starts[1:] = (np.diff(leaves) != 0) | (np.diff(player) != 0)
        self._pair = np.flatnonzero(starts)
        self._pair_leaf = leaves[self._pair]
        self._pair_player = player[self._pair]
        self._count = len(trees.nodes)
        self._reference_ok = self._passes(reference)

    def attribute(self, rows: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Add each player's contribution for rows, shape (n, width), to out, shape (n, players)."""
        for row, contributions in zip(rows, out, strict=True):
            contributions += self._attribute(row)

    def _attribute(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(self._pair):
            return np.zeros(self._players)
        row_ok = self._passes(row)
        inside = row_ok & ~self._reference_ok
        outside = self._reference_ok & ~row_ok
        closed = ~row_ok & ~self._reference_ok
        needed = np.bincount(self._pair_leaf, inside, self._count).astype(np.intp)[self._pair_leaf]
        barred = np.bincount(self._pair_leaf, outside, self._count).astype(np.intp)[self._pair_leaf]
        reachable = np.bincount(self._pair_leaf, closed, self._count)[self._pair_leaf] == 0
        share = np.where(inside, WEIGHTS[needed, barred], 0.0) - np.where(outside, WEIGHTS[barred, needed], 0.0)
        value = self._trees.nodes["value"][self._pair_leaf]
        shares = np.where(reachable, value * share, 0.0)
        totals: NDArray[np.float64] = np.bincount(self._pair_player, shares, self._players).astype(np.float64)
        return totals

    def _passes(self, row: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each pair of leaf and player whether the row's values go the leaf's way."""
        if not len(self._pair):
            return np.zeros(0, np.bool_)
        agrees = self._trees.goes_left(row)[self._nodes] == self._lefts
        result: NDArray[np.bool_] = np.logical_and.reduceat(agrees, self._pair)
        return result


def _paths(trees: Trees) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return, for each split above each leaf: the leaf, the split, and whether the way goes left there."""
    count = len(trees.nodes)
    splits = np.flatnonzero(~trees.is_leaf)
    parent = np.full(count, -1, dtype=np.intp)
    is_left = np.zeros(count, dtype=np.bool_)
    for side in ("left", "right"):
        children = trees.nodes[side][splits]
        parent[children] = splits
        is_left[children] = side == "left"
    leaf = at = np.flatnonzero(trees.is_leaf)
    steps: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]] = []
    while True:
        climbing = parent[at] >= 0
        leaf, at = leaf[climbing], at[climbing]
        if not len(at):
            break
        steps.append((leaf, parent[at], is_left[at]))
        at = parent[at]
    if not steps:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.bool_)
    leaves, nodes, lefts = (np.concatenate(part) for part in zip(*steps, strict=True))
    return leaves, nodes, lefts
