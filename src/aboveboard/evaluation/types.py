"""What an evaluation needs of a model and of a data set, and nothing more.

`aboveboard.models.Model` and `aboveboard.data.Dataset` fulfil it; so does anything else with these members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aboveboard.spec.types import ReferenceConvention

if TYPE_CHECKING:
    import polars as pl

Rows = NDArray[np.float64]
"""Encoded records, shape (n, width)."""


class EvaluatedEncoding(Protocol):
    """How records become rows."""

    @property
    def monotonic(self) -> tuple[int, ...]:
        """For each column, 1 where the score may only rise with it, -1 where it may only fall, else 0."""
        ...

    def encode_columns(self, columns: Mapping[str, Sequence[Any]]) -> Rows:
        """Return the rows of a batch given as columns."""
        ...


class StatedReason(Protocol):
    """One of the reasons a person is told, or a factor that can become one."""

    @property
    def code(self) -> str:
        """Its code in model.yaml."""
        ...


class EvaluatedModel(Protocol):
    """A fitted model: margins are log-odds, scores probabilities, both of the favourable outcome."""

    @property
    def encoding(self) -> EvaluatedEncoding:
        """How records become rows."""
        ...

    @property
    def approve_at(self) -> float:
        """The score from which the outcome is favourable."""
        ...

    @property
    def refer_at(self) -> float:
        """The score below which the outcome is adverse."""
        ...

    def margin(self, rows: Rows) -> NDArray[np.float64]:
        """Return the margins, shape (n,)."""
        ...

    def score(self, rows: Rows) -> NDArray[np.float64]:
        """Return the calibrated scores, shape (n,)."""
        ...

    def attribute(self, rows: Rows, convention: ReferenceConvention | None = None) -> Rows:
        """Return each column's contribution to margin(row) − margin(reference), shape (n, width)."""
        ...

    @property
    def reason_codes(self) -> Sequence[StatedReason]:
        """The factors, in the order of the columns of `by_reason`."""
        ...

    def by_reason(self, contributions: Rows) -> Rows:
        """Return contributions added up by factor: shape (n, width) becomes (n, factors)."""
        ...

    def reasons(
        self, row: NDArray[np.float64], locale: str = "en", convention: ReferenceConvention | None = None
    ) -> Sequence[StatedReason]:
        """Return the principal reasons stated for one row, shape (width,)."""
        ...

    def reference(self, convention: ReferenceConvention | None = None) -> NDArray[np.float64]:
        """Return the row that contributions are measured from, shape (width,)."""
        ...


class EvaluatedLineage(Protocol):
    """Where the records came from."""

    @property
    def data_digest(self) -> str:
        """The digest of the data set's content."""
        ...


class EvaluatedData(Protocol):
    """A data set cut into partitions, `holdout` among them."""

    @property
    def favourable(self) -> NDArray[np.bool_]:
        """The true outcome of every record of the data set."""
        ...

    @property
    def partitions(self) -> Mapping[str, NDArray[np.int64]]:
        """Row numbers by partition."""
        ...

    @property
    def lineage(self) -> EvaluatedLineage:
        """Where the records came from."""
        ...

    def rows(self, partition: str) -> pl.DataFrame:
        """Return the records of one partition, in the order of its row numbers."""
        ...
