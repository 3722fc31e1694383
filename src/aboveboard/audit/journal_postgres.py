"""Journals in PostgreSQL, for writers that have no disk of their own to trust: the same batches, one row each.

A writer holds an advisory lock in a session of its own; a batch is durable once its transaction is committed with
`synchronous_commit=on` (add synchronous standbys to survive the loss of the server). When a commit fails nobody knows
whether it happened: the writer looks, and goes on after whatever is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    Table,
    Text,
    create_engine,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from aboveboard.audit.journal import Place, Written
from aboveboard.audit.segment import GENESIS, Batch, Sealed, decode_batch, encode_batch
from aboveboard.audit.tables import MIGRATIONS
from aboveboard.db import Database, connection_options
from aboveboard.errors import Conflict, NotVerified, StorageFailed

JOURNAL_HEAD = "journal_0001"
_SCHEMA = "audit_journal"
_MAX_WRITERS = 1024
_FETCH = 64

_metadata = MetaData()
_writer = Table("writer", _metadata, Column("name", Text, primary_key=True))
_batch = Table(
    "batch",
    _metadata,
    Column("writer", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("content", LargeBinary),
)


class PostgresJournals:
    """All journals in a database: reads them, and opens writers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database = Database.postgresql(
            url, migrations=MIGRATIONS / "journal", head=JOURNAL_HEAD, schema=_SCHEMA
        )

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def open_writer(self, name: str) -> PostgresJournalWriter:
        """Open journal `name`, or `<name>-2` and so on where another session holds it. Raises `StorageFailed`."""
        engine = create_engine(self._url, poolclass=NullPool, connect_args=connection_options(_SCHEMA))
        for attempt in range(1, _MAX_WRITERS):
            writer = PostgresJournalWriter(engine, name if attempt == 1 else f"{name}-{attempt}")
            if writer.claim():
                return writer
        raise Conflict(f"{_MAX_WRITERS - 1} writers named {name!r} are already running", hint="stop some of them")

    def names(self) -> list[str]:
        """Return the names of all journals, sorted."""
        with self._database.reading() as connection:
            return list(connection.execute(select(_writer.c.name).order_by(_writer.c.name)).scalars())

    def batches(self, name: str, after: Place | None) -> Iterator[tuple[Place, Place, Batch]]:
        """Yield committed batches in order. Raises `NotVerified` where one is missing or damaged."""
        number = after.offset if after is not None else 0
        while True:
            query = select(_batch.c.number, _batch.c.content).where(
                _batch.c.writer == name, _batch.c.number >= number
            )
            with self._database.reading() as connection:
                rows = connection.execute(query.order_by(_batch.c.number).limit(_FETCH)).all()
            for row in rows:
                if row.number != number:
                    raise NotVerified(f"journal {name}: batch {number} is missing", journal=name)
                yield Place(0, number), Place(0, number + 1), self._decoded(name, number, row.content)
                number += 1
            if len(rows) < _FETCH:
                return

    def batch(self, name: str, place: Place) -> Batch:
        """Return the batch at `place`. Raises `NotVerified` when it is not there unharmed."""
        query = select(_batch.c.content).where(_batch.c.writer == name, _batch.c.number == place.offset)
        with self._database.reading() as connection:
            content = connection.execute(query).scalar()
        if content is None:
            raise NotVerified(f"journal {name}: batch {place.offset} is missing", journal=name)
        return self._decoded(name, place.offset, content)

    @staticmethod
    def _decoded(name: str, number: int, content: bytes) -> Batch:
        batch = decode_batch(bytes(content))
        if batch is None or batch.number != number:
            raise NotVerified(f"journal {name}: batch {number} is damaged", journal=name)
        return batch


class PostgresJournalWriter:
    """One journal, written through a session that holds its lock. Used by one thread."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._connection: Connection | None = None
        self._number = 0
        self._ordinal = 0
        self._chain = GENESIS

    @property
    def name(self) -> str:
        """The journal's name."""
        return self._name

    def claim(self) -> bool:
        """Take the lock and find the end of the journal; return False where another session has the lock.

        Raises `StorageFailed` when the database cannot be reached, or the last batch is damaged.
        """
        try:
            connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise self._failed(error) from error
        try:
            lock = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
            if not connection.execute(lock, {"name": f"{_SCHEMA} writer {self._name}"}).scalar():
                connection.close()
                return False
            connection.execute(upsert(_writer).values(name=self._name).on_conflict_do_nothing())
            newest = select(func.max(_batch.c.number)).where(_batch.c.writer == self._name).scalar_subquery()
            content = connection.execute(
                select(_batch.c.content).where(_batch.c.writer == self._name, _batch.c.number == newest)
            ).scalar()
            connection.commit()
        except SQLAlchemyError as error:
            connection.close()
            raise self._failed(error) from error
        if content is not None:
            last = decode_batch(bytes(content))
            if last is None:
                connection.close()
                raise StorageFailed(f"journal {self._name}: its last batch is damaged", hint="see the runbook")
            self._number, self._chain = last.number + 1, last.chain
            self._ordinal = last.first_ordinal + last.count
        self._connection = connection
        return True

    def write(self, entries: Sequence[Sealed]) -> Written:
        """Commit a batch. Raises `StorageFailed`; then the journal refuses until `recover`."""
        if self._connection is None:
            raise StorageFailed(f"journal {self._name} has failed and has not recovered", hint="check the database")
        content, chain = encode_batch(self._number, self._ordinal, self._chain, entries)
        try:
            self._connection.execute(insert(_batch).values(writer=self._name, number=self._number, content=content))
            self._connection.commit()
        except SQLAlchemyError as error:
            self._drop()
            raise self._failed(error) from error
        written = Written(self._number, self._ordinal)
        self._number, self._ordinal, self._chain = self._number + 1, self._ordinal + len(entries), chain
        return written

    def recover(self) -> None:
        """Take the lock in a new session after a failure, and see how far it goes. Raises `StorageFailed`."""
        if self._connection is None and not self.claim():
            raise StorageFailed(
                f"journal {self._name} is held by another session", hint="it may be our old one, ending"
            )

    def close(self) -> None:
        """End the session, which gives up the lock."""
        self._drop()
        self._engine.dispose()

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None

    def _failed(self, error: SQLAlchemyError) -> StorageFailed:
        said = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()
        return StorageFailed(
            f"journal {self._name}: {said[0] if said else type(error).__name__}",
            hint="check that the PostgreSQL server is up and has space",
        )
