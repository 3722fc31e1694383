"""Retention: calendar arithmetic, and when a key may go."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aboveboard.audit.retention import Hold, add_duration, day_of, retained_until, running, statutory_hold
from aboveboard.audit.vault import Name
from aboveboard.errors import RequestRefused


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        (date(2026, 12, 1), "P25M", date(2029, 1, 1)),
        (date(2026, 1, 31), "P1M", date(2026, 2, 28)),
        (date(2028, 1, 31), "P1M", date(2028, 2, 29)),
        (date(2028, 2, 29), "P1Y", date(2029, 2, 28)),
        (date(2026, 11, 21), "P5Y", date(2031, 11, 21)),
        (date(2026, 11, 21), "P1Y2M3D", date(2028, 1, 24)),
        (date(2026, 11, 21), "P180D", date(2027, 5, 20)),
        (date(2026, 11, 21), "P0D", date(2026, 11, 21)),
    ],
)
def test_calendar_durations(start: date, duration: str, end: date) -> None:
    assert add_duration(start, duration) == end


@pytest.mark.parametrize(
    "duration", ["", "P", "25M", "P25", "PT1H", "P1W", "P-1M", "P1M2Y", "P9999Y", "p1m", "P1M\n"]
)
def test_what_is_no_calendar_duration(duration: str) -> None:
    with pytest.raises(RequestRefused):
        add_duration(date(2026, 11, 21), duration)


def test_a_key_is_kept_from_the_end_of_its_month() -> None:
    assert retained_until(Name("sub-a", "2026-11", "P25M")) == date(2029, 1, 1)
    assert retained_until(Name("sub-a", "2026-12", "P1D")) == date(2027, 1, 2)
    assert statutory_hold(Name("sub-a", "2026-11", "P25M")).basis == "retention P25M of records of 2026-11"


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 600), st.integers(0, 5000))
def test_no_decision_is_freed_before_its_own_period_ends(day: date, months: int, days: int) -> None:
    duration = f"P{months}M{days}D"
    name = Name("sub-a", f"{day:%Y-%m}", duration)
    assert retained_until(name) >= add_duration(day, duration)
    assert retained_until(name) <= add_duration(day, duration) + timedelta(days=35)


def test_running_holds_come_longest_first() -> None:
    holds = [Hold("a", date(2026, 1, 1)), Hold("b", date(2030, 1, 1)), Hold("c", date(2028, 1, 1))]
    assert [hold.basis for hold in running(holds, date(2026, 1, 1))] == ["b", "c"]


def test_days_are_of_utc() -> None:
    assert day_of(datetime(2026, 11, 21, 23, tzinfo=timezone(timedelta(hours=-5)))) == date(2026, 11, 22)
    assert day_of(datetime(2026, 11, 21, 23, tzinfo=UTC)) == date(2026, 11, 21)
