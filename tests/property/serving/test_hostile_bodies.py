"""Whatever bytes arrive: a request that is understood, or one of our own refusals, and nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aboveboard.errors import RequestRefused
from aboveboard.serving.control import TrackChange
from aboveboard.serving.outcomes import parse_outcome
from aboveboard.serving.problems import problem_of
from aboveboard.serving.requests import Batch, decode, parse_decision
from aboveboard.serving.reviews import Confirmation, Contest, Review

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)
fields = st.sampled_from(["subject", "features", "cohort", "locale", "idempotency_key", "jurisdiction", "x"])
requests = st.dictionaries(fields, documents, max_size=6).map(lambda d: json.dumps(d).encode())
near = st.tuples(requests, st.integers(0, 200), st.binary(max_size=3)).map(
    lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :]
)
bodies = st.binary(max_size=200) | documents.map(lambda d: json.dumps(d).encode()) | requests | near

PARSERS: list[Callable[[bytes], Any]] = [
    parse_decision,
    parse_outcome,
    lambda body: decode(body, Contest),
    lambda body: decode(body, Review),
    lambda body: decode(body, Confirmation),
    lambda body: decode(body, Batch),
    lambda body: decode(body, TrackChange),
]


@pytest.mark.parametrize(
    "parse", PARSERS, ids=["decision", "outcome", "contest", "review", "confirmation", "batch", "tracks"]
)
@given(body=bodies)
def test_a_parser_understands_or_refuses(parse: Callable[[bytes], Any], body: bytes) -> None:
    with contextlib.suppress(RequestRefused):
        parse(body)


@given(body=requests)
def test_a_refusal_is_a_problem_below_500(body: bytes) -> None:
    try:
        parse_decision(body)
    except RequestRefused as error:
        problem = problem_of(error)
        assert 400 <= problem.status < 500
        assert problem.detail
