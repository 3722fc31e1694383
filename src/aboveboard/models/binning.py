"""Cutting a number into few bins by the outcome: large enough, in the declared direction, no more than wanted.

The weight of evidence of a bin is ln((good/all good) / (bad/all bad)); see Siddiqi, Credit Risk Scorecards (2006).
One average record is added to every bin, so that an empty bin says nothing (0) instead of everything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_FINE: Final = 50
"""How many bins are started from."""


class Counts(NamedTuple):
    """How many records of either outcome a bin holds; `good` are the favourable ones."""

    good: int
    bad: int

    @property
    def all(self) -> int:
        return self.good + self.bad

    def with_(self, other: Counts) -> Counts:
        return Counts(self.good + other.good, self.bad + other.bad)


class Bins(NamedTuple):
    """Upper edges (inclusive, all but the last bin's, which has none) and the counts of each bin."""

    edges: list[float]
    counts: list[Counts]


def weight_of_evidence(part: Counts, whole: Counts) -> float:
    """Return the weight of evidence of a part of the sample, in log-odds against the whole."""
    good = part.good + whole.good / whole.all
    bad = part.bad + whole.bad / whole.all
    return math.log(good / bad) - math.log(whole.good / whole.bad)


def information(part: Counts, whole: Counts) -> float:
    """Return what a bin adds to the information value of its feature."""
    shares = part.good / whole.good - part.bad / whole.bad
    return shares * weight_of_evidence(part, whole)


def bin_number(
    values: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    whole: Counts,
    *,
    direction: int,
    most: int,
    least_share: float,
) -> Bins:
    """Return the bins of present values, shape (n,); `direction` is 1, -1 or 0, of the score with the value."""
    if not len(values):
        return Bins([], [Counts(0, 0)])
    levels = np.unique(values)
    if len(levels) > _FINE:
        levels = np.unique(np.quantile(values, np.linspace(0, 1, _FINE + 1)[1:], method="inverted_cdf"))
    index = np.searchsorted(levels, values, side="left")
    good = np.bincount(index[favourable], minlength=len(levels))
    every = np.bincount(index, minlength=len(levels))
    counts = [Counts(int(g), int(n - g)) for g, n in zip(good, every, strict=True)]
    bins = Bins([float(level) for level in levels[:-1]], counts)
    _merge_small(bins, whole, least_share * whole.all)
    _merge_against(bins, whole, direction)
    _merge_to(bins, whole, most)
    return bins


def count(favourable: NDArray[np.bool_]) -> Counts:
    """Return how many outcomes, shape (n,), are favourable and how many are not."""
    good = int(favourable.sum())
    return Counts(good, len(favourable) - good)


def _merge(bins: Bins, left: int) -> None:
    """Join a bin with the one to its right."""
    bins.counts[left : left + 2] = [bins.counts[left].with_(bins.counts[left + 1])]
    del bins.edges[left]


def _merge_small(bins: Bins, whole: Counts, least: float) -> None:
    """Join bins that are too small, or have one outcome only, with the neighbour most like them."""
    while len(bins.counts) > 1:
        smallest = min(range(len(bins.counts)), key=lambda i: (min(*bins.counts[i]) > 0, bins.counts[i].all))
        if bins.counts[smallest].all >= least and min(*bins.counts[smallest]) > 0:
            return
        _merge(bins, _likest_pair(bins.counts, whole, smallest))


def _likest_pair(counts: Sequence[Counts], whole: Counts, index: int) -> int:
    """Return where the pair begins in which a bin and its more similar neighbour stand."""
    pairs = [left for left in (index - 1, index) if 0 <= left < len(counts) - 1]
    return min(
        pairs,
        key=lambda left: abs(weight_of_evidence(counts[left], whole) - weight_of_evidence(counts[left + 1], whole)),
    )


def _merge_against(bins: Bins, whole: Counts, direction: int) -> None:
    """Join neighbours until the weight of evidence moves in the declared direction (pool adjacent violators)."""
    left = 0
    while direction and left < len(bins.counts) - 1:
        here, there = (weight_of_evidence(part, whole) for part in bins.counts[left : left + 2])
        if direction * (there - here) > 0:
            left += 1
        else:
            _merge(bins, left)
            left = max(left - 1, 0)


def _merge_to(bins: Bins, whole: Counts, most: int) -> None:
    """Join the neighbours that lose least information until no more than `most` bins are left."""
    while len(bins.counts) > most:
        lost = [
            information(here, whole) + information(there, whole) - information(here.with_(there), whole)
            for here, there in itertools.pairwise(bins.counts)
        ]
        _merge(bins, lost.index(min(lost)))
