"""Fitting the calibration on records the model has not seen (Platt 1999, with his smoothed targets)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import DataRefused, Problem
from aboveboard.models.calibration import Calibration

_STEPS: Final = 100
_CLOSE: Final = 1e-12


def fit_calibration(margin: NDArray[np.float64], favourable: NDArray[np.bool_]) -> Calibration:
    """Return the calibration of highest likelihood for log-odds and outcomes, both of shape (n,).

    The targets are (n₊+1)/(n₊+2) and 1/(n₋+2) instead of 1 and 0, so that a model that separates a small sample
    perfectly is not believed without limit (Platt 1999; Lin, Lin and Weng 2007). Raises `DataRefused` where the
    sample has one outcome only, or the model ranks it the wrong way round.
    """
    good, bad = int(favourable.sum()), int((~favourable).sum())
    if not good or not bad:
        raise _refused(f"it has {good} favourable and {bad} other outcomes; both are needed")
    target = np.where(favourable, (good + 1) / (good + 2), 1 / (bad + 2))
    # Newton's method on two parameters; the margin is standardised, so that the starting point is always near.
    centre, scale = float(margin.mean()), float(margin.std()) or 1.0
    design = np.stack([(margin - centre) / scale, np.ones_like(margin)])
    theta = np.zeros(2)
    for _ in range(_STEPS):
        probability = 0.5 + 0.5 * np.tanh(0.5 * (theta @ design))
        gradient = design @ (target - probability)
        hessian = (design * (probability * (1 - probability))) @ design.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        theta += step
        if float(np.abs(step).max()) < _CLOSE:
            break
    slope = float(theta[0]) / scale
    if not slope > 0:
        raise _refused("the model ranks it no better than chance")
    return Calibration(slope=slope, intercept=float(theta[1]) - slope * centre)


def _refused(why: str) -> DataRefused:
    problem = Problem("calibration", why, "bring more records, or better features")
    return DataRefused("the calibration sample does not fit the model", [problem], hint=problem.hint)
