"""What a model family must offer, whatever it is made of."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aboveboard.models.boxes import Boxes
from aboveboard.spec.types import Family


class Predictor(Protocol):
    """Scores rows in log-odds of the favourable outcome, and says what each feature contributed.

    Safe to share between threads.
    """

    @property
    def family(self) -> Family:
        """Return the family's name in model.yaml."""
        ...

    def margin(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log-odds, shape (n,), of rows, shape (n, width)."""
        ...

    def margin_of(self, row: NDArray[np.float64]) -> float:
        """Return the log-odds of one row, shape (width,), bit for bit as `margin` does."""
        ...

    def attribute(self, rows: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return exact Baseline Shapley values, shape (n, width), against a reference row, shape (width,).

        The players are the features: what a feature of several columns contributes stands in its first.
        """
        ...

    def boxes(self) -> Boxes:
        """Return the model taken apart into boxes; this takes time that grows with the model, and is not kept."""
        ...

    def files(self) -> dict[str, bytes]:
        """Return the files the family stores itself in, by name."""
        ...
