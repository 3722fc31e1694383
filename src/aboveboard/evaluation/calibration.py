"""Whether a score of 0.8 means eight in ten: overall, and within each group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aboveboard.evaluation.intervals import undefined
from aboveboard.evaluation.report import Calibration, Measure, ScoreBand

BANDS = 10
RECORDS_PER_BAND = 30
"""Fewer bands are made rather than thinner ones: the error over thin bands is mostly noise."""

_DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Bands:
    """Counts and sums over bands of about equal count, in ascending order of score; every array is (bands,)."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    mean_score: NDArray[np.float64]
    favourable: NDArray[np.int64]

    @property
    def favourable_rate(self) -> NDArray[np.float64]:
        """The share of favourable outcomes in each band."""
        return self.favourable / self.n


def equal_count_bands(score: NDArray[np.float64], favourable: NDArray[np.bool_]) -> Bands:
    """Cut n > 0 records into at most `BANDS` bands of about equal count and at least `RECORDS_PER_BAND`.

    Equal scores share a band, so that the bands do not depend on the order of the records; a score with few
    distinct values gives fewer bands.
    """
    order = np.lexsort((favourable, score))
    score, favourable = score[order], favourable[order]
    n = len(score)
    wanted = max(1, min(BANDS, n // RECORDS_PER_BAND))
    starts = np.searchsorted(score, score[[n * i // wanted for i in range(wanted)]], side="left")
    starts = np.unique(starts)
    ends = np.append(starts[1:], n)
    count = ends - starts
    return Bands(
        low=score[starts],
        high=score[ends - 1],
        n=count,
        mean_score=np.add.reduceat(score, starts) / count,
        favourable=np.add.reduceat(favourable.astype(np.int64), starts),
    )


def assess_calibration(
    score: NDArray[np.float64], favourable: NDArray[np.bool_], *, confidence: float, seed: int = 0
) -> Calibration:
    """Return the calibration of probabilities of shape (n,) against what happened."""
    error = calibration_error(score, favourable, confidence=confidence, seed=seed)
    if len(score) == 0:
        return Calibration(error=error, slope=None, intercept=None, bands=[])
    bands = equal_count_bands(score, favourable)
    slope, intercept = logistic_recalibration(score, favourable)
    return Calibration(
        error=error,
        slope=slope,
        intercept=intercept,
        bands=[
            ScoreBand(low=float(low), high=float(high), n=int(n), mean_score=float(mean), favourable_rate=float(rate))
            for low, high, n, mean, rate in zip(
                bands.low, bands.high, bands.n, bands.mean_score, bands.favourable_rate, strict=True
            )
        ],
    )


def calibration_error(
    score: NDArray[np.float64], favourable: NDArray[np.bool_], *, confidence: float, seed: int = 0
) -> Measure:
    """Return the expected calibration error over equal-count bands, Σ wᵦ |rateᵦ − mean scoreᵦ|, with an interval.

    The error cannot be negative, so noise pushes it up, and a bootstrap of it is off to one side exactly where
    the model is well calibrated. The interval here holds whatever the truth: the error is a norm of the gaps, so
    by the triangle inequality it is never further from the estimate than the norm of the noise, Σ wᵦ |εᵦ|, whose
    quantile is found by simulation with εᵦ normal and its variance that of a rate after Agresti & Coull (1998).
    It errs on the wide side.
    """
    n = len(score)
    if n == 0:
        return undefined(0)
    bands = equal_count_bands(score, favourable)
    weight = bands.n / n
    error = float(weight @ np.abs(bands.favourable_rate - bands.mean_score))
    smoothed = (bands.favourable + 2) / (bands.n + 4)
    deviation = np.sqrt(smoothed * (1 - smoothed) / bands.n)
    noise = np.abs(np.random.default_rng(seed).standard_normal((_DRAWS, len(weight)))) @ (weight * deviation)
    reach = float(np.quantile(noise, confidence))
    return Measure(value=error, low=max(0.0, error - reach), high=min(1.0, error + reach), n=n)


def logistic_recalibration(
    score: NDArray[np.float64], favourable: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    """Return slope and intercept of the logistic regression of the outcome on the score's log-odds (Cox 1958).

    1 and 0 are perfect; a slope below 1 means scores too extreme, i.e. overfitted. (None, None) where the
    regression has no solution: one outcome only, outcomes perfectly separated, or all scores equal.
    """
    from sklearn.linear_model import LogisticRegression

    good, bad = score[favourable], score[~favourable]
    if len(good) == 0 or len(bad) == 0 or score.min() == score.max():
        return None, None
    if good.min() >= bad.max() or bad.min() >= good.max():
        return None, None
    bounded = np.clip(score, 1e-12, 1 - 1e-12)
    log_odds = np.log(bounded / (1 - bounded))
    order = np.lexsort((favourable, log_odds))
    fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=100)
    fit.fit(log_odds[order, None], favourable[order])
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])
