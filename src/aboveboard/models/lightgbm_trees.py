"""The LightGBM family: gradient-boosted trees, scored as LightGBM does, explained exactly by our own kernel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified, RequestRefused
from aboveboard.models.boxes import Boxes, boxes_of_trees
from aboveboard.models.lightgbm_native import NativeBooster
from aboveboard.models.shapley import Explainer, kernel_margin
from aboveboard.models.trees import Trees, parse_trees
from aboveboard.spec.types import Family

TREES_FILE = "trees.txt"
"""LightGBM's text format; LightGBM itself and shap can load it."""

_REMEMBERED = 8
"""How many references are kept prepared; a model has two."""


class LightGBMTrees:
    """A `Predictor` over trees. Safe to share between threads."""

    family = Family.LIGHTGBM

    def __init__(self, trees: Trees, owner: NDArray[np.intp]) -> None:
        if trees.width != len(owner):
            raise NotVerified(
                f"the trees read {trees.width} columns, the encoding gives {len(owner)}",
                hint="the files belong to different models; fetch or build the model again",
            )
        self.trees = trees
        self._owner = owner
        self._booster = NativeBooster(trees)
        self._shape = (trees.width,)
        self._margin_of = kernel_margin(trees, owner) or self._booster.margin_of
        self._explainers: dict[bytes, Explainer] = {}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], owner: NDArray[np.intp]) -> LightGBMTrees:
        """Return the trees that `files` gave. Raises `NotVerified`."""
        try:
            return cls(parse_trees(files[TREES_FILE].decode("ascii")), owner)
        except UnicodeDecodeError as error:
            raise NotVerified("not a tree model: it is not text", hint="fetch or build the model again") from error

    def margin(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log-odds, shape (n,), of rows, shape (n, width)."""
        return self._booster.margin(rows)

    def margin_of(self, row: NDArray[np.float64]) -> float:
        """Return the log-odds of one row, shape (width,). Raises `RequestRefused` for another shape."""
        if row.shape != self._shape:
            raise RequestRefused(
                f"a row of shape {row.shape} does not fit a model of {self._shape[0]} columns",
                hint="encode it with the model's own encoding",
            )
        return self._margin_of(row)

    def attribute(self, rows: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return exact Baseline Shapley values, shape (n, width), against a reference row, shape (width,)."""
        key = reference.tobytes()
        explainer = self._explainers.get(key)
        if explainer is None:
            if len(self._explainers) >= _REMEMBERED:
                self._explainers.clear()
            explainer = self._explainers[key] = Explainer(self.trees, reference, self._owner)
        return explainer.attribute(rows)

    def boxes(self) -> Boxes:
        """Return the leaves as boxes. Raises `Misuse` where the trees read zero as missing."""
        return boxes_of_trees(self.trees)

    def files(self) -> dict[str, bytes]:
        """Return the trees as one text file."""
        return {TREES_FILE: self.trees.to_text().encode("ascii")}
