from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from aboveboard.errors import RequestRefused
from aboveboard.serving.cohort import Cohort, Grouping
from aboveboard.spec.protected import ProtectedAttribute

PROTECTED = [
    ProtectedAttribute.model_validate(
        {
            "name": "sex",
            "column": "SEX",
            "reference": "male",
            "groups": [{"name": "male", "values": [1]}, {"name": "female", "values": [2]}],
        }
    ),
    ProtectedAttribute.model_validate(
        {
            "name": "age",
            "column": "AGE",
            "reference": "from-40",
            "groups": [{"name": "under-40", "below": 40}, {"name": "from-40", "from": 40}],
        }
    ),
]


GROUPING = Grouping(PROTECTED)


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ({}, ("unassigned", "unassigned")),
        ({"sex": "female"}, ("female", "unassigned")),
        ({"SEX": 2, "AGE": 39.9}, ("female", "under-40")),
        ({"sex": 1, "age": 40}, ("male", "from-40")),
        ({"sex": "1"}, ("male", "unassigned")),
        ({"sex": None, "age": "forty"}, ("unassigned", "unassigned")),
        ({"sex": 9}, ("unassigned", "unassigned")),
        ({"sex": True, "age": True}, ("unassigned", "unassigned")),
        ({"sex": 1.5}, ("unassigned", "unassigned")),
    ],
)
def test_assigns_groups(values: dict[str, str | int | float | None], groups: tuple[str, ...]) -> None:
    assert GROUPING.groups_of(Cohort(dict(values))) == groups


def test_no_cohort_is_unassigned() -> None:
    assert GROUPING.groups_of(None) == ("unassigned", "unassigned")


@pytest.mark.parametrize("values", [{"shoe-size": 43}, {"sex": 1, "SEX": 2}, {"sex": 1, "x": 1}])
def test_refuses_undeclared_or_repeated_attributes(values: dict[str, int]) -> None:
    with pytest.raises(RequestRefused):
        GROUPING.groups_of(Cohort(dict(values)))


def test_a_cohort_is_nothing_a_model_could_encode() -> None:
    cohort = Cohort({"sex": "female"})
    assert not isinstance(cohort, Mapping | Sequence)
    assert not hasattr(cohort, "__getitem__")
    assert not hasattr(cohort, "items")
    assert "female" not in repr(cohort)
