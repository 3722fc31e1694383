"""From a table to the rows that a model reads, the same for fitting and for judging it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aboveboard.evaluation.types import EvaluatedEncoding, Rows
from aboveboard.spec import ModelSpec

if TYPE_CHECKING:
    import polars as pl


def encode_frame(encoding: EvaluatedEncoding, spec: ModelSpec, frame: pl.DataFrame) -> Rows:
    """Return the features of a frame as a model of `spec` reads them, shape (n, width).

    Raises what the encoding refuses.
    """
    return encoding.encode_columns({feature.name: frame[feature.name].to_list() for feature in spec.spec.features})
