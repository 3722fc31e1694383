"""The evidence about a fitted model on held-out records: performance, calibration, fairness, reasons, and the report.

Here live the measures, each with an interval and the number of records behind it, and the report as a document
for people. Nothing is judged here: limits, laws and verdicts belong to `policy`. No file is read or written.
`training` and `cli` import this package; `serving` never does, for it brings scipy and scikit-learn with it
(loaded when a measure first needs them).
"""

from __future__ import annotations

from aboveboard.evaluation.evaluate import evaluate
from aboveboard.evaluation.html import render_html
from aboveboard.evaluation.report import Measure, Report

__all__ = ["Measure", "Report", "evaluate", "render_html"]
