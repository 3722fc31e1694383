from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aboveboard.serving.refusals import DuplicateKey
from aboveboard.serving.requests import parse_decision

# Without digits, so that nothing looks like a card.
words = st.text(st.characters(codec="utf-8", exclude_categories=["Nd", "Cs"]), min_size=1, max_size=12)
values = st.none() | st.booleans() | st.integers(-1000, 1000) | words


@given(subject=words, features=st.dictionaries(words, values, max_size=5), ascii_only=st.booleans())
def test_what_names_each_member_once_is_read_as_it_is(
    subject: str, features: dict[str, bool | int | str | None], ascii_only: bool
) -> None:
    body = json.dumps({"subject": subject, "features": features}, ensure_ascii=ascii_only).encode()
    request = parse_decision(body)
    assert request.subject == subject
    assert request.features == features


@given(
    subject=words,
    features=st.lists(st.tuples(words, values), min_size=1, max_size=5),
    again=st.integers(0, 4),
    value=values,
    ascii_only=st.booleans(),
)
def test_a_member_named_twice_is_always_found(
    subject: str, features: list[tuple[str, bool | int | str | None]], again: int, value: None, ascii_only: bool
) -> None:
    pairs = [*features, (features[again % len(features)][0], value)]
    written = ",".join(f"{json.dumps(k, ensure_ascii=ascii_only)}:{json.dumps(v)}" for k, v in pairs)
    body = f'{{"subject":{json.dumps(subject)},"features":{{{written}}}}}'.encode()
    with pytest.raises(DuplicateKey):
        parse_decision(body)
