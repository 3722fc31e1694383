"""Fitting LightGBM: binary, monotone where the spec says so, and the same trees from the same data and seed.

Training only: this module imports LightGBM's Python package, and with it pandas and scikit-learn.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import lightgbm
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import Misuse
from aboveboard.models.encoding import Encoding
from aboveboard.models.lightgbm_trees import LightGBMTrees
from aboveboard.models.monotone import TOLERANCE, largest_violation
from aboveboard.models.trees import MAX_DEPTH, Trees, parse_trees

_NAMES: Final = {
    "n_estimators": "num_iterations",
    "learning_rate": "learning_rate",
    "num_leaves": "num_leaves",
    "max_depth": "max_depth",
    "max_bin": "max_bin",
    "min_child_samples": "min_data_in_leaf",
    "min_child_weight": "min_sum_hessian_in_leaf",
    "min_split_gain": "min_gain_to_split",
    "subsample": "bagging_fraction",
    "subsample_freq": "bagging_freq",
    "colsample_bytree": "feature_fraction",
    "reg_alpha": "lambda_l1",
    "reg_lambda": "lambda_l2",
    "path_smooth": "path_smooth",
    "extra_trees": "extra_trees",
    "monotone_penalty": "monotone_penalty",
}
"""What a spec may set, in scikit-learn's spelling, and what LightGBM's core calls it."""

_OURS: Final[dict[str, Any]] = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,  # the choice between row and column is made by timing otherwise, and changes sums
    "verbosity": -1,
}

_METHODS: Final = ("advanced", "intermediate", "basic")
"""LightGBM's ways to keep to a direction, the most accurate first. The first two do not always keep to it where
values are missing (seen in version 4.7), so the trees are checked, and only trees that hold are taken."""

_MANY: Final = 5_000_000
"""Cells of a training table from which a second thread pays."""


def fit_trees(
    encoding: Encoding,
    rows: NDArray[np.float64],
    favourable: NDArray[np.bool_],
    parameters: Mapping[str, int | float | str | bool],
    seed: int,
) -> LightGBMTrees:
    """Return trees fitted to rows, shape (n, width), for the log-odds of the favourable outcome, shape (n,).

    Raises `Misuse` for a parameter we do not know or LightGBM does not take.
    """
    fixed = {**_translated(parameters), **_OURS, "seed": seed}
    # A second thread gains little on few rows and costs a hundredfold where it must wait for a core (it spins);
    # the trees are the same for any number.
    fixed["num_threads"] = 1 if rows.size < _MANY else 2
    directions = encoding.monotonic
    if not any(directions):
        return LightGBMTrees(_train(fixed, rows, favourable), encoding.owner)
    for method in _METHODS:
        constrained = {"monotone_constraints": list(directions), "monotone_constraints_method": method}
        trees = _train({**fixed, **constrained}, rows, favourable)
        if largest_violation(trees, directions) <= TOLERANCE:
            return LightGBMTrees(trees, encoding.owner)
    raise Misuse(
        "LightGBM finds no trees that keep to the declared directions",
        hint="declare fewer features monotonic, or use the scorecard family",
    )


def _train(parameters: Mapping[str, Any], rows: NDArray[np.float64], favourable: NDArray[np.bool_]) -> Trees:
    depth = parameters.get("max_depth", -1)
    if not isinstance(depth, int) or depth <= 0 or depth > MAX_DEPTH:
        depth = MAX_DEPTH
    own = {**parameters, "max_depth": depth}
    iterations = own.pop("num_iterations", 100)
    try:
        # Columns go without names: LightGBM refuses those that JSON would have to escape.
        data = lightgbm.Dataset(rows, favourable.astype(np.float64), params={"verbosity": -1})
        booster = lightgbm.train(own, data, num_boost_round=iterations)
        text = booster.model_to_string(num_iteration=-1)
    except (lightgbm.basic.LightGBMError, TypeError, ValueError) as error:
        raise Misuse(f"LightGBM does not take its parameters: {error}", hint="mend spec.model.parameters") from error
    return parse_trees(text)


def _translated(parameters: Mapping[str, int | float | str | bool]) -> dict[str, Any]:
    for name, value in parameters.items():
        if name not in _NAMES:
            close = difflib.get_close_matches(name, _NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(_NAMES)}"
            raise Misuse(f"{name!r} is not a parameter of the lightgbm family", hint=hint)
        if isinstance(value, str):
            raise Misuse(f"{name} is not a number", hint="mend spec.model.parameters")
    return {_NAMES[name]: value for name, value in parameters.items()}
