"""Directions are settled for every possible row, because LightGBM's finer methods do not always keep them."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from aboveboard.models.lightgbm_trees import LightGBMTrees
from aboveboard.models.monotone import largest_violation
from aboveboard.models.trees import MISSING_ZERO, Trees, parse_trees
from aboveboard.spec.types import Family
from tests.property.models.random_trees import ensembles, margin, rows_of
from tests.unit.models.synthetic_case import TREES, applicants, fitted, rows

NAMES = {"n_estimators": "num_iterations", "min_child_samples": "min_data_in_leaf"}


def trained(method: str) -> Trees:
    directions = fitted(Family.LIGHTGBM).encoding.monotonic
    parameters = {NAMES.get(name, name): value for name, value in TREES.items()}
    parameters |= {"objective": "binary", "verbosity": -1, "num_threads": 1, "monotone_constraints_method": method}
    data = lightgbm.Dataset(rows()[:2000], applicants()[1][:2000].astype(float), params={"verbosity": -1})
    booster = lightgbm.train({**parameters, "monotone_constraints": list(directions)}, data)
    return parse_trees(booster.model_to_string())


def test_lightgbms_advanced_method_goes_against_a_direction_where_values_are_missing() -> None:
    """The reason for all of this; when LightGBM mends it, this fails and the fit may become simpler."""
    directions = fitted(Family.LIGHTGBM).encoding.monotonic
    assert largest_violation(trained("advanced"), directions) > 0.01
    assert largest_violation(trained("basic"), directions) == 0


def test_the_trees_that_are_taken_keep_to_every_direction() -> None:
    model = fitted(Family.LIGHTGBM)
    assert isinstance(model.predictor, LightGBMTrees)
    assert largest_violation(model.predictor.trees, model.encoding.monotonic) <= 1e-12


def test_trees_that_read_zero_as_missing_are_not_settled() -> None:
    trees = trained("basic")
    trees.nodes["flags"][0] |= MISSING_ZERO
    assert largest_violation(trees, [1] * trees.width) == float("inf")
    assert largest_violation(trees, [0] * trees.width) == 0


@settings(max_examples=150, deadline=None)
@given(ensembles(3, zero_is_missing=False), rows_of(3))
def test_no_row_moves_by_more_than_the_violation_found(trees: Trees, row: NDArray[np.float64]) -> None:
    limit = largest_violation(trees, [1, 0, 0]) * len(trees.roots)
    below, above = ([value, *row[1:]] for value in sorted(pair_of(row)))
    fall = margin(trees, np.array(below)) - margin(trees, np.array(above))
    assert fall <= limit + 1e-9


def pair_of(row: NDArray[np.float64]) -> tuple[float, float]:
    """Return two different numbers for the first column, the row's own among them where it has one."""
    value = 0.0 if np.isnan(row[0]) else float(row[0])
    return value, value + 1.25


@pytest.mark.parametrize("direction", [1, -1])
def test_a_stump_is_read_rightly(direction: int) -> None:
    trees = trained("basic")
    text = trees.to_text()
    stump = text[: text.index("Tree=0")] + (
        "Tree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=1\nthreshold=0.5\ndecision_type=0\nleft_child=-1\n"
        "right_child=-2\nleaf_value=-0.25 0.25\nis_linear=0\nshrinkage=1\n\n\nend of trees\n"
    )
    expected = 0.0 if direction == 1 else 0.5
    assert largest_violation(parse_trees(stump), [0, direction, *[0] * (trees.width - 2)]) == expected
