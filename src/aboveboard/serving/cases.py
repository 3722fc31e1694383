"""The queue that reviewers work on: what waits for a person, in pages, the longest waiting first; and how much."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Final, NamedTuple

import msgspec
from prometheus_client.core import GaugeMetricFamily

from aboveboard.audit import AuditLog
from aboveboard.audit.moments import milliseconds, written
from aboveboard.audit.review import Case, Cause, State
from aboveboard.audit.review_queue import CaseQuery, Overdue
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import RequestRefused
from aboveboard.serving.requests import Label
from aboveboard.serving.reviews import PURPOSE
from aboveboard.serving.terms import DEADLINE, Terms

LONGEST_PAGE: Final = 500
COUNTED_FOR: Final = timedelta(seconds=5)
"""How long a count is repeated to those who ask again."""
_REST: Final = 50
"""At least how many times as long as it took, that is: no more than a fiftieth of the time is spent on counting."""

_CURSOR = re.compile(r"(\d{1,15})\.(dec-[0-9a-z]{26})")

Counts = dict[tuple[State, bool], int]
"""How many cases, by state and by whether they are overdue."""


class QueueFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of `GET /v1/reviews`."""

    state: State | None = None
    overdue: bool | None = None
    model: Label | None = None
    """By default the one in service."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_PAGE)] = 100
    cursor: str | None = None
    """The `next` of the page before."""


class WaitingCase(msgspec.Struct, frozen=True):
    """One decision that waits for a person."""

    decision_id: str
    model: str
    release: str
    """The one that decided."""
    cause: Cause
    state: State
    since: str
    due: str
    overdue: bool
    claimed_by: str | None
    claimed_until: str | None
    proposed_by: str | None
    proposed_outcome: str | None


class QueuePage(msgspec.Struct, frozen=True):
    """One page of the queue."""

    cases: list[WaitingCase]
    next: str | None
    """The `cursor` of the next page; null on the last."""


def parse_filter(parameters: Iterable[tuple[str, str]]) -> QueueFilter:
    """Return what a query asks for. Raises `RequestRefused`, also for a parameter that comes twice or is none."""
    given = list(parameters)
    try:
        found = msgspec.convert(dict(given), QueueFilter, strict=False)
    except msgspec.ValidationError:
        found = None
    if found is None or len({name for name, _ in given}) != len(given):
        raise RequestRefused(
            "the query is not one of the queue's",
            hint=f"state=waiting|claimed|proposed, overdue=true|false, model, limit=1…{LONGEST_PAGE}, cursor",
        )
    return found


class _Counted(NamedTuple):
    since: int
    until: int
    counts: Counts


class Cases:
    """The queue of one log. The methods block: call them off the event loop."""

    def __init__(self, log: AuditLog, *, take_in: Callable[[], object], clock: Clock, terms: Terms) -> None:
        self._log = log
        self._take_in = take_in
        self._clock = clock
        self._terms = terms
        self._counting = threading.Lock()
        self._counted: _Counted | None = None

    def page(self, wanted: QueueFilter, *, actor: str) -> QueuePage:
        """Return one page of what waits for a person. Raises `RequestRefused` for a cursor that is none."""
        model = wanted.model or self._terms.model
        after = _read_cursor(wanted.cursor) if wanted.cursor is not None else None
        self._take_in()  # what is durable and not yet in the index belongs into the answer
        now = self._now()
        found = self._log.waiting(
            CaseQuery(
                model=model,
                now=now,
                overdue_since=Overdue(0) if wanted.overdue is None else self._overdue_since(model, now),
                state=wanted.state,
                overdue=wanted.overdue,
                after=after,
                limit=wanted.limit + 1,
            ),
            actor=actor,
            purpose=PURPOSE,
        )
        cases = found[: wanted.limit]
        more = f"{cases[-1].since}.{cases[-1].decision_id}" if len(found) > len(cases) else None
        return QueuePage([waiting(case, now, self._terms.deadline(case.release)) for case in cases], more)

    def count(self) -> Counts:
        """Return how many cases of the model in service there are, as it was a few seconds ago at most.

        It takes most of a second for each million that wait; so many are counted less often.
        """
        with self._counting:
            now, model = self._now(), self._terms.model
            if self._counted is None or not self._counted.since <= now < self._counted.until:
                counts = self._log.queue.count(model, now, self._overdue_since(model, now))
                lasts = max(_span(COUNTED_FOR), _REST * (self._now() - now))
                self._counted = _Counted(now, now + lasts, counts)
            return self._counted.counts

    def open(self, decision_id: str) -> WaitingCase | None:
        """Return the case of a decision while a person is to decide."""
        case = self._log.queue.get(decision_id)
        return None if case is None else waiting(case, self._now(), self._terms.deadline(case.release))

    def _now(self) -> int:
        return milliseconds(timestamp(self._clock()))

    def _overdue_since(self, model: str, now: int) -> Overdue:
        by_release: Mapping[str, int] = {
            release: now - _span(self._terms.deadline(release)) for release in self._log.queue.releases(model)
        }
        return Overdue(now - _span(DEADLINE), by_release)


def case_family(model: str, counts: Counts) -> GaugeMetricFamily:
    """Return the counts as Prometheus reads them."""
    family = GaugeMetricFamily(
        "aboveboard_review_cases",
        "Decisions that wait for a person, by state (waiting, claimed, proposed) and by whether their deadline has "
        "passed. Servers of one model tell the same about the log they share: take the largest, not the sum",
        labels=["model", "state", "overdue"],
    )
    for (state, overdue), count in counts.items():
        family.add_metric([model, state.value, str(overdue).lower()], count)
    return family


def waiting(case: Case, now: int, deadline: timedelta) -> WaitingCase:
    """Return a case as it is told at the moment `now`, in milliseconds since the epoch."""
    due = case.since + _span(deadline)
    holder = case.holder(now)
    return WaitingCase(
        decision_id=case.decision_id,
        model=case.model,
        release=case.release,
        cause=case.cause,
        state=case.state(now),
        since=written(case.since),
        due=written(due),
        overdue=due < now,
        claimed_by=holder,
        claimed_until=written(case.claimed_until) if holder is not None and case.claimed_until is not None else None,
        proposed_by=case.proposed_by,
        proposed_outcome=case.proposed_outcome,
    )


def _span(deadline: timedelta) -> int:
    return deadline // timedelta(milliseconds=1)


def _read_cursor(cursor: str) -> tuple[int, str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise RequestRefused("that is not a cursor", hint="give the `next` of the page before")
    return int(match[1]), match[2]
