from __future__ import annotations

import pytest

from aboveboard.audit.review import State
from aboveboard.errors import RequestRefused
from aboveboard.serving.cases import QueueFilter, case_family, parse_filter


def test_a_query_is_understood() -> None:
    assert parse_filter([]) == QueueFilter()
    given = [("state", "proposed"), ("overdue", "true"), ("limit", "7"), ("cursor", "1.x"), ("model", "m")]
    assert parse_filter(given) == QueueFilter(State.PROPOSED, True, "m", 7, "1.x")


@pytest.mark.parametrize(
    "query",
    [
        [("state", "decided")],
        [("overdue", "maybe")],
        [("limit", "0")],
        [("limit", "501")],
        [("limit", "many")],
        [("overdu", "true")],
        [("model", "credit\x00default")],
        [("limit", "1"), ("limit", "2")],
    ],
)
def test_any_other_query_is_refused_and_not_repeated(query: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_filter(query)
    assert "many" not in refused.value.message + refused.value.hint


def test_the_gauge_has_every_state() -> None:
    family = case_family("m", {(State.WAITING, False): 3, (State.WAITING, True): 1})
    samples = {tuple(sample.labels.values()): sample.value for sample in family.samples}
    assert samples == {("m", "waiting", "false"): 3, ("m", "waiting", "true"): 1}
