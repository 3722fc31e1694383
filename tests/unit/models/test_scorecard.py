"""A scorecard can be checked by hand: whole points that add up, on the scale that is stated."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aboveboard.models.binning import Counts, bin_number, count, weight_of_evidence
from aboveboard.spec.types import Family
from tests.unit.models.credit_case import CreditCase
from tests.unit.models.synthetic_case import applicants, fitted, rows


def points_by_hand(card: dict[str, Any], record: dict[str, Any], categories: list[str]) -> int:
    """Add up a record's points as a person with the card in hand would."""
    total = int(card["start"])
    for entry in card["features"]:
        value = record[entry["name"]]
        if value is None:
            total += entry["missing"]["points"]
        elif entry["levels"]:
            total += entry["levels"][categories.index(value)]["points"]
        else:
            number = float(value)
            total += next(b["points"] for b in entry["bins"] if b["up_to"] is None or number <= b["up_to"])
    return total


def test_the_score_is_what_a_person_adds_up_by_hand() -> None:
    model = fitted(Family.SCORECARD)
    card = json.loads(model.files()["scorecard.json"])
    columns = applicants()[0]
    for index in range(300):
        record = {name: values[index] for name, values in columns.items()}
        points = points_by_hand(card, record, ["own", "rent", "family", "street"])
        log_odds = math.log(50) + (points - 600) / 20 * math.log(2)
        assert model.margin(rows()[index : index + 1])[0] == pytest.approx(log_odds, abs=1e-12)


def test_a_contribution_is_a_difference_of_two_entries() -> None:
    model = fitted(Family.SCORECARD)
    points = model.attribute(rows()) * 20 / math.log(2)
    assert points == pytest.approx(np.round(points), abs=1e-9)
    assert np.abs(points).max() > 1


def test_the_card_ranks_real_clients_about_as_well_as_trees(credit: CreditCase) -> None:
    spec = credit.spec
    as_card = spec.spec.model.model_copy(update={"family": Family.SCORECARD})
    model = credit.fit({}, spec=spec.model_copy(update={"spec": spec.spec.model_copy(update={"model": as_card})}))
    held_out = credit.holdout
    assert roc_auc_score(credit.favourable[held_out], model.margin(credit.rows[held_out])) > 0.75


def test_weight_of_evidence_is_log_odds_against_the_whole() -> None:
    whole = Counts(8000, 2000)
    assert weight_of_evidence(Counts(0, 0), whole) == 0
    assert weight_of_evidence(Counts(800, 200), whole) == pytest.approx(0, abs=1e-12)
    assert weight_of_evidence(Counts(500, 500), whole) == pytest.approx(-math.log(4), abs=0.01)


def test_bins_obey_a_direction_a_number_and_a_size() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=4000)
    favourable = rng.random(4000) < 1 / (1 + np.exp(-np.sin(3 * values) - values))
    whole = count(favourable)
    for direction in (1, -1, 0):
        bins = bin_number(values, favourable, whole, direction=direction, most=5, least_share=0.05)
        evidence = [weight_of_evidence(part, whole) for part in bins.counts]
        assert len(bins.edges) == len(bins.counts) - 1 < 5
        assert bins.edges == sorted(bins.edges)
        assert sum(part.all for part in bins.counts) == 4000
        assert min(part.all for part in bins.counts) >= 200 or len(bins.counts) == 1
        if direction:
            assert evidence == sorted(evidence, reverse=direction < 0)
    free = bin_number(values, favourable, whole, direction=0, most=5, least_share=0.05)
    assert [weight_of_evidence(part, whole) for part in free.counts] != sorted(
        weight_of_evidence(part, whole) for part in free.counts
    )


def test_a_number_nobody_has_or_everybody_shares_says_nothing() -> None:
    favourable = np.array([True, False] * 50)
    whole = count(favourable)
    empty = bin_number(np.zeros(0), favourable[:0], whole, direction=1, most=5, least_share=0.05)
    same = bin_number(np.ones(100), favourable, whole, direction=1, most=5, least_share=0.05)
    assert empty.edges == same.edges == []
    assert [weight_of_evidence(bins.counts[0], whole) for bins in (empty, same)] == pytest.approx([0, 0], abs=1e-12)
