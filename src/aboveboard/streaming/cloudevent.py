"""A decision as a CloudEvent (CloudEvents 1.0 and its Kafka protocol binding), with nothing in it about the person.

Whoever holds the decision id can ask a decision server about the person, if they may; the event itself names no
subject and holds no feature and no group.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from aboveboard.audit import events

TYPE: Final = "dev.aboveboard.decision.v1"
STRUCTURED: Final = b"application/cloudevents+json; charset=UTF-8"
_JSON: Final = "application/json"


class DecisionMade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data of an event: what was decided, by which release, and where the record stands."""

    decision_id: str
    model: str
    release: str
    track: str
    jurisdiction: str
    outcome: str
    score: float
    reasons: list[str]
    """Reason codes, the weightiest first."""
    log: str
    """The origin of the log that holds the record."""
    index: int
    """The record's place in that log."""


class CloudEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CloudEvent in structured mode. `source` and `id` together are unique: a duplicate has both the same."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    partitionkey: str
    data: DecisionMade
    specversion: str = "1.0"
    datacontenttype: str = _JSON


class Message(NamedTuple):
    """What is handed to Kafka."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def cloud_event(decision: events.Decision, index: int, origin: str) -> CloudEvent:
    """Return the event that says that entry `index` of the log `origin` is this decision."""
    data = DecisionMade(
        decision_id=decision.decision_id,
        model=decision.model,
        release=decision.release,
        track=decision.track,
        jurisdiction=decision.jurisdiction,
        outcome=decision.outcome,
        score=decision.score,
        reasons=list(decision.reasons),
        log=origin,
        index=index,
    )
    key = decision.decision_id
    return CloudEvent(str(index), origin, TYPE, key, decision.time, key, data)


def structured(event: CloudEvent) -> Message:
    """Return the event whole in the value."""
    return Message(event.partitionkey.encode(), msgspec.json.encode(event), [("content-type", STRUCTURED)])


def binary(event: CloudEvent) -> Message:
    """Return the event with its data as the value and its attributes as headers."""
    attributes = {
        name: getattr(event, name) for name in event.__struct_fields__ if name not in ("data", "datacontenttype")
    }
    headers = [("content-type", event.datacontenttype.encode())]
    headers += [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    return Message(event.partitionkey.encode(), msgspec.json.encode(event.data), headers)


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of an event in structured mode."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(CloudEvent)}
