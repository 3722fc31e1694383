"""Search: which entries are there, by decision, release, time, kind and outcome, and by whose key they are sealed.

The index is derived: it can be thrown away and built again from the journals for as long as the keys exist. It
holds no token; that a key is a certain person's only the vault knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, insert, select, update

from aboveboard.audit import tables
from aboveboard.audit.events import Decision, Event
from aboveboard.audit.journal import JournalReader
from aboveboard.audit.moments import milliseconds, written
from aboveboard.audit.review import Found, ReviewEvent, refers
from aboveboard.audit.review_queue import Happened, ReviewQueue
from aboveboard.audit.sealing import unseal
from aboveboard.audit.segment import Sealed
from aboveboard.audit.sequencer import Sequencer
from aboveboard.audit.vault import LOG, Vault
from aboveboard.db import Database
from aboveboard.errors import Misuse, NotVerified

_ROUND = 20_000
_CHUNK = 400
_COLUMNS = ("leaf", "key_id", "kind", "time", "decision_id", "release", "outcome")
# Handed to the driver as it is: by the thousand, rows of the toolkit cost more than the rest of the work.
_INSERT = f"INSERT INTO entry ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_DECISION = "decision/1"
_NOTHING = {"kind": None, "time": None, "decision_id": None, "release": None, "outcome": None}


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; every field that is given must match. Times are RFC 3339, `until` exclusive."""

    decision_id: str | None = None
    subject: str | None = None
    release: str | None = None
    outcome: str | None = None
    kind: str | None = None
    """An event's type, e.g. `decision/1`."""
    since: str | None = None
    until: str | None = None
    limit: int = 100

    def fields(self) -> list[str]:
        """Return the names of the fields that are given."""
        names = ("decision_id", "subject", "release", "outcome", "kind", "since", "until")
        return [name for name in names if getattr(self, name) is not None]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index knows of one leaf. Of an erased one it knows nothing but that it is there."""

    index: int
    key_id: str
    kind: str | None = None
    time: str | None = None
    decision_id: str | None = None
    subject: str | None = None
    release: str | None = None
    outcome: str | None = None

    @property
    def erased(self) -> bool:
        """Whether the person's keys have been destroyed."""
        return self.kind is None


