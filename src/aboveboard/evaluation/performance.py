"""How well a score ranks people and how far off its probabilities are, each number with its interval.

The favourable outcome is the positive class throughout.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aboveboard.evaluation.intervals import mean_measure, rate_measure, undefined, z_quantile
from aboveboard.evaluation.report import Measure, Performance, ScoreBin

RESAMPLES = 400
"""Bootstrap samples for the measures that have no simple formula."""

SCORE_BINS = 40


def assess_performance(
    score: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    approved: NDArray[np.bool_],
    *,
    confidence: float,
    seed: int = 0,
) -> Performance:
    """Return how a score, the probability of the favourable outcome, performed. All arrays have shape (n,)."""
    n = len(score)
    ks, average_precision = _ks_and_average_precision(score, favourable, confidence, seed)
    return Performance(
        favourable_rate=rate_measure(int(favourable.sum()), n, confidence),
        approval_rate=rate_measure(int(approved.sum()), n, confidence),
        auc=auc(score, favourable, confidence),
        ks=ks,
        brier=brier(score, favourable, confidence),
        average_precision=average_precision,
    )


def auc(score: NDArray[np.float64], favourable: NDArray[np.bool_], confidence: float) -> Measure:
    """Return the area under the ROC curve with the interval of DeLong et al. (1988).

    The variance is computed from midranks in O(n log n) (Sun & Xu 2014). Undefined when only one outcome occurs;
    without an interval when the two outcomes are perfectly separated, where the variance estimate is 0.
    """
    from scipy.stats import rankdata

    n = len(score)
    positive, negative = score[favourable], score[~favourable]
    m, k = len(positive), len(negative)
    if m == 0 or k == 0:
        return undefined(n)
    ranks = rankdata(score)
    # The share of the other class that each record is ranked above.
    above = (ranks[favourable] - rankdata(positive)) / k
    below = 1.0 - (ranks[~favourable] - rankdata(negative)) / m
    value = float(above.mean())
    if m == 1 or k == 1:
        return Measure(value=value, low=None, high=None, n=n)
    error = math.sqrt(float(above.var(ddof=1)) / m + float(below.var(ddof=1)) / k)
    if error == 0.0:
        return Measure(value=value, low=None, high=None, n=n)
    half = z_quantile(confidence) * error
    return Measure(value=value, low=max(0.0, value - half), high=min(1.0, value + half), n=n)


def brier(score: NDArray[np.float64], favourable: NDArray[np.bool_], confidence: float) -> Measure:
    """Return the mean squared error of the probabilities (Brier 1950) with its t interval."""
    n = len(score)
    if n == 0:
        return undefined(0)
    squared = (score - favourable) ** 2
    measure = mean_measure(float(squared.mean()), float(squared.var(ddof=1)) if n > 1 else 0.0, n, confidence)
    if measure.low is None or measure.high is None:
        return measure
    return Measure(value=measure.value, low=max(0.0, measure.low), high=min(1.0, measure.high), n=n)


def score_distribution(score: NDArray[np.float64], favourable: NDArray[np.bool_]) -> list[ScoreBin]:
    """Return how many of each outcome fall into each of `SCORE_BINS` equal parts of [0, 1]."""
    good, bad = (
        np.histogram(score[chosen], bins=SCORE_BINS, range=(0.0, 1.0))[0] for chosen in (favourable, ~favourable)
    )
    return [
        ScoreBin(low=i / SCORE_BINS, high=(i + 1) / SCORE_BINS, favourable=int(good[i]), unfavourable=int(bad[i]))
        for i in range(SCORE_BINS)
    ]


def _ks_and_average_precision(
    score: NDArray[np.float64], favourable: NDArray[np.bool_], confidence: float, seed: int
) -> tuple[Measure, Measure]:
    """Return the Kolmogorov-Smirnov statistic and the average precision, with intervals from the same resamples.

    Records are put in order of score once; a resample is then a vector of how often each record was drawn.
    Average precision is Σ (R_k − R_{k−1}) P_k over distinct scores, as in scikit-learn.
    """
    n = len(score)
    if favourable.all() or not favourable.any():
        return undefined(n), undefined(n)
    order = np.lexsort((favourable, -score))  # equal input in another order gives equal resamples
    score, good = score[order], favourable[order].astype(np.float64)
    last_of_ties = np.append(score[1:] != score[:-1], True)

    def rates(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return the true and false positive rates at each distinct score, and the average precision."""
        above_good = np.cumsum(weight * good)[last_of_ties]
        above = np.cumsum(weight)[last_of_ties]
        total_good, total = max(above_good[-1], 1.0), above[-1]
        precision = above_good / np.maximum(above, 1.0)
        average_precision = float(np.diff(above_good, prepend=0.0) @ precision / total_good)
        return above_good / total_good, (above - above_good) / max(total - above_good[-1], 1.0), average_precision

    true_positive, false_positive, average_precision = rates(np.ones(n))
    generator = np.random.default_rng(seed)
    resampled = np.empty((RESAMPLES, 2))
    for row in resampled:
        t, f, row[1] = rates(np.bincount(generator.integers(0, n, n), minlength=n).astype(np.float64))
        row[0] = np.abs(t - f).max()
    return (
        _ks_measure(true_positive, false_positive, favourable, resampled[:, 0], confidence),
        _bias_corrected_measure(average_precision, resampled[:, 1], n, confidence),
    )


def _ks_measure(
    true_positive: NDArray[np.float64],
    false_positive: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    resampled: NDArray[np.float64],
    confidence: float,
) -> Measure:
    """Return KS with its interval: that of the difference of two proportions at the cut-off where it is largest.

    A maximum is biased upwards, and a bootstrap of it once more by about as much: the lower end is moved down by
    what the bootstrap shows the bias to be. A percentile interval of nominally 90 % covers 62 to 77 % here.
    """
    gap = np.abs(true_positive - false_positive)
    best = int(gap.argmax())
    value, n, good = float(gap[best]), len(favourable), int(favourable.sum())
    variance = sum(
        float(rate * (1 - rate)) / size
        for rate, size in ((true_positive[best], good), (false_positive[best], n - good))
    )
    half, bias = z_quantile(confidence) * math.sqrt(variance), max(0.0, float(resampled.mean()) - value)
    return Measure(value=value, low=max(0.0, value - bias - half), high=min(1.0, value + half), n=n)


def _bias_corrected_measure(value: float, resampled: NDArray[np.float64], n: int, confidence: float) -> Measure:
    """Return a value with the bias-corrected percentile interval of its resamples, shape (r,) (Efron 1981)."""
    from scipy.special import ndtr, ndtri

    r = len(resampled)
    below = float((resampled < value).sum() + (resampled == value).sum() / 2) / r
    shift = ndtri(np.clip(below, 1 / r, 1 - 1 / r))
    z = z_quantile(confidence)
    low, high = np.quantile(resampled, ndtr(2 * shift + np.array([-z, z])))
    return Measure(value=value, low=min(value, float(low)), high=max(value, float(high)), n=n)
