"""From an encoded applicant to an outcome with its reasons: pure, and the same wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aboveboard.models import Model, Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one request."""

    outcome: str
    score: float
    """Calibrated probability of the favourable outcome."""
    reasons: tuple[Reason, ...]
    """Why it was not favourable, the weightiest first; empty where it was."""


def score_of(model: Model, row: NDArray[np.float64]) -> float:
    """Return the calibrated probability of the favourable outcome of one row, shape (width,).

    What `Model.score` does for many, without arrays of one: the same operations in the same order.
    """
    return float(model.calibration.apply(model.margin_of(row)))


def decide(
    model: Model, row: NDArray[np.float64], *, locale: str, explaining: Callable[[], None] | None = None
) -> Decision:
    """Return the decision of `model` on one encoded row, shape (width,), with reasons in `locale`.

    The words for the outcome follow from the model's purpose. A person who is referred is told the reasons too:
    the outcome is not the one they asked for. `explaining` is called between the score and its reasons.
    """
    score = score_of(model, row)
    if score >= model.approve_at:
        return Decision(model.outcome(score), score, ())
    if explaining is not None:
        explaining()
    return Decision(model.outcome(score), score, tuple(model.reasons(row, locale)))
