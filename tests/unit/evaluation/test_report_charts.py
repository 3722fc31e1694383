"""Charts put things where the numbers say, and say without colour what they say with it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from aboveboard.evaluation.charts import (
    RatioAxis,
    bar,
    forest_axis,
    forest_row,
    reliability_diagram,
    score_histogram,
    standing,
)
from aboveboard.evaluation.report import Calibration, Measure, ScoreBand, ScoreBin

AXIS = RatioAxis(low=0.5, high=2.0, limit=0.8)


def test_the_axis_is_logarithmic_and_clips() -> None:
    assert AXIS.position(0.5) == 0
    assert AXIS.position(1.0) == pytest.approx(50)
    assert AXIS.position(2.0) == 100
    assert AXIS.position(0.01) == 0
    assert AXIS.position(9.0) == 100


def test_the_limit_and_parity_are_always_labelled_and_labels_keep_apart() -> None:
    assert {0.8, 1.0} <= set(AXIS.ticks)
    positions = [AXIS.position(tick) for tick in AXIS.ticks if tick not in (0.8, 1.0)]
    assert all(abs(position - AXIS.position(tick)) > 16 for position in positions for tick in (0.8, 1.0))


@pytest.mark.parametrize(
    ("measure", "where", "shape"),
    [
        (Measure(0.95, 0.85, 1.05, 100), "above", "<circle"),
        (Measure(0.95, 0.75, 1.15, 100), "across", 'transform="rotate(45)"'),
        (Measure(0.6, 0.55, 0.7, 100), "below", "<rect"),
        (Measure(0.6, 0.55, None, 100), "across", 'transform="rotate(45)"'),
    ],
)
def test_where_an_interval_stands_shows_in_the_shape_of_its_mark(measure: Measure, where: str, shape: str) -> None:
    row = forest_row(measure, AXIS, reference=False)

    mark = re.search(r'<[a-z]+ class="mark (\w+)"[^>]*>', row)
    assert standing(measure, 0.8) == where
    assert mark is not None
    assert mark[1] == where
    assert shape in mark[0]


def test_a_ratio_beyond_the_axis_is_an_arrow_that_points_there() -> None:
    assert 'class="mark below" d="M-7,' in forest_row(Measure(0.1, 0.05, 0.2, 100), AXIS, reference=False)
    assert 'class="mark above" d="M7,' in forest_row(Measure(3.0, 2.5, 3.5, 100), AXIS, reference=False)


def test_an_undefined_ratio_has_no_mark() -> None:
    assert "mark" not in forest_row(Measure(None, None, None, 0), AXIS, reference=False)
    assert standing(Measure(None, None, None, 0), 0.8) == "unknown"


def test_every_drawing_is_well_formed() -> None:
    calibration = Calibration(
        error=Measure(0.02, 0.0, 0.04, 200),
        slope=1.0,
        intercept=0.0,
        bands=[ScoreBand(0.1, 0.4, 100, 0.3, 0.25), ScoreBand(0.4, 0.9, 100, 0.7, 0.8)],
    )
    scores = [ScoreBin(0.0, 0.5, 10, 20), ScoreBin(0.5, 1.0, 30, 0)]
    drawings = [
        forest_row(Measure(0.9, 0.7, 1.1, 50), AXIS, reference=False),
        forest_row(Measure(1.0, 1.0, 1.0, 50), AXIS, reference=True),
        forest_axis(AXIS),
        reliability_diagram(calibration, 0.95),
        score_histogram(scores, 0.725, 0.6),
        score_histogram([], 0.7, 0.7),
        bar(0.4),
    ]

    for drawing in drawings:
        root = ElementTree.fromstring(drawing)  # noqa: S314  our own output
        assert root.get("aria-hidden") == "true" or (root.get("role") == "img" and root.get("aria-label"))


def test_bars_are_as_high_as_their_counts() -> None:
    histogram = score_histogram([ScoreBin(0.0, 0.5, 10, 20), ScoreBin(0.5, 1.0, 30, 0)], 0.7, 0.6)
    drawing = ElementTree.fromstring(histogram)  # noqa: S314  our own output
    heights = [(rect.get("class"), float(rect.get("height") or 0)) for rect in drawing.iter("rect")]

    assert [kind for kind, _ in heights] == ["favourable", "unfavourable", "favourable"]
    assert heights[1][1] == pytest.approx(2 * heights[0][1], abs=0.02)
    assert heights[2][1] == pytest.approx(3 * heights[0][1], abs=0.02)
    assert "approve from 70%" in "".join(drawing.itertext())
