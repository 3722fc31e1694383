"""From log-odds to a probability that means what it says, without changing the order of anyone."""

from __future__ import annotations

import math
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """p = sigmoid(slope * margin + intercept).

    The slope is positive: whoever has the higher margin has the higher probability, so a calibrated model ranks,
    declines and gives reasons exactly as the model did. Raises `NotVerified` for any other slope.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope > 0):
            raise NotVerified("the calibration is not increasing", hint="fetch or build the model again")

    @overload
    def apply(self, margin: float) -> float: ...
    @overload
    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def apply(self, margin: Any) -> Any:
        """Return calibrated probabilities, of the shape of `margin`."""
        # tanh does not overflow where exp would.
        return 0.5 + 0.5 * np.tanh(0.5 * (self.slope * margin + self.intercept))
