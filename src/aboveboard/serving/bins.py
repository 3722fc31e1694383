"""What the people look like who are decided about: how many fall into each bin of each feature, for telling drift.

The bins follow from the feature's contract, which is part of the release, so that they are the same in every server
and anyone can sort a reference sample into them: a category, a truth value or a small whole number is a bin of its
own; another quantity has ten of equal width between its minimum and maximum. Where a bound is missing, only presence
is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aboveboard.models import Encoding
from aboveboard.models.contract import EncodedFeature
from aboveboard.spec.types import FeatureType

BINS: Final = 10
MOST_VALUES: Final = 20
"""A whole number of no more values than this has a bin for each."""
MISSING: Final = "missing"
PRESENT: Final = "present"

_GATHERED: Final = 256
"""Rows that are sorted in one go: one by one would cost twenty times as much."""


class FeatureBins:
    """Counts by feature and bin of the rows that were added, of shape (width,) each."""

    def __init__(self, encoding: Encoding) -> None:
        self._rows: list[NDArray[np.float64]] = []
        self._places: list[tuple[str, str]] = []
        columns, lows, scales, lasts, firsts = [], [], [], [], []
        hot: list[int] = []
        hot_places: list[int] = []
        missing: list[tuple[int, int]] = []
        for index, feature in enumerate(encoding.features):
            column = encoding.columns_of(index).start
            first = len(self._places)
            if feature.categories is not None:
                hot += range(column, column + feature.width)
                hot_places += range(first, first + feature.width)
                labels = [str(category) for category in feature.categories]
            else:
                low, scale, labels = _steps(feature)
                columns.append(column)
                lows.append(low)
                scales.append(scale)
                lasts.append(len(labels) - 1)
                firsts.append(first)
            if feature.optional:
                missing.append((column, first + len(labels)))
                labels = [*labels, MISSING]
            self._places += [(feature.name, label) for label in labels]
        self._columns, self._hot, self._hot_places = (
            np.array(part, dtype=np.intp) for part in (columns, hot, hot_places)
        )
        self._low, self._scale = np.array(lows), np.array(scales)
        self._last, self._first = np.array(lasts, dtype=np.intp), np.array(firsts, dtype=np.intp)
        self._missing = np.array(missing, dtype=np.intp).reshape(-1, 2)
        # One place more than there are bins, for what is missing: it is counted elsewhere.
        self._counts = np.zeros(len(self._places) + 1, dtype=np.int64)

    def add(self, row: NDArray[np.float64]) -> None:
        """Count one row."""
        self._rows.append(row)
        if len(self._rows) >= _GATHERED:
            self._sort()

    def counts(self) -> Iterator[tuple[str, str, int]]:
        """Yield every feature and bin with its count."""
        self._sort()
        for (feature, label), count in zip(self._places, self._counts.tolist(), strict=False):
            yield feature, label, count

    def _sort(self) -> None:
        if not self._rows:
            return
        rows = np.stack(self._rows)
        self._rows.clear()
        quantities = rows[:, self._columns]
        absent = np.isnan(quantities)
        steps = np.floor((np.where(absent, self._low, quantities) - self._low) * self._scale)
        places = np.clip(steps, 0, self._last).astype(np.intp) + self._first
        places[absent] = len(self._places)
        self._counts += np.bincount(places.ravel(), minlength=len(self._counts))
        self._counts[self._hot_places] += np.nansum(rows[:, self._hot], axis=0).astype(np.int64)
        self._counts[self._missing[:, 1]] += np.isnan(rows[:, self._missing[:, 0]]).sum(axis=0)


def _steps(feature: EncodedFeature) -> tuple[float, float, list[str]]:
    """Return where the bins of a quantity begin, how many there are per unit, and what they are called."""
    if feature.type is FeatureType.BOOLEAN:
        return 0.0, 1.0, ["false", "true"]
    low, high = feature.minimum, feature.maximum
    if low is None or high is None or not np.isfinite(high - low) or high <= low:
        return 0.0, 0.0, [PRESENT]
    if feature.type is FeatureType.INTEGER and np.ceil(high) - np.ceil(low) < MOST_VALUES:
        first = int(np.ceil(low))
        return float(first), 1.0, [str(value) for value in range(first, int(np.floor(high)) + 1)]
    edges = [low + (high - low) * step / BINS for step in range(BINS + 1)]
    ends = [")"] * (BINS - 1) + ["]"]
    return (
        low,
        BINS / (high - low),
        [f"[{a:g}, {b:g}{end}" for a, b, end in zip(edges, edges[1:], ends, strict=False)],
    )
