"""One pass of the pipeline: data, search, fit, evaluation, gate; whole on disk, or not there at all.

Here live the search over a model's parameters and the run that ties the steps together. Nothing is decided
here about fairness or law: that is `policy`. Only `cli` (and, on a cluster, the pipeline's pods) imports it.
"""

from __future__ import annotations

from aboveboard.training.pipeline import Run, run_pipeline
from aboveboard.training.progress import Observer, Progress

__all__ = ["Observer", "Progress", "Run", "run_pipeline"]