class Index:
    """Keeps the search index up with the log, and answers queries from it."""

    def __init__(self, database: Database, journals: JournalReader, sequencer: Sequencer, vault: Vault) -> None:
        self._database = database
        self._journals = journals
        self._sequencer = sequencer
        self._vault = vault
        self.queue = ReviewQueue(database)
        """Decisions that wait for a person."""

    def catch_up(self) -> int:
        """Index every leaf that is in order, and return how many are now indexed."""
        while True:
            with self._database.reading() as connection:
                row = connection.execute(select(tables.tree.c.indexed, tables.tree.c.sequenced)).one()
            start, end = row.indexed, min(row.sequenced, row.indexed + _ROUND)
            if start >= end:
                return int(start)
            # While we hold `sealing` nobody is erased, so nothing about an erased person can be put in.
            with self._vault.sealing():
                self._add(start, end)

    def rebuild(self) -> int:
        """Throw the index away and build it again."""
        with self._database.writing() as connection:
            connection.execute(tables.entry.delete())
            connection.execute(tables.mention.delete())
            self.queue.empty(connection)
            connection.execute(update(tables.tree).values(indexed=0))
        return self.catch_up()

    def find(self, query: Query) -> list[Entry]:
        """Return matching entries, newest first. Raises `Misuse` for a malformed query."""
        if not 1 <= query.limit <= 100_000:
            raise Misuse("a search returns 1 to 100,000 entries", hint="set --limit within that")
        columns = tables.entry.c
        statement = select(tables.entry).order_by(columns.leaf.desc()).limit(query.limit)
        if query.subject is not None:
            statement = statement.where(columns.key_id.in_(self._vault.ids_of(query.subject)))
        if query.decision_id is not None:
            statement = statement.where(columns.decision_id == query.decision_id)
        if query.since is not None:
            statement = statement.where(columns.time >= milliseconds(query.since))
        if query.until is not None:
            statement = statement.where(columns.time < milliseconds(query.until))
        with self._database.reading() as connection:
            for name in ("release", "outcome", "kind"):
                if (wanted := getattr(query, name)) is not None:
                    number = connection.execute(select(tables.term.c.id).where(tables.term.c.text == wanted)).scalar()
                    statement = statement.where(columns[name] == (-1 if number is None else number))
            return self._entries(connection, connection.execute(statement).all())

    def get(self, leaf: int) -> Entry | None:
        """Return what is known of a leaf, or None when it is not indexed."""
        with self._database.reading() as connection:
            rows = connection.execute(select(tables.entry).where(tables.entry.c.leaf == leaf)).all()
            return next(iter(self._entries(connection, rows)), None)

    def leaves_about(self, decision_ids: Sequence[str]) -> list[tuple[int, str]]:
        """Return the leaves that name the given decisions, each with the decision it names, in the log's order."""
        columns = tables.entry.c
        found: list[tuple[int, str]] = []
        with self._database.reading() as connection:
            for start in range(0, len(decision_ids), _CHUNK):
                chunk = decision_ids[start : start + _CHUNK]
                query = select(columns.leaf, columns.decision_id).where(columns.decision_id.in_(chunk))
                found += [(row.leaf, row.decision_id) for row in connection.execute(query)]
        return sorted(found)

    def leaves_of(self, key_ids: Sequence[bytes]) -> list[int]:
        """Return the leaves sealed under the given keys, oldest first."""
        columns = tables.entry.c
        query = select(columns.leaf).where(columns.key_id.in_(list(key_ids))).order_by(columns.leaf)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def mentions_of(self, key_ids: Sequence[bytes]) -> list[int]:
        """Return the leaves of events that name the given keys, such as accesses to what they seal, oldest first."""
        columns = tables.mention.c
        query = select(columns.leaf).where(columns.key_id.in_(list(key_ids))).distinct().order_by(columns.leaf)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def clear(self, key_ids: Sequence[bytes]) -> None:
        """Remove all that is known of the entries sealed under the given keys; call it while `vault.erasing()`."""
        with self._database.writing() as connection:
            connection.execute(update(tables.entry).where(tables.entry.c.key_id.in_(list(key_ids))).values(_NOTHING))
            self.queue.clear(connection, key_ids)

    def forget_cleared(self) -> None:
        """Leave nothing of what was cleared in the database's files."""
        self._database.forget_deleted()

    def _entries(self, connection: Connection, rows: Sequence[Any]) -> list[Entry]:
        numbers = {number for row in rows for number in (row.kind, row.release, row.outcome) if number is not None}
        query = select(tables.term.c.id, tables.term.c.text).where(tables.term.c.id.in_(numbers))
        terms: dict[int | None, str | None] = {row.id: row.text for row in connection.execute(query)}
        names = self._vault.names_of(bytes(row.key_id) for row in rows)
        found = []
        for row in rows:
            name = names.get(bytes(row.key_id))
            found.append(
                Entry(
                    index=row.leaf,
                    key_id=bytes(row.key_id).hex(),
                    kind=terms.get(row.kind),
                    time=None if row.time is None else written(row.time),
                    decision_id=row.decision_id,
                    subject=None if name is None or name.subject == LOG else name.subject,
                    release=terms.get(row.release),
                    outcome=terms.get(row.outcome),
                )
            )
        return found

    def _add(self, start: int, end: int) -> None:
        sealed = []
        for location, _ in self._sequencer.locations(start, end):
            batch = self._journals.batch(location.journal, location.place)
            sealed += [
                (location.first_leaf + position, item)
                for position, item in enumerate(batch.entries())
                if start <= location.first_leaf + position < end
            ]
        keys = self._vault.keys_by_id(item.key_id for _, item in sealed)
        rows: list[dict[str, Any]] = []
        mentions: list[dict[str, Any]] = []
        reviews: list[Happened] = []
        for leaf, item in sealed:
            row: dict[str, Any] = {"leaf": leaf, "key_id": item.key_id, **_NOTHING}
            if key := keys.get(item.key_id):
                # What cannot be read stays unknown here; telling why is fsck's work.
                with suppress(NotVerified):
                    event = unseal(item, key).event()
                    row.update(_facts(event))
                    named: Sequence[str] = getattr(event, "subject_keys", ())
                    mentions += [{"key_id": bytes.fromhex(key_id), "leaf": leaf} for key_id in named]
                    if isinstance(event, ReviewEvent) or (isinstance(event, Decision) and refers(event)):
                        reviews.append(Happened(leaf, event, item.key_id))
            rows.append(row)
        waiting = self.queue.plan(reviews, partial(self._decision, dict(sealed), rows))
        with self._database.writing() as connection:
            if connection.execute(select(tables.tree.c.indexed).with_for_update()).scalar() != start:
                return  # another process was faster
            self._intern(connection, rows)
            values = list(map(itemgetter(*_COLUMNS), rows))
            connection.exec_driver_sql(self._database.sql(_INSERT), values)
            if mentions:
                connection.execute(insert(tables.mention), mentions)
            self.queue.apply(connection, waiting)
            connection.execute(update(tables.tree).values(indexed=end))

    def _decision(
        self, sealed: Mapping[int, Sealed], rows: Sequence[Mapping[str, Any]], decision_id: str, before: int
    ) -> Found | None:
        """Return a decision, if it can be read, from before a leaf: among `rows`, which are about to be put in, or
        those already there. What comes after does not count, so that it does not matter what is put in at once."""
        for row in rows:
            if row["leaf"] >= before:
                break
            if row["decision_id"] == decision_id and row["kind"] == _DECISION:
                return self._opened(sealed[row["leaf"]])
        columns = tables.entry.c
        query = select(columns.leaf).join(tables.term, tables.term.c.id == columns.kind)
        query = query.where(columns.decision_id == decision_id, tables.term.c.text == _DECISION)
        with self._database.reading() as connection:
            leaf = connection.execute(query).scalar()
        if leaf is None:
            return None
        with suppress(NotVerified):  # telling why is fsck's work
            location = self._sequencer.locate(leaf)
            batch = self._journals.batch(location.journal, location.place)
            return self._opened(next(islice(batch.entries(), location.position, None)))
        return None

    def _opened(self, item: Sealed) -> Found | None:
        """Return what is sealed if it is a decision that can be read."""
        with suppress(NotVerified):
            if key := self._vault.keys_by_id([item.key_id]).get(item.key_id):
                event = unseal(item, key).event()
                return (event, item.key_id) if isinstance(event, Decision) else None
        return None

    @staticmethod
    def _intern(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Replace texts that repeat by their numbers."""
        texts = {row[name] for row in rows for name in ("kind", "release", "outcome")} - {None}
        columns = tables.term.c
        known = {
            text: n for n, text in connection.execute(select(columns.id, columns.text).where(columns.text.in_(texts)))
        }
        for text in sorted(texts - known.keys()):
            statement = insert(tables.term).values(text=text).returning(columns.id)
            known[text] = connection.execute(statement).scalar_one()
        for row in rows:
            for name in ("kind", "release", "outcome"):
                row[name] = known.get(row[name])


def _facts(event: Event) -> dict[str, Any]:
    """Return what of an event can be searched for."""
    return {
        "kind": event.__struct_config__.tag,
        "time": milliseconds(event.time),
        "decision_id": getattr(event, "decision_id", None),
        "release": getattr(event, "release", None),
        "outcome": getattr(event, "outcome", None),
    }
