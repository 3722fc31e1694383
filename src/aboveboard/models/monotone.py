"""Whether trees keep to the declared directions: not tried out on samples, but settled for every possible row.

LightGBM's finer methods for monotone constraints do not always keep them where values are missing, so what it
says is checked. Every leaf is a box: in each column an interval, and whether a missing value gets there. A tree
goes against a direction exactly when two of its boxes overlap in every other column, one lies below the other in
that one, and the wrong one has the higher leaf. An ensemble whose every tree keeps to a direction does so itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aboveboard.models.trees import DEFAULT_LEFT, MISSING_NAN, MISSING_ZERO, Trees

TOLERANCE: Final = 1e-12
"""Log-odds by which a leaf may be out of order and count as rounding."""


def largest_violation(trees: Trees, directions: Sequence[int]) -> float:
    """Return by how much log-odds some tree moves against a direction; 0 where none does.

    `directions` says of each column 1, -1 or 0. Infinite where trees read zero as missing: that is not settled here.
    """
    constrained = [column for column, direction in enumerate(directions) if direction]
    if not constrained:
        return 0.0
    if (trees.nodes["flags"] & MISSING_ZERO).any():
        return float("inf")
    ends = [*trees.roots[1:].tolist(), len(trees.nodes)]
    return max(
        _violation_of_tree(trees.nodes[start:end], start, directions)
        for start, end in zip(trees.roots.tolist(), ends, strict=True)
    )


def _violation_of_tree(nodes: NDArray[np.void], start: int, directions: Sequence[int]) -> float:
    splits = len(nodes) // 2
    columns = np.unique(nodes["column"][:splits])
    constrained = [(place, directions[column]) for place, column in enumerate(columns) if directions[column]]
    if not constrained:
        return 0.0
    low, high, missing = leaf_boxes(nodes, start, columns)
    leaf = nodes["value"][splits:]
    apart = ~(
        (np.maximum(low[:, None], low[None]) < np.minimum(high[:, None], high[None]))
        | (missing[:, None] & missing[None])
    )
    columns_apart = apart.sum(axis=2)
    worst = 0.0
    for place, direction in constrained:
        holds = low[:, place] < high[:, place]
        below = (high[:, None, place] <= low[None, :, place]) & holds[:, None] & holds[None]
        neighbours = below & (columns_apart - apart[:, :, place] == 0)
        if neighbours.any():
            worst = max(worst, float((direction * (leaf[:, None] - leaf[None]))[neighbours].max()))
    return worst


def leaf_boxes(
    nodes: NDArray[np.void], start: int, columns: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return for each leaf and column the interval (low, high], and whether a missing value gets there.

    `nodes` are one tree's, whose root has the index `start`, and `columns` those it splits, ascending. The results
    have the shape (leaves, columns). They do not hold for trees that read zero as missing.
    """
    place = {int(column): index for index, column in enumerate(columns)}
    low = np.full((len(nodes), len(columns)), -np.inf)
    high = np.full((len(nodes), len(columns)), np.inf)
    missing = np.ones((len(nodes), len(columns)), dtype=np.bool_)
    splits = len(nodes) // 2
    for at, node in enumerate(nodes[:splits]):  # parents stand before their children
        left, right, column = int(node["left"]) - start, int(node["right"]) - start, place[int(node["column"])]
        for child in (left, right):
            low[child], high[child], missing[child] = low[at], high[at], missing[at]
        threshold, flags = float(node["value"]), int(node["flags"])
        high[left, column] = min(high[left, column], threshold)
        low[right, column] = max(low[right, column], threshold)
        missing_left = bool(flags & DEFAULT_LEFT) if flags & MISSING_NAN else threshold >= 0
        missing[right if missing_left else left, column] = False
    return low[splits:], high[splits:], missing[splits:]
