"""An event as bytes, and the commitment the log holds in its stead.

A leaf of the log is `SHA-256(salt ‖ record)`, where `record` is the event as canonical JSON (RFC 8785) and `salt`
is 32 random bytes. Without the salt nobody can test a guess about the record, however few values it could have;
with both, anyone can check that the leaf stands for exactly this record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from aboveboard.audit.events import EVENT_TYPES, Act, Decision, Event, Feature, Personal
from aboveboard.canonical import canonical_json
from aboveboard.errors import NotVerified, RequestRefused

SALT_BYTES = 32
_EXACT = 1 << 53
_INTEGERS = frozenset({int, bool})

_encoder = msgspec.json.Encoder(order="sorted")
_union: Any = reduce(or_, EVENT_TYPES)
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_union)
_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-([0-2]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII)
_SORTS_DIFFERENTLY = re.compile(rb"[\xee-\xff]")


def encode_record(event: Event) -> bytes:
    """Return `event` as RFC 8785 bytes.

    Raises `RequestRefused` for what canonical JSON cannot carry (NaN, infinities, integers beyond 2^53) and for
    a time that is not RFC 3339 in UTC with milliseconds. Field types are the caller's: they are not checked.
    """
    if type(event) not in EVENT_TYPES:
        raise RequestRefused(
            f"{type(event).__name__} is not an event of the audit log", hint="use a type of audit.events"
        )
    if not isinstance(event.time, str) or not _TIME.fullmatch(event.time):
        raise RequestRefused(
            "the time of an event is RFC 3339 in UTC with milliseconds", hint="use clock.timestamp()"
        )
    try:
        if type(event) is Decision and event.alternatives is msgspec.UNSET and (plain := _plain(event)) is not None:
            encoded = _encoder.encode(plain)
            # msgspec sorts keys by code point and RFC 8785 by UTF-16 unit; the two differ from U+E000 up.
            if encoded.isascii() or not _SORTS_DIFFERENTLY.search(encoded):
                return encoded
        return canonical_json(msgspec.to_builtins(event))
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestRefused(f"the event cannot be written as canonical JSON: {error}") from error


def _plain(event: Decision) -> Decision | None:
    """Return an equal decision whose numbers msgspec writes as RFC 8785 does, or None where that cannot be had.

    The two agree on integers below 2^53, and on fractions from 1e-4 up to 1e15 in magnitude (tested against the
    reference implementation). Whole floats become integers. Anything else, NaN included, takes the slow road.
    """
    changed: dict[str, Feature] = {}
    for name, value in () if _all_small_integers(event.features) else event.features.items():
        kind = type(value)
        if kind is float:
            if value.is_integer() and -_EXACT < value < _EXACT:  # type: ignore[union-attr,operator]
                changed[name] = int(value)  # type: ignore[arg-type]
            elif not (1e-4 <= value < 1e15 or -1e15 < value <= -1e-4):  # type: ignore[operator]
                return None
        elif kind is int:
            if not -_EXACT < value < _EXACT:  # type: ignore[operator]
                return None
        elif kind is not str and kind is not bool and value is not None:
            return None
    score: float = event.score
    if type(score) is not float or not (1e-4 <= score < 1e15 or -1e15 < score <= -1e-4) or score.is_integer():
        if score not in (0, 1):
            return None
        score = int(score)
    if changed or score is not event.score:
        return msgspec.structs.replace(event, features={**event.features, **changed}, score=score)
    return event


def _all_small_integers(features: Mapping[str, Any]) -> bool:
    """Tell the commonest case, where nothing is to be done, without looking at each value in Python."""
    values = features.values()
    return _INTEGERS.issuperset(map(type, values)) and (
        not values or (min(values) > -_EXACT and max(values) < _EXACT)
    )


def decode_record(record: bytes) -> Event:
    """Return the event that `record` is the canonical JSON of. Raises `NotVerified` for anything else."""
    try:
        event: Event = _decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotVerified(f"not an event of a known type and version: {error}") from error
    if isinstance(event, Decision):
        # RFC 8785 writes a large double without point or exponent; it is a double all the same.
        large = {k: float(v) for k, v in event.features.items() if type(v) is int and not -_EXACT < v < _EXACT}
        if large:
            return msgspec.structs.replace(event, features={**event.features, **large})
    return event


def commitment(salt: bytes, record: bytes) -> bytes:
    """Return the 32 bytes that stand for `record` in the log."""
    return hashlib.sha256(salt + record).digest()


def retention_of(event: Event) -> str:
    """Return how long the law bars the erasure of `event`, as an ISO 8601 duration."""
    return event.retention if isinstance(event, Personal) else Act.RETENTION
