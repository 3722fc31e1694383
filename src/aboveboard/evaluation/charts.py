"""Inline SVG that needs no script: across in per cent and down in pixels, so that a chart fits any width.

Text keeps its size on a phone, and colours come from the page's style sheet, so charts follow its light and dark
themes. Where a chart repeats what a table beside it says, it is hidden from screen readers; otherwise it carries a
description.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from aboveboard.evaluation.intervals import wilson_limits
from aboveboard.evaluation.report import Calibration, GroupFairness, Measure, ScoreBin

_PLOT_HEIGHT = 250
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class RatioAxis:
    """A logarithmic axis for ratios, shared by the rows of a forest plot."""

    low: float
    high: float
    limit: float

    @classmethod
    def around(cls, groups: Iterable[GroupFairness], limit: float) -> RatioAxis:
        """Return an axis that shows every interval, and never leaves [0.25, 4]; what lies beyond gets an arrow."""
        measures = [group.adverse_impact_ratio for group in groups]
        ends = [end for m in measures for end in (m.low, m.value, m.high) if end]
        return cls(
            low=max(0.25, min([limit * 0.97, *ends]) * 0.96),
            high=min(4.0, max([1.15, *ends]) * 1.04),
            limit=limit,
        )

    def position(self, ratio: float) -> float:
        """Return where a ratio stands, in per cent from the left; it is clipped at the ends."""
        bounded = min(max(ratio, self.low), self.high)
        return 100 * math.log(bounded / self.low) / math.log(self.high / self.low)

    @property
    def ticks(self) -> list[float]:
        """The ratios that are labelled: the limit, 1, and round ones between which there is room."""
        chosen = [self.limit, 1.0]
        for ratio in (0.25, 0.33, 0.5, 0.67, 1.25, 1.5, 2.0, 3.0):
            room = all(abs(self.position(ratio) - self.position(other)) > 16 for other in chosen)
            if self.low <= ratio <= self.high and room:
                chosen.append(ratio)
        return sorted(chosen)


def standing(measure: Measure, limit: float) -> str:
    """Return where an interval lies against the limit: `above`, `below`, `across`, or `unknown`."""
    if measure.value is None:
        return "unknown"
    low = measure.value if measure.low is None else measure.low
    if low >= limit:
        return "above"
    return "below" if measure.high is not None and measure.high < limit else "across"


def forest_row(measure: Measure, axis: RatioAxis, *, reference: bool) -> Markup:
    """Return one row of a forest plot. The shape of the mark tells what its colour does."""
    parts = [
        f'<rect class="beyond" width="{_percent(axis.position(axis.limit))}" height="100%"/>',
        _vertical(axis.position(axis.limit), 0, "100%", "limit"),
        _vertical(axis.position(1.0), 0, "100%", "parity"),
    ]
    middle = []
    if reference:
        middle.append(_square(axis.position(1.0), 4, "mark reference"))
    elif measure.value is not None:
        where = standing(measure, axis.limit)
        low = measure.value if measure.low is None else measure.low
        high = axis.high if measure.high is None else measure.high
        left, right, at = (axis.position(ratio) for ratio in (low, high, measure.value))
        middle.append(f'<line class="whisker {where}" x1="{_percent(left)}" x2="{_percent(right)}" y1="0" y2="0"/>')
        middle += [_vertical(end, -4, 4, f"whisker {where}") for end in (left, right)]
        if not axis.low <= measure.value <= axis.high:
            middle.append(_arrow(at, f"mark {where}", rightwards=measure.value > axis.high))
        elif where == "above":
            middle.append(f'<circle class="mark {where}" cx="{_percent(at)}" r="5"/>')
        else:
            middle.append(_square(at, 5, f"mark {where}", diamond=where == "across"))
    centred = f'<svg y="50%" overflow="visible">{"".join(middle)}</svg>'
    return _svg("forest", "100%", [*parts, centred])


def forest_axis(axis: RatioAxis) -> Markup:
    """Return the labelled axis that stands under the rows of a forest plot."""
    parts = []
    crowded = axis.position(1.0) - axis.position(axis.limit) < 20
    for ratio in axis.ticks:
        at = axis.position(ratio)
        emphasis = "strong" if ratio in (axis.limit, 1.0) else "minor"
        anchor = {axis.limit: "end", 1.0: "start"}.get(ratio, _anchor(at)) if crowded else _anchor(at)
        parts.append(_vertical(at, 0, 5, f"axis {emphasis}"))
        parts.append(_text(at, 18, f"{ratio:.2f}".rstrip("0").rstrip("."), f"tick {emphasis}", anchor))
    return _svg("forest", 24, parts)


def reliability_diagram(calibration: Calibration, confidence: float) -> Markup:
    """Return observed against predicted rates, a point with its Wilson interval for each band of scores."""
    height = _PLOT_HEIGHT
    y = _scale(height)
    parts = [*_grid(height), f'<line class="parity" x1="0%" y1="{y(0)}" x2="100%" y2="{y(1)}"/>']
    points = [(100 * band.mean_score, band.favourable_rate, band.n) for band in calibration.bands]
    for (x1, rate1, _), (x2, rate2, _) in itertools.pairwise(points):
        parts.append(f'<line class="trace" x1="{_percent(x1)}" y1="{y(rate1)}" x2="{_percent(x2)}" y2="{y(rate2)}"/>')
    for x, rate, n in points:
        low, high = wilson_limits(round(rate * n), n, confidence)
        parts.append(_vertical(x, y(high), y(low), "whisker above"))
        parts.append(f'<circle class="mark above" cx="{_percent(x)}" cy="{y(rate)}" r="4.5"/>')
    description = (
        f"Reliability diagram of {len(points)} bands. "
        + "; ".join(f"mean score {x:.0f}%, {rate:.0%} favourable of {n:,}" for x, rate, n in points)
        + "."
    )
    return _plot(height, parts, description)


def score_histogram(scores: Sequence[ScoreBin], approve_at: float, refer_at: float) -> Markup:
    """Return the distribution of scores, favourable outcomes upwards, unfavourable ones downwards, with cut-offs."""
    most_up = max((part.favourable for part in scores), default=0)
    most_down = max((part.unfavourable for part in scores), default=0)
    scale = 220 / max(most_up + most_down, 1)
    zero = round(24 + most_up * scale)
    height = round(zero + most_down * scale + 10)
    parts = []
    for part in scores:
        width = _percent(100 * (part.high - part.low) * 0.88)
        left = _percent(100 * (part.low + (part.high - part.low) * 0.06))
        for count, kind, top in (
            (part.favourable, "favourable", zero - part.favourable * scale),
            (part.unfavourable, "unfavourable", zero),
        ):
            if count:
                parts.append(
                    f'<rect class="{kind}" x="{left}" width="{width}" y="{top:.2f}" height="{count * scale:.2f}"/>'
                )
    parts.append(f'<line class="axis" x1="0%" x2="100%" y1="{zero}" y2="{zero}"/>')
    cuts = [(approve_at, "approve", "start")]
    if refer_at < approve_at:
        cuts.append((refer_at, "refer", "end"))
    for at, word, anchor in cuts:
        label = f"{word} from {at * 100:g}%"
        parts.append(_vertical(100 * at, 16, height, "cut"))
        parts.append(_text(100 * at, 11, label, "tick strong", anchor))
    good, bad = sum(part.favourable for part in scores), sum(part.unfavourable for part in scores)
    description = (
        f"Histogram of scores: {good:,} records with a favourable outcome above the axis and {bad:,} with an "
        f"unfavourable one below it; approval from {approve_at * 100:g}%, referral from {refer_at * 100:g}%."
    )
    return _plot(height, parts, description, vertical_ticks=False)


def bar(share: float) -> Markup:
    """Return a bar for a table cell, `share` of the cell's width."""
    width = _percent(100 * min(max(share, 0.0), 1.0))
    return _svg("bar", 12, [f'<rect class="favourable" x="0" y="1" width="{width}" height="10" rx="1"/>'])


