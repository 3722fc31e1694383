"""Moments as the search index keeps them, in milliseconds since the epoch, and as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

from aboveboard.errors import Misuse


def milliseconds(time: str) -> int:
    """Return an RFC 3339 time as milliseconds since the epoch. Raises `Misuse`."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError as error:
        raise Misuse(f"{time!r} is not a time", hint="write it like 2026-11-21T09:30:00Z") from error
    if moment.tzinfo is None:
        raise Misuse(f"{time!r} names no time zone", hint="write it like 2026-11-21T09:30:00Z")
    return round(moment.timestamp() * 1000)


def written(moment: int) -> str:
    """Return a moment, in milliseconds since the epoch, as RFC 3339 in UTC."""
    return f"{datetime.fromtimestamp(moment // 1000, tz=UTC):%Y-%m-%dT%H:%M:%S}.{moment % 1000:03d}Z"
