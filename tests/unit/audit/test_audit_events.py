"""Events: one schema, one spelling, refused where they are malformed."""

from __future__ import annotations

import json

import msgspec
import pytest

from aboveboard.audit import events
from aboveboard.audit.record import decode_record, encode_record, retention_of
from aboveboard.audit.sealing import key_name
from aboveboard.errors import NotVerified, RequestRefused
from tests.audit_cases import approval, decision


def test_every_type_has_a_version_and_a_place_in_the_schema() -> None:
    schema = events.json_schema()
    tags = [kind.__struct_config__.tag for kind in events.EVENT_TYPES]
    assert len(set(tags)) == len(tags) == len(schema["oneOf"])
    for kind, tag in zip(events.EVENT_TYPES, tags, strict=True):
        assert isinstance(tag, str)
        name, _, version = tag.rpartition("/")
        assert version.isdigit()
        assert name.replace("-", "").isalpha()
        definition = schema["$defs"][kind.__name__]
        assert definition["properties"]["type"] == {"enum": [tag]}
        assert definition["additionalProperties"] is False
        assert kind.__doc__
    json.dumps(schema)


def test_every_concrete_event_is_registered() -> None:
    def leaves(kind: type[events.Event]) -> set[type[events.Event]]:
        below = kind.__subclasses__()
        return {leaf for child in below for leaf in leaves(child)} if below else {kind}

    assert leaves(events.Event) == set(events.EVENT_TYPES)


def test_a_record_is_read_back_strictly() -> None:
    record = encode_record(approval())
    assert decode_record(record) == approval()
    document = msgspec.json.decode(record)
    for change in ({"type": "release-approved/2"}, {"extra": 1}, {"release": 5}):
        with pytest.raises(NotVerified):
            decode_record(msgspec.json.encode({**document, **change}))


@pytest.mark.parametrize(
    "time",
    ["", "2026-11-21", "2026-11-21T09:30:00Z", "2026-13-01T00:00:00.000Z", "2026-11-21T09:30:00.000Z\n", None, 7],
)
def test_a_time_is_written_one_way(time: object) -> None:
    with pytest.raises(RequestRefused):
        encode_record(decision(time=time))


@pytest.mark.parametrize("subject", ["", "@log", "@x"])
def test_a_subject_is_a_persons_token(subject: str) -> None:
    with pytest.raises(RequestRefused):
        key_name(decision(subject=subject))


def test_which_key_an_event_is_under() -> None:
    assert key_name(decision(subject="sub-a")) == ("sub-a", "2026-11", "P25M")
    assert key_name(decision(subject=None)) == ("@log", "2026-11", "P25M")
    assert key_name(approval()) == ("@log", "2026-11", "P10Y")
    assert retention_of(decision(retention="P5Y")) == "P5Y"


def test_what_is_no_event() -> None:
    with pytest.raises(RequestRefused):
        encode_record(events.Event(time="2026-11-21T09:30:00.000Z"))
    with pytest.raises(RequestRefused):
        encode_record(decision(features={"X": object()}))
    with pytest.raises(RequestRefused):
        encode_record(decision(features={"X": "\ud800"}))
    with pytest.raises(RequestRefused):
        encode_record(decision(score=float("inf")))
    with pytest.raises(RequestRefused):
        encode_record(decision(features={"X": 2**60}))
