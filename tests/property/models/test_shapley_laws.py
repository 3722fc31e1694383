"""Baseline Shapley values: both kernels agree with each other and with the definition, over every coalition."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aboveboard.models.lightgbm_native import NativeBooster
from aboveboard.models.shapley import HAS_KERNEL, Explainer, Forest, kernel_forest, kernel_margin, numpy_forest
from aboveboard.models.trees import Trees, parse_trees
from tests.property.models.random_trees import ensembles, margin, owners, rows_of

WIDTH = 5
CASE = st.tuples(ensembles(WIDTH), owners(WIDTH), rows_of(WIDTH), rows_of(WIDTH))
Case = tuple[Trees, NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]
Prepare = Callable[[Trees, NDArray[np.float64], NDArray[np.intp]], Forest]
needs_kernel = pytest.mark.skipif(not HAS_KERNEL, reason="the C kernel is not built here")


def by_definition(case: Case) -> list[float]:
    """Return Shapley values as defined: over all coalitions of the other players, weighted by their size."""
    trees, owner, row, reference = case
    players = range(int(owner.max()) + 1)
    worth = {
        coalition: margin(trees, np.where(np.isin(owner, coalition), row, reference))
        for size in range(len(players) + 1)
        for coalition in itertools.combinations(players, size)
    }
    values = []
    for player in players:
        others = [other for other in players if other != player]
        total = 0.0
        for size in range(len(others) + 1):
            weight = factorial(size) * factorial(len(players) - size - 1) / factorial(len(players))
            for coalition in itertools.combinations(others, size):
                joined = tuple(sorted((*coalition, player)))
                total += weight * (worth[joined] - worth[coalition])
        values.append(total)
    return values


def attributed(prepare: Prepare, case: Case) -> list[float]:
    trees, owner, row, reference = case
    out = np.zeros((1, int(owner.max()) + 1))
    prepare(trees, reference, owner).attribute(row.reshape(1, -1), out)
    return [float(value) for value in out[0]]


@needs_kernel
@settings(max_examples=120, deadline=None)
@given(CASE)
def test_the_kernel_agrees_with_the_definition(case: Case) -> None:
    assert attributed(kernel_forest, case) == pytest.approx(by_definition(case), abs=1e-9)


@settings(max_examples=120, deadline=None)
@given(CASE)
def test_the_numpy_twin_agrees_with_the_definition(case: Case) -> None:
    assert attributed(numpy_forest, case) == pytest.approx(by_definition(case), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(CASE)
def test_contributions_stand_in_the_first_column_of_a_player_and_add_up(case: Case) -> None:
    trees, owner, row, reference = case
    values = Explainer(trees, reference, owner).attribute(row.reshape(1, -1))[0]
    assert values.sum() == pytest.approx(margin(trees, row) - margin(trees, reference), abs=1e-9)
    later = np.flatnonzero(np.diff(owner) == 0) + 1
    assert not values[later].any()


@settings(max_examples=100, deadline=None)
@given(CASE)
def test_a_row_like_the_reference_owes_nothing_to_anything(case: Case) -> None:
    trees, owner, _, reference = case
    assert not Explainer(trees, reference, owner).attribute(reference.reshape(1, -1)).any()


@settings(max_examples=100, deadline=None)
@given(CASE)
def test_lightgbm_reads_the_trees_we_write_as_we_do(case: Case) -> None:
    trees, _, row, reference = case
    text = trees.to_text()
    assert parse_trees(text).to_text() == text
    native = NativeBooster(trees).margin(np.stack([row, reference]))
    assert native.tolist() == [margin(trees, row), margin(trees, reference)]


@needs_kernel
@settings(max_examples=100, deadline=None)
@given(CASE)
def test_the_kernel_scores_as_lightgbm_does_to_the_last_bit(case: Case) -> None:
    trees, owner, row, reference = case
    ours, theirs = kernel_margin(trees, owner), NativeBooster(trees)
    assert ours is not None
    for one in (row, reference, row * 1e-40, np.full_like(row, np.nan)):
        assert ours(one) == theirs.margin(one[None, :])[0]
    with pytest.raises(ValueError, match="does not fit"):
        ours(np.append(row, 0.0))
