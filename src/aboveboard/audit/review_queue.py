"""The decisions that wait for a person, as a table: what `review` makes of the log's events, found in any order.

The indexer keeps it, in the transaction in which it notes up to where it has come; so it is rebuilt with the index,
holds what the log says and nothing else, and is cleared of a person with their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, func, select, tuple_

from aboveboard.audit import events, tables
from aboveboard.audit.review import Case, Cause, Found, ReviewEvent, State, advance, opened
from aboveboard.db import Database
from aboveboard.errors import Misuse

_CHUNK = 400
_LONGEST_PAGE = 1_000
_COLUMNS = tuple(column.name for column in tables.review_case.columns)
_CONTESTED = _COLUMNS.index("contested_by")
_FIELDS = attrgetter(*_COLUMNS)
_INSERT = (
    f"INSERT INTO review_case ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    " ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Overdue:
    """Since when a case must have waited to be overdue, by the release that decided: milliseconds since the epoch."""

    otherwise: int
    """For releases not named."""
    by_release: Mapping[str, int] = field(default_factory=dict)

    def of(self, release: str) -> int:
        """Return the moment for one release."""
        return self.by_release.get(release, self.otherwise)

    def bounds(self) -> tuple[int, int]:
        """Return the earliest of these moments, and the latest."""
        moments = (self.otherwise, *self.by_release.values())
        return min(moments), max(moments)


@dataclass(frozen=True, slots=True)
class CaseQuery:
    """Which cases of a model to find, the longest waiting first."""

    model: str
    now: int
    """Milliseconds since the epoch: claims that ended before are none."""
    overdue_since: Overdue
    state: State | None = None
    overdue: bool | None = None
    after: tuple[int, str] | None = None
    """The beginning and the id of the last case of the page before."""
    limit: int = 100


class Happened(NamedTuple):
    """One event that concerns the queue: a decision that refers, or a step of a review."""

    leaf: int
    event: events.Decision | ReviewEvent
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """What events make of the table."""

    gone: Sequence[str]
    """Decisions whose rows are to go, those that come again among them."""
    there: Sequence[Case]


class ReviewQueue:
    """Keeps the table, and answers from it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- for the indexer

    def plan(self, happened: Sequence[Happened], decision: Callable[[str, int], Found | None]) -> Changes:
        """Return what events, in the log's order, make of the table.

        `decision` finds a decision by its id, where it can still be read and came before a leaf.
        """
        if not happened:
            return Changes((), ())
        known = self._known(
            [item.event.decision_id for item in happened if not isinstance(item.event, events.Decision)]
        )
        cases: dict[str, Case | None] = dict(known)
        for leaf, event, key_id in happened:
            decision_id = event.decision_id
            if isinstance(event, events.Decision):
                if cases.get(decision_id) is None:
                    cases[decision_id] = opened((event, key_id), Cause.REFERRED, event.time)
                continue
            with suppress(Misuse):  # a moment that is none changes nothing
                cases[decision_id] = advance(cases.get(decision_id), event, partial(decision, decision_id, leaf))
        return Changes(
            [decision_id for decision_id, before in known.items() if cases[decision_id] != before],
            [after for decision_id, after in cases.items() if after is not None and after != known.get(decision_id)],
        )

    def apply(self, connection: Connection, changes: Changes) -> None:
        """Put planned changes into the table, in the caller's transaction."""
        for chunk in _chunks(changes.gone):
            connection.execute(delete(tables.review_case).where(tables.review_case.c.decision_id.in_(chunk)))
        if changes.there:
            connection.exec_driver_sql(self._database.sql(_INSERT), [_row(found) for found in changes.there])

    def clear(self, connection: Connection, key_ids: Sequence[bytes]) -> None:
        """Remove the cases of decisions that were sealed under the given keys."""
        for chunk in _chunks(key_ids):
            connection.execute(delete(tables.review_case).where(tables.review_case.c.key_id.in_(chunk)))

    def empty(self, connection: Connection) -> None:
        """Remove everything."""
        connection.execute(delete(tables.review_case))

    # -- for those who ask

    def get(self, decision_id: str) -> Case | None:
        """Return the open case of a decision."""
        return self._known([decision_id]).get(decision_id)

    def find(self, query: CaseQuery) -> list[Case]:
        """Return the cases that match, the longest waiting first. Raises `Misuse` for a limit that is none."""
        if not 1 <= query.limit <= _LONGEST_PAGE:
            raise Misuse(
                f"a page has 1 to {_LONGEST_PAGE:,} cases", hint="ask for a page within that, and for the next"
            )
        columns = tables.review_case.c
        conditions = [columns.model == query.model]
        if query.after is not None:
            conditions.append(tuple_(columns.since, columns.decision_id) > tuple_(*query.after))
        if query.state is not None:
            conditions.append(_in_state(query.state, query.now))
        if query.overdue is not None:
            # The bounds say no more than the comparison, but an index knows where to begin and where to stop.
            late, bounds = _late(query.overdue_since), query.overdue_since.bounds()
            conditions += [late, columns.since < bounds[1]] if query.overdue else [~late, columns.since >= bounds[0]]
        statement = select(tables.review_case).where(*conditions).order_by(columns.since, columns.decision_id)
        with self._database.reading() as connection:
            return [_case(row) for row in connection.execute(statement.limit(query.limit))]

    def releases(self, model: str) -> list[str]:
        """Return the releases whose decisions wait, however many decisions there are."""
        columns = tables.review_case.c
        following = select(func.min(columns.release)).where(columns.model == model)
        found: list[str] = []
        with self._database.reading() as connection:
            release = connection.execute(following).scalar()
            while release is not None:
                found.append(release)
                release = connection.execute(following.where(columns.release > release)).scalar()
        return found

    def count(self, model: str, now: int, overdue_since: Overdue) -> dict[tuple[State, bool], int]:
        """Return how many cases of a model there are, by state and by whether they are overdue.

        Those that wait are counted in one index; only those at which somebody is at work are looked at.
        """
        columns = tables.review_case.c
        every = select(func.count()).where(columns.model == model)
        counts = dict.fromkeys(((state, overdue) for state in State for overdue in (False, True)), 0)
        releases = self.releases(model)
        with self._database.reading() as connection:
            for release in releases:
                of_this, moment = every.where(columns.release == release), overdue_since.of(release)
                for overdue, part in ((True, columns.since < moment), (False, columns.since >= moment)):
                    counts[State.WAITING, overdue] += connection.execute(of_this.where(part)).scalar_one()
            for state in (State.CLAIMED, State.PROPOSED):
                query = select(columns.release, columns.since).where(columns.model == model, _in_state(state, now))
                for release, since in connection.execute(query):
                    overdue = since < overdue_since.of(release)
                    counts[state, overdue] += 1
                    counts[State.WAITING, overdue] -= 1
        return counts

    def _known(self, decision_ids: Sequence[str]) -> dict[str, Case]:
        columns = tables.review_case.c
        found: dict[str, Case] = {}
        with self._database.reading() as connection:
            for chunk in _chunks(list(dict.fromkeys(decision_ids))):
                rows = connection.execute(select(tables.review_case).where(columns.decision_id.in_(chunk)))
                found.update((row.decision_id, _case(row)) for row in rows)
        return found


