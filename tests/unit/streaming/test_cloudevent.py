"""What leaves for Kafka: every attribute CloudEvents asks for, and nothing about the person."""

from __future__ import annotations

import json

import jsonschema

from aboveboard.streaming.cloudevent import binary, cloud_event, json_schema, structured
from tests.audit_cases import decision

DECISION = decision(7, "sub-" + "a" * 32, idempotency_key="application-17")
EVENT = cloud_event(DECISION, 42, "bank.example/eu")
DATA = {
    "decision_id": "dec-000007",
    "model": "credit-default",
    "release": "sha256:" + "ab" * 32,
    "track": "champion",
    "jurisdiction": "us",
    "outcome": "approve",
    "score": 0.731,
    "reasons": ["credit-line"],
    "log": "bank.example/eu",
    "index": 42,
}
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "42",
    "source": "bank.example/eu",
    "type": "dev.aboveboard.decision.v1",
    "subject": "dec-000007",
    "time": DECISION.time,
    "partitionkey": "dec-000007",
}


def test_structured_mode_holds_the_whole_event() -> None:
    key, value, headers = structured(EVENT)
    assert key == b"dec-000007"
    assert json.loads(value) == {**ATTRIBUTES, "datacontenttype": "application/json", "data": DATA}
    assert headers == [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    jsonschema.validate(json.loads(value), json_schema())


def test_binary_mode_has_the_attributes_as_headers() -> None:
    key, value, headers = binary(EVENT)
    assert key == b"dec-000007"
    assert json.loads(value) == DATA
    assert {name: text.decode() for name, text in headers} == {
        "content-type": "application/json",
        **{f"ce_{name}": text for name, text in ATTRIBUTES.items()},
    }


def test_nothing_in_it_is_about_the_person() -> None:
    for form in (structured, binary):
        told = repr(form(EVENT))
        features = [name for name in DECISION.features if len(name) > 1]
        for secret in (DECISION.subject or "", "application-17", "female", "sex", "Zürich", "20000", *features):
            assert secret not in told
