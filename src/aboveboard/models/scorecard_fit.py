"""Fitting a scorecard: weight-of-evidence bins, a logistic regression on them, and whole points.

The regression's coefficients are not negative, so that a bin with better evidence never gets fewer points and a
declared direction survives. Training only: this module imports scipy.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from aboveboard.errors import Misuse
from aboveboard.models.binning import Counts, bin_number, count, weight_of_evidence
from aboveboard.models.encoding import Encoding
from aboveboard.models.scorecard import (
    BASE_ODDS,
    BASE_POINTS,
    FACTOR,
    POINTS_TO_DOUBLE,
    Bin,
    Card,
    CardFeature,
    Level,
    Scorecard,
)

_DEFAULTS: Final = {"max_bins": 6.0, "min_bin_share": 0.05, "l2": 1.0}
_ALLOWED: Final = {"max_bins": (2, 50), "min_bin_share": (0.0, 0.5), "l2": (0.0, 1e6)}


def fit_scorecard(
    encoding: Encoding,
    rows: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    parameters: Mapping[str, int | float | str | bool],
) -> Scorecard:
    """Return a card fitted to rows, shape (n, width), for the log-odds of the favourable outcome, shape (n,).

    Parameters: `max_bins` (6) for a number, `min_bin_share` (0.05) of the records in each, `l2` (1.0), the weight
    of the squared coefficients. There is no chance in it. Raises `Misuse` for any other parameter or value.
    """
    settings = _settings(parameters)
    whole = count(favourable)
    drafts = [
        _draft(encoding, index, rows, favourable, whole, int(settings["max_bins"]), settings["min_bin_share"])
        for index in range(len(encoding.features))
    ]
    # As many columns as features, each holding the evidence of the bin a record falls into.
    evidence = np.stack([_evidence(encoding, index, draft, rows) for index, draft in enumerate(drafts)], axis=1)
    coefficients, intercept = _regress(evidence, favourable, settings["l2"])
    start = FACTOR * (intercept - math.log(BASE_ODDS)) + BASE_POINTS
    card = Card(
        format="aboveboard-scorecard/1",
        base_points=BASE_POINTS,
        base_odds=BASE_ODDS,
        points_to_double=POINTS_TO_DOUBLE,
        start=round(start),
        features=tuple(_weighted(draft, weight) for draft, weight in zip(drafts, coefficients, strict=True)),
    )
    return Scorecard(card, encoding)


def _settings(parameters: Mapping[str, int | float | str | bool]) -> dict[str, float]:
    settings = dict(_DEFAULTS)
    for name, value in parameters.items():
        if name not in _DEFAULTS:
            close = difflib.get_close_matches(name, _DEFAULTS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(_DEFAULTS)}"
            raise Misuse(f"{name!r} is not a parameter of the scorecard family", hint=hint)
        low, high = _ALLOWED[name]
        if isinstance(value, bool | str) or not low <= value <= high:
            raise Misuse(f"{name} is not a number from {low:g} to {high:g}", hint="mend spec.model.parameters")
        settings[name] = float(value)
    return settings


def _draft(
    encoding: Encoding,
    index: int,
    rows: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    whole: Counts,
    most: int,
    least_share: float,
) -> CardFeature:
    """Return a feature's entries with their evidence and no points yet."""
    feature = encoding.features[index]
    cells = rows[:, encoding.columns_of(index)]
    absent = np.isnan(cells[:, 0])
    present = favourable[~absent]
    missing = _level(count(favourable[absent]), whole)
    if feature.categories is not None:
        counts = [count(present[cells[~absent, level] == 1]) for level in range(feature.width)]
        # Categories that few people have share one entry: each alone would say more than it knows.
        rare = [part.all < least_share * whole.all for part in counts]
        pooled = Counts(
            sum(part.good for part, few in zip(counts, rare, strict=True) if few),
            sum(part.bad for part, few in zip(counts, rare, strict=True) if few),
        )
        levels = tuple(
            Level(0, weight_of_evidence(pooled if few else part, whole), part.all / whole.all)
            for part, few in zip(counts, rare, strict=True)
        )
        return CardFeature(name=feature.name, missing=missing, levels=levels)
    bins = bin_number(
        cells[~absent, 0],
        present,
        whole,
        direction=encoding.monotonic[encoding.columns_of(index).start],
        most=most,
        least_share=least_share,
    )
    entries = tuple(
        Bin(edge, 0, weight_of_evidence(part, whole), part.all / whole.all)
        for edge, part in zip([*bins.edges, None], bins.counts, strict=True)
    )
    return CardFeature(name=feature.name, missing=missing, bins=entries)


def _level(part: Counts, whole: Counts) -> Level:
    return Level(0, weight_of_evidence(part, whole), part.all / whole.all)


def _evidence(encoding: Encoding, index: int, draft: CardFeature, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of evidence, shape (n,), that a feature has for each record."""
    cells = rows[:, encoding.columns_of(index)]
    parts = np.array([part.weight_of_evidence for part in (draft.bins or draft.levels)])
    if draft.levels:
        where = np.argmax(cells, axis=1)
    else:
        edges = np.array([bin_.up_to for bin_ in draft.bins[:-1]], dtype=np.float64)
        where = np.searchsorted(edges, np.nan_to_num(cells[:, 0]), side="left")
    return np.where(np.isnan(cells[:, 0]), draft.missing.weight_of_evidence, parts[where])


def _regress(
    evidence: NDArray[np.float64], favourable: NDArray[np.bool_], l2: float
) -> tuple[NDArray[np.float64], float]:
    """Return coefficients, none negative, and the intercept of highest penalised likelihood."""
    sign = np.where(favourable, 1.0, -1.0)
    width = evidence.shape[1]

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (evidence @ theta[:width] + theta[width])
        value = np.logaddexp(0, -margin).sum() + 0.5 * l2 * (theta[:width] ** 2).sum()
        pull = -sign * (0.5 - 0.5 * np.tanh(0.5 * margin))
        gradient = np.append(evidence.T @ pull + l2 * theta[:width], pull.sum())
        return float(value), gradient

    start = np.append(np.full(width, 1.0 / width), math.log(favourable.mean() / (1 - favourable.mean())))
    bounds = [(0.0, None)] * width + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000})
    return np.asarray(found.x[:width], dtype=np.float64), float(found.x[width])


def _weighted(draft: CardFeature, weight: float) -> CardFeature:
    """Return a feature's entries with the points that its coefficient gives them."""
    return CardFeature(
        name=draft.name,
        missing=_pointed(draft.missing, weight),
        bins=tuple(
            Bin(bin_.up_to, round(FACTOR * weight * bin_.weight_of_evidence), bin_.weight_of_evidence, bin_.share)
            for bin_ in draft.bins
        ),
        levels=tuple(_pointed(level, weight) for level in draft.levels),
    )


def _pointed(level: Level, weight: float) -> Level:
    return Level(round(FACTOR * weight * level.weight_of_evidence), level.weight_of_evidence, level.share)
