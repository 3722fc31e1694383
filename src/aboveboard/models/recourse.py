"""What would have changed the outcome: the smallest changes, of what can be changed, that reach the cut-off.

A counterfactual explanation as Wachter, Mittelstadt & Russell (Harvard Journal of Law & Technology 31, 2018) ask
for it, held to what a person can do as Ustun, Spangher & Liu, "Actionable Recourse in Linear Classification" (FAT*
2019): only features that the spec declares changeable, only in the declared direction, on the declared grid and up
to the declared bound, and never what is missing. Fewest features first (one, then two), then the least distance.

The distance of a change is Gower's (Biometrics 27, 1971): a number's change as a share of its range, that is of
`most` or else of maximum minus minimum; 1 for another category or truth value; two changes add up.

The search is exact. A score changes only where a box of the model ends (see boxes.py), so for every such edge it is
enough to try the nearest value of the grid beyond it: no other value with that score is nearer. Scores for all pairs
of values come from the boxes in one product of matrices; what is proposed has been scored by the model itself.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.models.boxes import Boxes
from aboveboard.models.contract import EncodedFeature, Value
from aboveboard.models.model import Model
from aboveboard.spec.recourse import Direction
from aboveboard.spec.recourse import Recourse as Rule
from aboveboard.spec.types import FeatureType, Monotonic

MOST: Final = 3
"""How many ways are named."""
MOST_CELLS: Final = 4_000_000
"""Pairs of values that one search looks at: at most a few seconds' work. Beyond it, the pairs of features that
promise least are left out."""
Pause = Callable[[], None]
"""Called between the steps of a search, most of which take a small part of a millisecond: it may wait, so that others
have their turn, and what it raises ends the search."""
_ROUNDING: Final = 1e-9
"""Log-odds within which sums over boxes and the model's own may differ; the model's own decides."""


class FeatureChange(msgspec.Struct, frozen=True):
    """One feature with another value."""

    feature: str
    from_: Value = msgspec.field(name="from")
    to: Value


class Recourse(msgspec.Struct, frozen=True):
    """Changes that together, all else as it is, would have led to the favourable outcome."""

    changes: tuple[FeatureChange, ...]
    score: float
    """The calibrated probability of the favourable outcome, at or above the cut-off."""


class _Options(NamedTuple):
    """What one feature of a row could be instead."""

    feature: int
    columns: slice
    cells: NDArray[np.float64]
    """Encoded, shape (n, columns of the feature)."""
    distances: NDArray[np.float64]
    """Shape (n,)."""


def _go_on() -> None:
    """Be no pause."""


class RecourseSearch:
    """Looks for changes on one model, under the rules its spec declares by feature. Safe to share between threads."""

    def __init__(self, model: Model, rules: Mapping[str, Rule]) -> None:
        self._model = model
        possible = [
            (index, feature, rules[feature.name])
            for index, feature in enumerate(model.encoding.features)
            if feature.name in rules and rules[feature.name].possible
        ]
        self._of_person = [item for item in possible if not item[2].counter_offer]
        self._of_application = [item for item in possible if item[2].counter_offer]

    @property
    def declared(self) -> bool:
        """Tell whether the spec declares anything that a person could change."""
        return bool(self._of_person)

    @property
    def negotiable(self) -> bool:
        """Tell whether the spec declares terms of the application that could be others."""
        return bool(self._of_application)

    def recourses(self, row: NDArray[np.float64], pause: Pause = _go_on) -> list[Recourse]:
        """Return up to three ways for the person, the smallest first; none for a row that is approved already.

        Each names a feature that those before it do not. `row` is an encoded record, shape (width,).
        """
        return self._search(row, self._of_person, pause)

    def counter_offers(self, row: NDArray[np.float64], pause: Pause = _go_on) -> list[Recourse]:
        """Return the terms nearest to those applied for that would be approved: one other term, where one is enough.

        For the amount asked for that is the largest amount, on its grid, that would be approved: what a creditor can
        offer instead of declining (12 CFR 1002.9(a)(1)).
        """
        return self._search(row, self._of_application, pause)

    @cached_property
    def _boxes(self) -> Boxes:
        return self._model.predictor.boxes()

    @cached_property
    def _grids(self) -> dict[int, _Grid]:
        """For each number in question, by feature, the values worth trying."""
        boxes, encoding = self._boxes, self._model.encoding
        grids = {}
        for index, feature, rule in (*self._of_person, *self._of_application):
            own = boxes.column == encoding.columns_of(index).start
            levels = np.unique(np.concatenate([boxes.low[own], boxes.high[own]]))
            if feature.categories is None and feature.type is not FeatureType.BOOLEAN:
                grids[index] = _Grid.of(feature, rule, levels[np.isfinite(levels)].tolist())
        return grids

    def _search(
        self, row: NDArray[np.float64], allowed: Sequence[tuple[int, EncodedFeature, Rule]], pause: Pause
    ) -> list[Recourse]:
        if not allowed or self._score(row) >= self._model.approve_at:
            return []
        options = [option for index, feature, rule in allowed if (option := self._options(row, index, feature, rule))]
        pause()
        scores = _Scores(self._boxes, self._model.encoding.owner, row, options, pause)
        calibration = self._model.calibration
        logit = math.log(self._model.approve_at / (1 - self._model.approve_at))
        needed = (logit - calibration.intercept) / calibration.slope - _ROUNDING
        singles = [scores.single(option) for option in options]
        found = [
            (distance, recourse)
            for option, margins in zip(options, singles, strict=True)
            for distance, recourse in self._nearest(row, (option,), margins, option.distances, needed, pause)
        ]
        alone = {recourse.changes[0].feature for _, recourse in found}
        found.sort(key=lambda item: item[0])
        if len(found) < MOST:
            names = [self._model.encoding.features[option.feature].name for option in options]
            rest = [place for place, name in enumerate(names) if name not in alone]
            gains = {place: round(float(singles[place].max()), 9) for place in rest}
            together = [
                item
                for first, second in _pairs(rest, gains, options)
                for item in self._nearest(
                    row,
                    (options[first], options[second]),
                    scores.pair(options[first], options[second]),
                    options[first].distances[:, None] + options[second].distances,
                    needed,
                    pause,
                )
            ]
            found += sorted(together, key=lambda item: item[0])
        return _diverse([recourse for _, recourse in found])

    def _nearest(
        self,
        row: NDArray[np.float64],
        options: tuple[_Options, ...],
        margins: NDArray[np.float64],
        distances: NDArray[np.float64],
        needed: float,
        pause: Pause,
    ) -> Iterator[tuple[float, Recourse]]:
        """Yield the nearest values that reach the cut-off by the model's own account, if there are any.

        Of two as near, the one with the higher score, then the one that is declared first.
        """
        places = np.argwhere(margins >= needed)
        cells = tuple(places.T)
        order = np.lexsort((-np.round(margins[cells], 9), np.round(distances[cells], 12)))
        for place in places[order]:
            pause()
            changed = row.copy()
            for option, index in zip(options, place, strict=True):
                changed[option.columns] = option.cells[index]
            score = self._score(changed)
            if score >= self._model.approve_at:
                yield float(distances[tuple(place)]), self._described(row, changed, options, score)
                return

    def _described(
        self, row: NDArray[np.float64], changed: NDArray[np.float64], options: tuple[_Options, ...], score: float
    ) -> Recourse:
        before, after = self._model.encoding.decode(row), self._model.encoding.decode(changed)
        names = [self._model.encoding.features[option.feature].name for option in options]
        return Recourse(
            tuple(FeatureChange(name, _present(before[name]), _present(after[name])) for name in names), score
        )

    def _score(self, row: NDArray[np.float64]) -> float:
        return float(self._model.score(row[None, :])[0])

    def _options(self, row: NDArray[np.float64], index: int, feature: EncodedFeature, rule: Rule) -> _Options | None:
        """Return what a feature of a row could be instead; None for nothing, as where its value is missing."""
        columns = self._model.encoding.columns_of(index)
        own = row[columns]
        if np.isnan(own[0]):
            return None
        up, down = _ways(feature, rule)
        if feature.categories is not None:
            now = int(np.argmax(own))
            levels = [level for level in range(feature.width) if (level < now and down) or (level > now and up)]
            cells = np.eye(feature.width)[levels].reshape(-1, feature.width)
            distances = np.ones(len(levels))
        elif feature.type is FeatureType.BOOLEAN:
            cells = np.array([[1.0 - own[0]]] if (down if own[0] else up) else []).reshape(-1, 1)
            distances = np.ones(len(cells))
        else:
            grid = self._grids[index]
            cells = np.array(grid.beyond(float(own[0]), up=up, down=down), dtype=np.float64).reshape(-1, 1)
            distances = np.abs(cells[:, 0] - own[0]) / float(grid.scale)
        return _Options(index, columns, cells, distances) if len(cells) else None


@dataclass(frozen=True)
class _Grid:
    """The values of a number that are named: multiples of a step, within the contract, no further than `most`.

    Fractions, because a multiple of a tenth is not what floating point makes of it; computed once for all rows.
    """

    low: Fraction
    high: Fraction
    scale: Fraction
    most: Fraction | None
    edges: list[float]
    """Where boxes begin or end, rising."""
    above: list[Fraction]
    """For each edge the nearest multiple above it; rising."""
    below: list[Fraction]
    """For each edge the nearest multiple up to it; rising."""

    @classmethod
    def of(cls, feature: EncodedFeature, rule: Rule, edges: list[float]) -> _Grid:
        low, high = Fraction(feature.low), Fraction(feature.high)
        # By its decimals: 0.1 is meant as a tenth, not as the float nearest to it.
        most = None if rule.most is None else Fraction(str(rule.most))
        step = Fraction(str(rule.step or 1))
        multiples = [math.floor(Fraction(edge) / step) for edge in edges]
        above, below = [(multiple + 1) * step for multiple in multiples], [multiple * step for multiple in multiples]
        return cls(low, high, most or high - low, most, edges, above, below)

    def beyond(self, own: float, *, up: bool, down: bool) -> list[float]:
        """Return for every edge, of those that lie in a direction, the nearest value beyond it, rising.

        A box takes its upper edge in: upwards that is the first multiple above an edge, downwards the last one up to
        it.
        """
        here, first = Fraction(own), bisect_left(self.edges, own)
        values: list[Fraction] = []
        if down:
            lowest = self.low if self.most is None else max(self.low, here - self.most)
            values += self.below[bisect_left(self.below, lowest) : first]
        if up:
            highest = self.high if self.most is None else min(self.high, here + self.most)
            values += self.above[first : bisect_right(self.above, highest)]
        return list(dict.fromkeys(map(float, values)))


class _Scores:
    """Margins of a row with one or two features changed, read off the boxes."""

    def __init__(
        self,
        boxes: Boxes,
        owner: NDArray[np.intp],
        row: NDArray[np.float64],
        options: Sequence[_Options],
        pause: Pause,
    ) -> None:
        self._boxes = boxes
        self._pause = pause
        broken = boxes.broken(row)
        feature = owner[boxes.column]
        self._broken = boxes.count(broken)
        self._broken_by = {}
        self._bounds = {}
        for option in options:
            pause()
            columns = range(option.columns.start, option.columns.stop)
            self._broken_by[option.feature] = boxes.count(broken & (feature == option.feature))
            self._bounds[option.feature] = [boxes.bounds(column) for column in columns]

    def single(self, option: _Options) -> NDArray[np.float64]:
        """Return the margin for each value, shape (n,)."""
        self._pause()
        reached = np.flatnonzero(self._broken == self._broken_by[option.feature])
        values: NDArray[np.float64] = self._boxes.values[reached] @ self._holds(option, reached)
        return self._boxes.start + values

    def pair(self, first: _Options, second: _Options) -> NDArray[np.float64]:
        """Return the margin for each pair of values, shape (n, m)."""
        self._pause()
        broken = self._broken_by[first.feature] + self._broken_by[second.feature]
        reached = np.flatnonzero(self._broken == broken)
        by_first, by_second = self._holds(first, reached), self._holds(second, reached)
        values = self._boxes.values[reached]
        # Few boxes depend on both features; what the others add is a sum by row and one by column.
        any_first, any_second = by_first.all(axis=1), by_second.all(axis=1)
        both, only_second = ~any_first & ~any_second, any_first & ~any_second
        margins: NDArray[np.float64] = (by_first[both] * values[both, None]).T @ by_second[both]
        margins += (values[any_second] @ by_first[any_second])[:, None]
        margins += values[only_second] @ by_second[only_second]
        return self._boxes.start + margins

    def _holds(self, option: _Options, reached: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return 1 where a box takes a value, else 0: shape (boxes reached, n)."""
        holds = np.ones((len(reached), len(option.cells)), dtype=np.bool_)
        for (low, high), cells in zip(self._bounds[option.feature], option.cells.T, strict=True):
            holds &= (low[reached, None] < cells) & (cells <= high[reached, None])
        return holds.astype(np.float64)


