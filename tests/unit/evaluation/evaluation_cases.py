"""A small real model on real data, made of plain numpy, that an evaluation accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aboveboard.models.reasons import Reason, ReasonCode, rank, reason_codes
from aboveboard.spec import ModelSpec, load_spec
from aboveboard.spec.types import Monotonic, ReferenceConvention

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass(frozen=True)
class NumericEncoding:
    """One column for each feature, in the order declared."""

    names: tuple[str, ...]
    monotonic: tuple[int, ...]

    def encode_columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float64]:
        return np.column_stack([np.array(columns[name], dtype=np.float64) for name in self.names])


@dataclass(frozen=True)
class LinearModel:
    """A logistic regression: its margin is a weighted sum, so its Shapley values are weight x distance."""

    encoding: NumericEncoding
    weights: NDArray[np.float64]
    intercept: float
    references: Mapping[ReferenceConvention, NDArray[np.float64]]
    approve_at: float = 0.72
    refer_at: float = 0.6
    max_reasons: int = 4

    def margin(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return rows @ self.weights + self.intercept

    def score(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-self.margin(rows))))

    def attribute(
        self, rows: NDArray[np.float64], convention: ReferenceConvention | None = None
    ) -> NDArray[np.float64]:
        return (rows - self.reference(convention)) * self.weights

    def reference(self, convention: ReferenceConvention | None = None) -> NDArray[np.float64]:
        return self.references[convention or ReferenceConvention.AT_CUT_OFF]

    @property
    def reason_codes(self) -> tuple[ReasonCode, ...]:
        return reason_codes((name, name, {"en": name}) for name in self.encoding.names)

    def by_reason(self, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
        return contributions

    def reasons(
        self, row: NDArray[np.float64], locale: str = "en", convention: ReferenceConvention | None = None
    ) -> list[Reason]:
        contributions = self.attribute(row[None, :], convention)[0].tolist()
        names = self.encoding.names
        chosen = rank(contributions, names, self.max_reasons)
        return [Reason(names[index], names[index], contributions[index], (names[index],)) for index in chosen]


@dataclass(frozen=True)
class Lineage:
    data_digest: str = "sha256:" + "0" * 64


@dataclass(frozen=True)
class HeldOut:
    """A data set of which an evaluation sees the held-out part."""

    frame: pl.DataFrame
    favourable: NDArray[np.bool_]
    partitions: Mapping[str, NDArray[np.int64]]
    lineage: Lineage = Lineage()

    def rows(self, partition: str) -> pl.DataFrame:
        return self.frame[self.partitions[partition]]


@cache
def credit_spec() -> ModelSpec:
    return load_spec(EXAMPLE / "model.yaml")


@cache
def credit_data() -> HeldOut:
    """30,000 real clients, 9,000 of them held out."""
    frame = pl.read_parquet(EXAMPLE / "credit_default_taiwan.parquet")
    order = np.random.default_rng(2005).permutation(len(frame))
    favourable = frame["default_payment_next_month"].to_numpy() == 0
    return HeldOut(frame, favourable, {"train": np.sort(order[9000:]), "holdout": np.sort(order[:9000])})


@cache
def credit_model() -> LinearModel:
    """Fitted on the training part, with weights against a declared direction set to zero."""
    from sklearn.linear_model import LogisticRegression

    spec, data = credit_spec(), credit_data()
    sign = {Monotonic.INCREASING: 1, Monotonic.DECREASING: -1, Monotonic.NONE: 0}
    encoding = NumericEncoding(
        names=tuple(feature.name for feature in spec.spec.features),
        monotonic=tuple(sign[feature.monotonic] for feature in spec.spec.features),
    )
    rows = encoding.encode_columns({name: data.rows("train")[name].to_list() for name in encoding.names})
    scale = rows.std(axis=0)
    fit = LogisticRegression(max_iter=500).fit(rows / scale, data.favourable[data.partitions["train"]])
    weights = fit.coef_[0] / scale
    weights[np.array(encoding.monotonic) * weights < 0] = 0.0
    draft = LinearModel(encoding, weights, float(fit.intercept_[0]), {})
    score = draft.score(rows)
    nearest = np.argsort(np.abs(score - draft.approve_at))[:100]
    references = {
        ReferenceConvention.AT_CUT_OFF: rows[nearest].mean(axis=0),
        ReferenceConvention.ALL_APPROVED: rows[score >= draft.approve_at].mean(axis=0),
    }
    return LinearModel(encoding, weights, float(fit.intercept_[0]), references)


@dataclass(frozen=True)
class Judged:
    """What the model decided about the people held out, and what became of them."""

    approved: NDArray[np.bool_]
    favourable: NDArray[np.bool_]
    score: NDArray[np.float64]
    frame: pl.DataFrame


@cache
def credit_judged() -> Judged:
    model, data = credit_model(), credit_data()
    frame = data.rows("holdout")
    score = model.score(model.encoding.encode_columns({name: frame[name].to_list() for name in model.encoding.names}))
    return Judged(score >= model.approve_at, data.favourable[data.partitions["holdout"]], score, frame)
