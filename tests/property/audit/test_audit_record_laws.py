"""Laws of records: one spelling each, readable again, and nothing else is taken for one."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from aboveboard.audit import events, verifier
from aboveboard.audit.record import commitment, decode_record, encode_record
from aboveboard.errors import NotVerified, RequestRefused
from tests.audit_cases import decision

text = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
features = st.dictionaries(text, st.none() | st.booleans() | numbers | text, max_size=8)
documents = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(features, st.floats(0, 1), text)
def test_a_decision_is_written_as_the_reference_implementation_writes_it(
    values: dict[str, events.Feature], score: float, reason: str
) -> None:
    event = decision(features=values, score=score, reasons=[reason])
    record = encode_record(event)
    assert record == rfc8785.dumps(msgspec.to_builtins(event))
    assert decode_record(record) == event


@given(documents)
def test_the_verifier_writes_canonical_json_as_the_reference_implementation_does(document: object) -> None:
    assert verifier.canonical(document).encode() == rfc8785.dumps(document)  # type: ignore[arg-type]
    assert verifier.canonical(verifier.parse_json(json.dumps(document))) == verifier.canonical(document)


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_numbers_without_a_canonical_form_are_refused(value: float) -> None:
    event = decision(features={"X": value})
    try:
        record = encode_record(event)
    except RequestRefused:
        assert value != value or abs(value) >= 2**53 - 1
    else:
        assert decode_record(record) == event


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_record(content: bytes) -> None:
    with pytest.raises(NotVerified):
        decode_record(content)
    with suppress(verifier.VerificationFailed):
        verifier.canonical(verifier.parse_json(content))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=200), st.data())
def test_a_commitment_is_to_one_salt_and_one_record(salt: bytes, record: bytes, data: st.DataObject) -> None:
    whole = bytearray(salt + record)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    assert commitment(bytes(whole[:32]), bytes(whole[32:])) != commitment(salt, record)
