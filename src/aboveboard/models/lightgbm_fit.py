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
from aboveboard.models.trees import MAX_DEPTH, parse_trees

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
    "monotone_constraints_method": "monotone_constraints_method",
}
"""What a spec may set, in scikit-learn's spelling, and what LightGBM's core calls it."""

_OURS: Final[dict[str, Any]] = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,  # the choice between row and column is made by timing otherwise, and changes sums
    "verbosity": -1,
}

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
    # A second thread gains little on few rows and costs a hundredfold where it must wait for a core (it spins);
    # the trees are the same for any number.
    threads = 1 if rows.size < _MANY else 2
    own = {**_translated(parameters), **_OURS, "seed": seed, "num_threads": threads}
    own["max_depth"] = MAX_DEPTH if own.get("max_depth", -1) <= 0 else min(own["max_depth"], MAX_DEPTH)
    if any(encoding.monotonic):
        own["monotone_constraints"] = list(encoding.monotonic)
        own.setdefault("monotone_constraints_method", "advanced")
    iterations = own.pop("num_iterations", 100)
    try:
        # Column indices stand in for names: LightGBM refuses names that JSON would have to escape.
        data = lightgbm.Dataset(rows, favourable.astype(np.float64), params={"verbosity": -1})
        booster = lightgbm.train(own, data, num_boost_round=iterations)
        text = booster.model_to_string(num_iteration=-1)
    except (lightgbm.basic.LightGBMError, TypeError, ValueError) as error:
        raise Misuse(f"LightGBM does not take its parameters: {error}", hint="mend spec.model.parameters") from error
    return LightGBMTrees(parse_trees(text), encoding.owner)


def _translated(parameters: Mapping[str, int | float | str | bool]) -> dict[str, Any]:
    for name in parameters:
        if name not in _NAMES:
            close = difflib.get_close_matches(name, _NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(_NAMES)}"
            raise Misuse(f"{name!r} is not a parameter of the lightgbm family", hint=hint)
    return {_NAMES[name]: value for name, value in parameters.items()}
