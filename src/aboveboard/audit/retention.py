"""How long the law bars erasure. Pure: dates in, dates out."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from aboveboard.audit.vault import Name
from aboveboard.errors import RequestRefused

_DURATION = re.compile(r"P(?=\d)(?:(\d{1,4})Y)?(?:(\d{1,5})M)?(?:(\d{1,6})D)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason why a person may not be erased before a day."""

    basis: str
    until: date


def add_duration(start: date, duration: str) -> date:
    """Return the day a calendar duration of ISO 8601 after `start`, e.g. `P25M`; month ends are kept in the month.

    Raises `RequestRefused` when it is not such a duration.
    """
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise RequestRefused(f"{duration!r} is not a calendar duration", hint="write P25M, P5Y or P180D")
    years, months, days = (int(part or 0) for part in match.groups())
    month = start.month - 1 + months
    try:
        year = start.year + years + month // 12
        month = month % 12 + 1
        day = min(start.day, calendar.monthrange(year, month)[1])
        return date(year, month, day) + timedelta(days=days)
    except (ValueError, OverflowError) as error:
        raise RequestRefused(
            f"{duration!r} ends beyond the calendar", hint="state a shorter period, e.g. P25M"
        ) from error


def retained_until(name: Name) -> date:
    """Return the first day on which what a key seals may be erased: the month's end and the retention period."""
    year, month = (int(part) for part in name.epoch.split("-"))
    following = date(year + month // 12, month % 12 + 1, 1)
    return add_duration(following, name.retention)


def statutory_hold(name: Name) -> Hold:
    """Return the hold that a key's own retention period is."""
    return Hold(f"retention {name.retention} of records of {name.epoch}", retained_until(name))


def running(holds: Iterable[Hold], today: date) -> list[Hold]:
    """Return the holds that still bar erasure, the longest first."""
    return sorted(
        (hold for hold in holds if hold.until > today), key=lambda hold: (hold.until, hold.basis), reverse=True
    )


def day_of(moment: datetime) -> date:
    """Return the UTC day of a moment."""
    return moment.astimezone(UTC).date()
