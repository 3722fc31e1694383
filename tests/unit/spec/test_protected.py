"""A value of a protected attribute belongs to one group, or to none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aboveboard.spec.protected import ProtectedAttribute

SEX = ProtectedAttribute.model_validate(
    {
        "name": "sex",
        "column": "SEX",
        "reference": "male",
        "groups": [{"name": "male", "values": [1]}, {"name": "female", "values": [2, "f"]}],
    }
)
AGE = ProtectedAttribute.model_validate(
    {
        "name": "age",
        "column": "AGE",
        "reference": "younger",
        "groups": [{"name": "younger", "below": 62}, {"name": "older", "from": 62}],
    }
)


@pytest.mark.parametrize(
    ("value", "group"),
    [(1, "male"), ("1", "male"), (1.0, "male"), (1.5, None), (2, "female"), ("f", "female"), (3, None), (None, None)],
)
def test_listed_values(value: float | str | None, group: str | None) -> None:
    assert SEX.group_of(value) == group


def test_text_is_in_no_band() -> None:
    assert AGE.group_of("61") is None
    assert AGE.group_of(True) is None


@given(st.floats(allow_nan=False))
def test_bands_meet_without_gap_or_overlap(value: float) -> None:
    assert [group.name for group in AGE.groups if group.holds(value)] == ["older" if value >= 62 else "younger"]
