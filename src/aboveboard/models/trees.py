"""A gradient-boosted ensemble as arrays: read from LightGBM's text format, checked in full, written back.

Nothing here trusts the text. A tree that is not one (a child outside it, a loop, a node with two parents) is
refused before any compiled code sees it, and what LightGBM itself is given is the text written back from the
checked arrays, so that it reads exactly what we read.

Format: LightGBM `src/io/gbdt_model_text.cpp` and `src/io/tree.cpp`, version v4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified

MAX_DEPTH: Final = 64
"""The deepest tree that is taken; the reasons kernel sizes its tables by it."""

NODE: Final = np.dtype([("value", "f8"), ("column", "i4"), ("left", "i4"), ("right", "i4"), ("flags", "u4")])
"""One node. A split has its column and its threshold as `value`; a leaf has column -1 and its margin.

`left` and `right` are indices of nodes and always larger than the node's own.
"""

DEFAULT_LEFT: Final = 1
"""Flag: a missing value goes left."""
MISSING_ZERO: Final = 2
"""Flag: zero counts as missing, and so does NaN."""
MISSING_NAN: Final = 4
"""Flag: NaN counts as missing. Without either flag NaN is read as zero."""

_CATEGORICAL_BIT: Final = 1
_DEFAULT_LEFT_BIT: Final = 2
_MISSING: Final = {0: 0, 1: MISSING_ZERO, 2: MISSING_NAN}
ZERO: Final = float(np.float32(1e-35))
"""Up to this size LightGBM takes a number for zero (`kZeroThreshold`, a float constant)."""

_HEADER: Final = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "label_index": "0"}
_OBJECTIVE: Final = "binary sigmoid:1"


@dataclass(frozen=True)
class Trees:
    """Decision trees whose leaves add up to the log-odds of the favourable outcome."""

    width: int
    """How many columns a row has."""
    nodes: NDArray[np.void]
    """All nodes of all trees, of dtype `NODE`."""
    roots: NDArray[np.int32]
    """Where each tree begins, in order."""

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Tell for each node whether it is a leaf."""
        leaf: NDArray[np.bool_] = self.nodes["column"] < 0
        return leaf

    def goes_left(self, row: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each node whether a row, shape (width,), goes left there; a leaf says False."""
        flags = self.nodes["flags"]
        columns = np.maximum(self.nodes["column"], 0)
        nan = np.isnan(row)
        known = np.where(nan | (np.abs(row) <= ZERO), 0.0, row)
        values = known[columns]
        missing = ((flags & MISSING_ZERO) != 0) & (values == 0) | ((flags & MISSING_NAN) != 0) & nan[columns]
        left = np.where(missing, (flags & DEFAULT_LEFT) != 0, values <= self.nodes["value"])
        result: NDArray[np.bool_] = left & ~self.is_leaf
        return result

    def to_text(self) -> str:
        """Return the ensemble in LightGBM's text format, which LightGBM and shap can load."""
        header = [
            "tree",
            *(f"{key}={value}" for key, value in _HEADER.items()),
            f"max_feature_idx={self.width - 1}",
            f"objective={_OBJECTIVE}",
            "feature_names=" + " ".join(f"Column_{index}" for index in range(self.width)),
            "feature_infos=" + " ".join(["[-inf:inf]"] * self.width),
        ]
        ends = [*self.roots[1:].tolist(), len(self.nodes)]
        trees = [
            _tree_text(index, self.nodes[start:end], int(start))
            for index, (start, end) in enumerate(zip(self.roots.tolist(), ends, strict=True))
        ]
        sizes = "tree_sizes=" + " ".join(str(len(tree)) for tree in trees)
        return "\n".join([*header, sizes, "", "".join(trees) + "end of trees\n"])


def parse_trees(text: str) -> Trees:
    """Return the ensemble in a LightGBM model text: binary objective, numeric splits, constant leaves.

    Raises `NotVerified` for everything else, and for anything that is not a tree.
    """
    try:
        return _parse(text)
    except (ValueError, OverflowError, KeyError, IndexError) as error:
        raise _damaged(f"it does not parse ({type(error).__name__})") from error


def _parse(text: str) -> Trees:
    before, end, _ = text.partition("\nend of trees")
    if not end:
        raise _damaged("its end is missing")
    header_text, *blocks = before.split("\nTree=")
    lines = header_text.splitlines()
    if not lines or lines[0] != "tree":
        raise _damaged("it does not begin with 'tree'")
    if "average_output" in lines:
        raise _damaged("it averages its trees, as a random forest does")
    header = _fields(lines[1:])
    if any(header.get(key) != value for key, value in _HEADER.items()) or header.get("objective") != _OBJECTIVE:
        raise _damaged("it is not a binary model of format v4")
    width = int(header["max_feature_idx"]) + 1
    if not 1 <= width <= 1_000_000 or not blocks:
        raise _damaged("it has no columns or no trees")
    nodes: list[NDArray[np.void]] = []
    roots: list[int] = []
    start = 0
    for index, block in enumerate(blocks):
        number, _, body = block.partition("\n")
        if number.strip() != str(index):
            raise _damaged("its trees are out of order")
        tree = _tree(_fields(body.splitlines()), width, start)
        nodes.append(tree)
        roots.append(start)
        start += len(tree)
    return Trees(width, np.concatenate(nodes), np.array(roots, dtype=np.int32))


def _fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            continue
        key, equals, value = line.partition("=")
        if not equals or key in fields:
            raise _damaged("a line of it is not key=value, or stands twice")
        fields[key] = value
    return fields


def _tree(fields: dict[str, str], width: int, start: int) -> NDArray[np.void]:
    """Return one tree's nodes, splits first, then leaves; `start` is the index of its root in the ensemble."""
    if fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
        raise _damaged("it has categorical splits or linear leaves")
    leaves = int(fields["num_leaves"])
    if not 1 <= leaves <= 1 << 20:
        raise _damaged("a tree has no leaves or too many")
    splits = leaves - 1
    nodes = np.zeros(splits + leaves, dtype=NODE)
    nodes["value"][splits:] = _floats(fields, "leaf_value", leaves)
    if not np.isfinite(nodes["value"]).all():
        raise _damaged("a leaf is not a finite number")
    nodes["column"][splits:] = -1
    nodes["left"][splits:] = nodes["right"][splits:] = -1
    if splits:
        # An infinite threshold is in order: it parts what is missing from what is not.
        nodes["value"][:splits] = _floats(fields, "threshold", splits)
        nodes["column"][:splits] = columns = _integers(fields, "split_feature", splits)
        if not ((columns >= 0) & (columns < width)).all():
            raise _damaged("a split reads a column that is not there")
        nodes["flags"][:splits] = _flags(_integers(fields, "decision_type", splits))
        for side in ("left", "right"):
            children = _integers(fields, f"{side}_child", splits)
            nodes[side][:splits] = np.where(children >= 0, children, splits + ~children)
    _check_shape(nodes["left"][:splits], nodes["right"][:splits], splits)
    nodes["left"][:splits] += start
    nodes["right"][:splits] += start
    return nodes


def _flags(decisions: NDArray[np.int64]) -> NDArray[np.uint32]:
    if ((decisions < 0) | (decisions > 15) | (decisions & _CATEGORICAL_BIT != 0) | (decisions >> 2 == 3)).any():
        raise _damaged("a split is of a kind we do not read")
    default_left = np.where(decisions & _DEFAULT_LEFT_BIT, DEFAULT_LEFT, 0)
    missing = np.array([_MISSING[int(kind)] for kind in decisions >> 2], dtype=np.uint32)
    return default_left.astype(np.uint32) | missing


def _check_shape(left: NDArray[np.int32], right: NDArray[np.int32], splits: int) -> None:
    """See that the nodes form one tree, not too deep: children after parents, all but the root a child once."""
    children = np.concatenate([left, right]).astype(np.int64)
    parents = np.tile(np.arange(splits), 2)
    if not np.array_equal(np.sort(children), np.arange(1, 2 * splits + 1)) or (children <= parents).any():
        raise _damaged("its nodes do not form a tree")
    depth = [0] * (2 * splits + 1)
    for parent, (low, high) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        depth[low] = depth[high] = depth[parent] + 1
    if max(depth) > MAX_DEPTH:
        raise _damaged(f"a tree is deeper than {MAX_DEPTH}")


def _floats(fields: dict[str, str], key: str, count: int) -> NDArray[np.float64]:
    numbers = [float(word) for word in fields[key].split()]
    if len(numbers) != count or any(map(math.isnan, numbers)):
        raise _damaged(f"{key} is not {count} numbers")
    return np.array(numbers, dtype=np.float64)


def _integers(fields: dict[str, str], key: str, count: int) -> NDArray[np.int64]:
    numbers = [int(word) for word in fields[key].split()]
    if len(numbers) != count or any(abs(number) > 1 << 30 for number in numbers):
        raise _damaged(f"{key} is not {count} whole numbers")
    return np.array(numbers, dtype=np.int64)


def _tree_text(index: int, nodes: NDArray[np.void], start: int) -> str:
    splits = len(nodes) // 2
    inner, leaves = nodes[:splits], nodes[splits:]
    lines = [f"Tree={index}", f"num_leaves={len(leaves)}", "num_cat=0"]
    if splits:
        decisions = [_decision(int(flags)) for flags in inner["flags"]]
        lines += [
            "split_feature=" + _joined(inner["column"].tolist()),
            "threshold=" + _joined(inner["value"].tolist()),
            "decision_type=" + _joined(decisions),
            "left_child=" + _joined(_children(inner["left"] - start, splits)),
            "right_child=" + _joined(_children(inner["right"] - start, splits)),
        ]
    lines += ["leaf_value=" + _joined(leaves["value"].tolist()), "is_linear=0", "shrinkage=1"]
    return "\n".join([*lines, "", "", ""])


def _decision(flags: int) -> int:
    missing = 2 if flags & MISSING_NAN else 1 if flags & MISSING_ZERO else 0
    return missing << 2 | (_DEFAULT_LEFT_BIT if flags & DEFAULT_LEFT else 0)


def _children(positions: NDArray[np.int32], splits: int) -> Iterator[int]:
    return (position if position < splits else ~(position - splits) for position in positions.tolist())


def _joined(numbers: Iterator[int] | list[int] | list[float]) -> str:
    return " ".join(repr(number) for number in numbers)


def _damaged(why: str) -> NotVerified:
    return NotVerified(f"not a tree model we can read: {why}", hint="fetch the model again, or build it again")
