"""Whether the reasons hold: they add up, obey the declared directions, and do not hang on a convention."""

from __future__ import annotations

from collections.abc import Sequence

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


def assess_explanation(
    model: EvaluatedModel, rows: Rows, codes: Sequence[str], *, max_reasons: int, seed: int = 0
) -> Explanation:
    """Return what can be checked about the reasons of a model on records of shape (n, width).

    `codes` gives the reason code of each column. Raises `NotVerified` when a contribution is not a finite number.
    """
    generator = np.random.default_rng(seed)
    rows = _sample(rows, EXPLAINED_ROWS, generator)
    contributions = model.attribute(rows)
    if not np.isfinite(contributions).all():
        raise NotVerified(
            "a contribution is not a finite number",
            hint="look for overflow in the model's parameters; no reason can be stated from such a model",
        )
    names, by_code = contributions_by_code(contributions, codes)
    adverse = model.score(rows) < model.refer_at
    stated = stated_reasons(by_code[adverse], max_reasons)
    tried = _sample(rows, MONOTONIC_ROWS, generator)
    return Explanation(
        rows=len(rows),
        declines=int(adverse.sum()),
        largest_additivity_error=_largest_additivity_error(model, rows, contributions),
        monotonic_violations=int(monotonic_violations(model, tried).sum()),
        monotonic_rows=len(tried),
        reason_flip_rate=_reason_flip_rate(model, rows[adverse], codes, max_reasons),
        importances=sorted(
            (
                FeatureImportance(
                    code=name,
                    mean_absolute=float(np.abs(by_code[:, index]).mean()) if len(rows) else 0.0,
                    share_of_declines=float(stated[:, index].mean()) if len(stated) else 0.0,
                )
                for index, name in enumerate(names)
            ),
            key=lambda importance: (-importance.mean_absolute, importance.code),
        ),
    )


def contributions_by_code(contributions: Rows, codes: Sequence[str]) -> tuple[list[str], Rows]:
    """Return the distinct codes, in order of appearance, and contributions summed by code, shape (n, codes).

    Columns of one category and features declared correlated share a code and count as one factor.
    """
    names = list(dict.fromkeys(codes))
    belongs = np.zeros((len(codes), len(names)))
    belongs[np.arange(len(codes)), [names.index(code) for code in codes]] = 1.0
    return names, contributions @ belongs


def stated_reasons(by_code: Rows, max_reasons: int) -> NDArray[np.bool_]:
    """Tell which codes are stated to each person, shape (n, codes): those that lowered the score, the worst first.

    Equal contributions are ranked in order of declaration.
    """
    rank = np.argsort(np.argsort(by_code, axis=1, kind="stable"), axis=1, kind="stable")
    return (by_code < 0) & (rank < max_reasons)


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


def _reason_flip_rate(model: EvaluatedModel, rows: Rows, codes: Sequence[str], max_reasons: int) -> float | None:
    """Return the share of adverse decisions whose set of reasons depends on the reference, None without any."""
    if len(rows) == 0:
        return None
    one, other = (
        stated_reasons(contributions_by_code(model.attribute(rows, convention), codes)[1], max_reasons)
        for convention in ReferenceConvention
    )
    return float((one != other).any(axis=1).mean())


def _sample(rows: Rows, size: int, generator: np.random.Generator) -> Rows:
    """Return all rows, or `size` of them drawn without replacement and kept in order."""
    if len(rows) <= size:
        return rows
    return rows[np.sort(generator.choice(len(rows), size, replace=False))]