def _plot(height: int, parts: Sequence[str], description: str, *, vertical_ticks: bool = True) -> Markup:
    """Return a plot over [0, 1] with its axis labels, as an image with a description."""
    below = [_text(100 * tick, height + 18, f"{tick:.0%}", "tick", _anchor(100 * tick)) for tick in _TICKS]
    body = f'<svg class="area" width="100%" height="{height + 24}">{"".join(parts)}{"".join(below)}</svg>'
    if not vertical_ticks:
        return _figure("plot", description, body)
    y = _scale(height)
    labels = "".join(
        f'<text class="tick" x="38" y="{y(tick) + 4}" text-anchor="end">{tick:.0%}</text>' for tick in _TICKS
    )
    side = f'<svg class="side" width="44" height="{height + 24}">{labels}</svg>'
    return _figure("plot sided", description, side + body)


def _figure(kind: str, description: str, body: str) -> Markup:
    """Return a drawing that is read out as an image with a description."""
    # What is not a number of ours has been escaped where it was put in.
    return Markup(f'<div class="{kind}" role="img" aria-label="{escape(description)}">{body}</div>')  # noqa: S704


def _grid(height: int) -> list[str]:
    y = _scale(height)
    across = [f'<line class="grid" x1="0%" x2="100%" y1="{y(tick)}" y2="{y(tick)}"/>' for tick in _TICKS]
    return across + [_vertical(100 * tick, y(1), y(0), "grid") for tick in _TICKS]


def _scale(height: int) -> Callable[[float], float]:
    """Return the vertical pixels of a rate, with 1 at the top and 0 at the bottom of a plot."""
    return lambda rate: round(6 + (1 - rate) * (height - 8), 2)


def _svg(kind: str, height: int | str, parts: Sequence[str]) -> Markup:
    """Return a drawing that repeats what its table says, and is therefore not read out."""
    return Markup(f'<svg class="{kind}" width="100%" height="{height}" aria-hidden="true">{"".join(parts)}</svg>')  # noqa: S704


def _square(x: float, r: float, kind: str, *, diamond: bool = False) -> str:
    """Return a square or, turned, a diamond, about a point on the horizontal axis."""
    turned = ' transform="rotate(45)"' if diamond else ""
    shape = f'<rect class="{kind}" x="{-r}" y="{-r}" width="{2 * r}" height="{2 * r}"{turned}/>'
    return f'<svg x="{_percent(x)}" overflow="visible">{shape}</svg>'


def _arrow(x: float, kind: str, *, rightwards: bool) -> str:
    """Return an arrow at an end of the horizontal axis: the value lies beyond it."""
    tip = 7 if rightwards else -7
    return f'<svg x="{_percent(x)}" overflow="visible"><path class="{kind}" d="M{tip},0 L0,-6 L0,6 Z"/></svg>'


def _vertical(x: float, top: float, bottom: float | str, kind: str) -> str:
    return f'<line class="{kind}" x1="{_percent(x)}" x2="{_percent(x)}" y1="{top}" y2="{bottom}"/>'


def _text(x: float, y: float, content: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{_percent(x)}" y="{y}" text-anchor="{anchor}">{escape(content)}</text>'


def _anchor(at: float) -> str:
    return "start" if at < 4 else "end" if at > 96 else "middle"


def _percent(value: float) -> str:
    return f"{value:.2f}%"