def _ways(feature: EncodedFeature, rule: Rule) -> tuple[bool, bool]:
    """Return whether the value may rise and whether it may fall; where the score never rises with it, it need not."""
    up = rule.change in (Direction.INCREASE, Direction.EITHER) and feature.monotonic is not Monotonic.DECREASING
    down = rule.change in (Direction.DECREASE, Direction.EITHER) and feature.monotonic is not Monotonic.INCREASING
    return up, down


def _pairs(
    places: Sequence[int], gains: Mapping[int, float], options: Sequence[_Options]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of features in declared order; where they are too many, those that promise most by themselves."""
    pairs = list(itertools.combinations(places, 2))
    cells = [len(options[first].cells) * len(options[second].cells) for first, second in pairs]
    if sum(cells) > MOST_CELLS:
        pairs.sort(key=lambda pair: -(gains[pair[0]] + gains[pair[1]]))
    looked_at = 0
    for first, second in pairs:
        looked_at += len(options[first].cells) * len(options[second].cells)
        if looked_at > MOST_CELLS:
            return
        yield first, second


def _diverse(ways: Sequence[Recourse]) -> list[Recourse]:
    """Return the first ways of which each names a feature that those before it do not."""
    chosen: list[Recourse] = []
    named: set[str] = set()
    for way in ways:
        features = {change.feature for change in way.changes}
        if not features <= named:
            named |= features
            chosen.append(way)
        if len(chosen) == MOST:
            break
    return chosen


def _present(value: Value | None) -> Value:
    assert value is not None  # noqa: S101  what is missing is not changed, and nothing is changed to be missing
    return value
