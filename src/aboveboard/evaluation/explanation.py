"""Whether the reasons hold: they add up, obey the declared directions, and do not hang on a convention."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotVerified
from aboveboard.evaluation.report import Explanation, FeatureImportance
from aboveboard.evaluation.types import EvaluatedModel, Rows
from aboveboard.spec.types import ReferenceConvention

EXPLAINED_ROWS = 20_000
"""Beyond this many records a seeded sample is explained instead of all."""

MONOTONIC_ROWS = 400
MONOTONIC_QUANTILES = 9

_ROUNDING = 1e-9
"""Log-odds by which a margin may move against its direction: the rounding of a sum over trees."""


def assess_explanation(model: EvaluatedModel, rows: Rows, *, seed: int = 0) -> Explanation:
    """Return what can be checked about the reasons of a model on records of shape (n, width).

    The reasons counted are those the model states to people, asked for one by one as the decision server does.
    Raises `NotVerified` when a contribution is not a finite number.
    """
    generator = np.random.default_rng(seed)
    rows = _sample(rows, EXPLAINED_ROWS, generator)
    contributions = model.attribute(rows)
    if not np.isfinite(contributions).all():
        raise NotVerified(
            "a contribution is not a finite number",
            hint="look for overflow in the model's parameters; no reason can be stated from such a model",
        )
    adverse = rows[model.score(rows) < model.refer_at]
    stated = {convention: _stated_codes(model, adverse, convention) for convention in ReferenceConvention}
    own = next(
        c for c in ReferenceConvention if np.array_equal(model.reference(c), model.reference(), equal_nan=True)
    )
    tried = _sample(rows, MONOTONIC_ROWS, generator)
    return Explanation(
        rows=len(rows),
        declines=len(adverse),
        largest_additivity_error=_largest_additivity_error(model, rows, contributions),
        monotonic_violations=int(monotonic_violations(model, tried).sum()),
        monotonic_rows=len(tried),
        reason_flip_rate=_flip_rate(*(stated[convention] for convention in ReferenceConvention)),
        importances=_importances(model, contributions, stated[own]),
    )


def _stated_codes(model: EvaluatedModel, rows: Rows, convention: ReferenceConvention) -> list[frozenset[str]]:
    """Return, for each row, the codes of the reasons the person would be told."""
    return [frozenset(reason.code for reason in model.reasons(row, convention=convention)) for row in rows]


def _flip_rate(one: list[frozenset[str]], other: list[frozenset[str]]) -> float | None:
    """Return the share of adverse decisions whose set of reasons differs, None without any."""
    return sum(a != b for a, b in zip(one, other, strict=True)) / len(one) if one else None


def _importances(model: EvaluatedModel, contributions: Rows, stated: list[frozenset[str]]) -> list[FeatureImportance]:
    """Return what each reason code moves and how often it is stated, the weightiest first."""
    moved = np.abs(model.by_reason(contributions)).mean(axis=0) if len(contributions) else None
    importances = [
        FeatureImportance(
            code=factor.code,
            mean_absolute=0.0 if moved is None else float(moved[index]),
            share_of_declines=sum(factor.code in codes for codes in stated) / len(stated) if stated else 0.0,
        )
        for index, factor in enumerate(model.reason_codes)
    ]
    return sorted(importances, key=lambda importance: (-importance.mean_absolute, importance.code))


def monotonic_violations(model: EvaluatedModel, rows: Rows) -> NDArray[np.bool_]:
    """Tell for each row, shape (n,), whether changing one value ever moves its margin against a declared direction.

    Every feature with a direction takes, in turn, its own value and the observed quantiles, with all else equal.
    """
    violated = np.zeros(len(rows), dtype=np.bool_)
    for column, sign in enumerate(model.encoding.monotonic):
        observed = rows[:, column][~np.isnan(rows[:, column])]
        if sign == 0 or len(observed) == 0:
            continue
        quantiles = np.unique(
            np.quantile(observed, np.linspace(0.0, 1.0, MONOTONIC_QUANTILES), method="inverted_cdf")
        )
        own = np.where(np.isnan(rows[:, column]), quantiles[0], rows[:, column])
        values = np.sort(np.column_stack([np.tile(quantiles, (len(rows), 1)), own]), axis=1)
        changed = np.repeat(rows, values.shape[1], axis=0)
        changed[:, column] = values.ravel()
        steps = np.diff(model.margin(changed).reshape(values.shape), axis=1)
        violated |= (sign * steps < -_ROUNDING).any(axis=1)
    return violated


def _largest_additivity_error(model: EvaluatedModel, rows: Rows, contributions: Rows) -> float:
    """Return the largest distance between the sum of contributions and margin(row) − margin(reference)."""
    if len(rows) == 0:
        return 0.0
    difference = model.margin(rows) - model.margin(model.reference()[None, :])
    return float(np.abs(contributions.sum(axis=1) - difference).max())


def _sample(rows: Rows, size: int, generator: np.random.Generator) -> Rows:
    """Return all rows, or `size` of them drawn without replacement and kept in order."""
    if len(rows) <= size:
        return rows
    return rows[np.sort(generator.choice(len(rows), size, replace=False))]
