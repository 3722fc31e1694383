"""The reference is a typical approved applicant, near where it should be, and nobody in particular."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.errors import DataRefused
from aboveboard.models import Encoding, Model
from aboveboard.models.contract import EncodedFeature
from aboveboard.models.reference import find_references, typical
from aboveboard.spec.types import FeatureType, ReferenceConvention
from tests.unit.models.credit_case import CreditCase

ENCODING = Encoding(
    (
        EncodedFeature("amount", FeatureType.INTEGER, optional=True),
        EncodedFeature("home", FeatureType.CATEGORY, categories=("own", "rent"), optional=True),
    )
)


def test_a_typical_row_is_made_of_lower_medians_and_commonest_categories() -> None:
    rows = ENCODING.encode_columns(
        {"amount": [1, 2, 7, 9, None], "home": ["own", "rent", "rent", None, "own"]},
    )
    assert ENCODING.decode(typical(ENCODING, rows)) == {"amount": 2, "home": "own"}


def test_what_most_people_lack_is_missing() -> None:
    rows = ENCODING.encode_columns({"amount": [1, None], "home": [None, None]})
    assert ENCODING.decode(typical(ENCODING, rows)) == {"amount": None, "home": None}


def test_both_references_reach_the_cut_off_and_are_nobodys_record(credit: CreditCase, model: Model) -> None:
    used = credit.rows[np.concatenate([credit.train, credit.calibration])]
    for convention in ReferenceConvention:
        reference = model.references[convention]
        row = model.reference(convention)
        assert model.encoding.decode(row) == reference.record
        assert model.score(row.reshape(1, -1))[0] == reference.score >= model.approve_at
        assert reference.people >= 50
        assert not (used == row).all(axis=1).any()
    at_cut_off, all_approved = (model.references[convention] for convention in ReferenceConvention)
    assert at_cut_off.score < all_approved.score
    assert at_cut_off.people < all_approved.people


def test_the_references_do_not_hang_on_the_order_of_records(credit: CreditCase, model: Model) -> None:
    rows = credit.rows[credit.train]
    shuffled = rows[np.random.default_rng(7).permutation(len(rows))]
    found = [find_references(credit.encoding, part, model.score, model.approve_at) for part in (rows, shuffled)]
    assert found[0] == found[1]


def test_a_rare_record_is_passed_over_as_a_reference() -> None:
    encoding = Encoding((EncodedFeature("x", FeatureType.NUMBER),))
    # 60 people just above the cut-off whose median is one person's own value; then 60 who share one value.
    rows = np.concatenate([np.linspace(0.70, 0.71, 60), np.full(60, 0.9)]).reshape(-1, 1)
    found = find_references(encoding, rows, lambda values: values[:, 0], 0.7)
    assert found[ReferenceConvention.AT_CUT_OFF].record == {"x": 0.9}


def test_where_every_record_is_somebodys_a_summary_of_fifty_must_do() -> None:
    encoding = Encoding((EncodedFeature("x", FeatureType.NUMBER),))
    rows = np.linspace(0.7, 0.8, 100).reshape(-1, 1)
    found = find_references(encoding, rows, lambda values: values[:, 0], 0.7)
    assert found[ReferenceConvention.AT_CUT_OFF].people == 50
    assert found[ReferenceConvention.ALL_APPROVED].people == 100


def test_fewer_than_fifty_approved_are_too_few() -> None:
    encoding = Encoding((EncodedFeature("x", FeatureType.NUMBER),))
    with pytest.raises(DataRefused) as refused:
        find_references(encoding, np.linspace(0, 1, 100).reshape(-1, 1), lambda values: values[:, 0], 0.7)
    assert "30 of 100" in str(refused.value.problems[0])
    assert "approveAt" in refused.value.hint


def test_where_no_typical_applicant_would_be_approved_there_is_no_reference() -> None:
    encoding = Encoding((EncodedFeature("x", FeatureType.NUMBER), EncodedFeature("y", FeatureType.NUMBER)))
    # Approved is who has exactly one of two: put together feature by feature, nobody has.
    half = np.arange(100) % 2
    rows = np.stack([half, 1 - half], axis=1).astype(np.float64)

    def score(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(values[:, 0] != values[:, 1], 0.9, 0.1)

    with pytest.raises(DataRefused, match="no reference"):
        find_references(encoding, rows, score, 0.7)
