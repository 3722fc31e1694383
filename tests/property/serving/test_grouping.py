from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aboveboard.serving.cohort import Cohort, Grouping, group_of
from aboveboard.spec.protected import ProtectedAttribute

PROTECTED = [
    ProtectedAttribute.model_validate(document)
    for document in (
        {
            "name": "sex",
            "column": "SEX",
            "reference": "male",
            "groups": [{"name": "male", "values": [1, "M"]}, {"name": "female", "values": [2, "true"]}],
        },
        {
            "name": "age",
            "column": "age",
            "reference": "older",
            "groups": [{"name": "younger", "from": 0, "below": 40}, {"name": "older", "from": 40}],
        },
    )
]
GROUPING = Grouping(PROTECTED)
near = st.sampled_from(
    [0, 1, 2, 1.0, 2.0, True, False, "1", "2", "true", "True", "M", "male", "older", 39.9, 40, None, ""]
)
values = near | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.booleans()


@given(st.lists(st.tuples(values, values), max_size=6))
def test_what_is_remembered_is_what_the_spec_says(people: list[tuple[str, int]]) -> None:
    """One grouping for all: what it learnt from one person must not be wrong for the next."""
    for sex, age in people:
        expected = (group_of(PROTECTED[0], sex), group_of(PROTECTED[1], age))
        assert GROUPING.groups_of(Cohort({"SEX": sex, "age": age})) == expected
        assert GROUPING.groups_of(Cohort({"age": age, "sex": sex})) == expected
