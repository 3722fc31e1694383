"""Random tree ensembles and rows for property tests, with every way a value can be missing."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from aboveboard.models.trees import DEFAULT_LEFT, MISSING_NAN, MISSING_ZERO, NODE, Trees

VALUES = (-2.0, -1.0, -1e-36, 0.0, 1e-36, 0.5, 1.0, 2.0, float("nan"))
THRESHOLDS = (-1.5, -1.0, 0.0, 1.0000000180025095e-35, 0.5, 1.0, float("inf"))
FLAGS = (0, DEFAULT_LEFT, MISSING_ZERO, MISSING_ZERO | DEFAULT_LEFT, MISSING_NAN, MISSING_NAN | DEFAULT_LEFT)


@st.composite
def ensembles(draw: st.DrawFn, width: int, *, zero_is_missing: bool = True) -> Trees:
    """Return one to four trees of up to twelve leaves, grown by splitting a leaf at a time."""
    parts: list[NDArray[np.void]] = []
    roots: list[int] = []
    for _ in range(draw(st.integers(1, 4))):
        start = sum(len(part) for part in parts)
        roots.append(start)
        parts.append(_tree(draw, width, start))
        if not zero_is_missing:
            parts[-1]["flags"] &= ~np.uint32(MISSING_ZERO)
    return Trees(width, np.concatenate(parts), np.array(roots, dtype=np.int32))


def _tree(draw: st.DrawFn, width: int, start: int) -> NDArray[np.void]:
    leaves = draw(st.integers(1, 12))
    splits = leaves - 1
    nodes = np.zeros(splits + leaves, dtype=NODE)
    nodes["column"] = nodes["left"] = nodes["right"] = -1
    nodes["value"] = draw(st.lists(st.integers(-8, 8), min_size=len(nodes), max_size=len(nodes)))
    ends = [(-1, "")]  # (parent, side) of every end of the tree as it grows
    for split in range(splits):
        parent, side = ends.pop(draw(st.integers(0, len(ends) - 1)))
        if parent >= 0:
            nodes[side][parent] = split + start
        nodes["column"][split] = draw(st.integers(0, width - 1))
        nodes["value"][split] = draw(st.sampled_from(THRESHOLDS))
        nodes["flags"][split] = draw(st.sampled_from(FLAGS))
        ends += [(split, "left"), (split, "right")]
    for leaf, (parent, side) in enumerate(ends):
        if parent >= 0:
            nodes[side][parent] = splits + leaf + start
    return nodes


def rows_of(width: int) -> st.SearchStrategy[NDArray[np.float64]]:
    """Return rows, shape (width,), whose values fall on, between and beyond the thresholds."""
    return st.lists(st.sampled_from(VALUES), min_size=width, max_size=width).map(np.array)


def owners(width: int) -> st.SearchStrategy[NDArray[np.intp]]:
    """Return which player each column belongs to, as an encoding numbers them: 0, 0, 1, 2, 2, ..."""
    return st.lists(st.booleans(), min_size=width, max_size=width).map(
        lambda starts: np.cumsum([0, *map(int, starts[1:])]).astype(np.intp)
    )


def margin(trees: Trees, row: NDArray[np.float64]) -> float:
    """Return what the leaves a row falls into add up to, walked the plainest way."""
    total = 0.0
    for root in trees.roots.tolist():
        at = root
        while trees.nodes["column"][at] >= 0:
            at = int(trees.nodes["left" if _left(trees.nodes[at], row) else "right"][at])
        total += float(trees.nodes["value"][at])
    return total


def _left(node: np.void, row: NDArray[np.float64]) -> bool:
    value = float(row[node["column"]])
    flags = int(node["flags"])
    missing = np.isnan(value) and bool(flags & MISSING_NAN)
    if np.isnan(value) or abs(value) <= 1e-35:
        value = 0.0
    if missing or (flags & MISSING_ZERO and value == 0.0):
        return bool(flags & DEFAULT_LEFT)
    return value <= float(node["value"])