def _in_state(state: State, now: int) -> ColumnElement[bool]:
    columns = tables.review_case.c
    if state is State.PROPOSED:
        return columns.proposed_by.is_not(None)
    claimed = columns.claimed_until > now
    if state is State.CLAIMED:
        return and_(claimed, columns.proposed_by.is_(None))
    return and_(columns.proposed_by.is_(None), func.coalesce(columns.claimed_until, 0) <= now)


def _late(overdue_since: Overdue) -> ColumnElement[bool]:
    columns = tables.review_case.c
    if not overdue_since.by_release:
        return columns.since < overdue_since.otherwise
    by_release = dict(overdue_since.by_release)
    return columns.since < case(by_release, value=columns.release, else_=overdue_since.otherwise)


def _row(found: Case) -> tuple[Any, ...]:
    values = list(_FIELDS(found))
    values[_CONTESTED] = msgspec.json.encode(found.contested_by).decode() if found.contested_by else None
    return tuple(values)


def _case(row: Row[Any]) -> Case:
    values = row._asdict()
    values["key_id"] = bytes(row.key_id)
    values["cause"] = Cause(row.cause)
    values["contested_by"] = tuple(msgspec.json.decode(row.contested_by)) if row.contested_by else ()
    return Case(**values)


def _chunks(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
