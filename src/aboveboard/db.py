"""A database behind SQLAlchemy: SQLite files set up to be durable, or PostgreSQL; migrated by Alembic when behind.

Errors of the driver become `StorageFailed`. Which tables there are is each package's own business.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError

from aboveboard.errors import Conflict, Misuse, StorageFailed
from aboveboard.files import storage_errors
from aboveboard.turnstile import Turnstile

_BUSY_SECONDS = 30
_SILENT, _AGAIN, _TIMES = 30, 10, 3
"""Seconds without a word, and how often and how many times the other side is asked before it counts as gone.

A machine that lost its power says nothing. By the defaults of operating systems its locks would be held for two
hours, and whoever waits for an answer from it would wait for a quarter of one.
"""


def connection_options(schema: str) -> dict[str, Any]:
    """Return how PostgreSQL is connected to: durable commits, and either side notices within a minute that the
    other is gone."""
    settings = {
        "search_path": schema,
        "synchronous_commit": "on",
        "tcp_keepalives_idle": _SILENT,
        "tcp_keepalives_interval": _AGAIN,
        "tcp_keepalives_count": _TIMES,
    }
    return {
        "options": " ".join(f"-c{name}={value}" for name, value in settings.items()),
        "connect_timeout": 10,
        "keepalives_idle": _SILENT,
        "keepalives_interval": _AGAIN,
        "keepalives_count": _TIMES,
        # Of what was sent and never acknowledged; keepalives do not count then.
        "tcp_user_timeout": (_SILENT + _AGAIN * _TIMES) * 1000,
    }


class Database:
    """One database, with short read and write transactions."""

    def __init__(self, engine: Engine, name: str, locks: Path | None = None) -> None:
        self._engine = engine
        self._locks = locks
        self._turnstiles: dict[str, Turnstile] = {}
        self.name = name

    @classmethod
    def sqlite(cls, path: Path, *, migrations: Path, head: str, secure_delete: bool = False) -> Database:
        """Open the file at `path`, mode 0600, creating or migrating it to revision `head`.

        Write-ahead log with `synchronous=FULL`: a transaction is on the medium once it is committed. With
        `secure_delete` deleted content is overwritten with zeros, and `forget_deleted` empties the write-ahead log.
        """
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        engine = create_engine(
            f"sqlite:///{path}", connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False}
        )

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # transactions begin where we say so, below
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "cache_size=-65536",
                # Moving the log into the file costs further syncs: `tidy` does it where nobody waits.
                "wal_autocheckpoint=16384",
                f"secure_delete={'ON' if secure_delete else 'OFF'}",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            writing = connection.get_execution_options().get("aboveboard_writing")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

        database = cls(engine, path.name, path.parent)
        with storage_errors(path), path.with_name(path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            database.migrate(migrations, head)
        return database

    @classmethod
    def postgresql(cls, url: str, *, migrations: Path, head: str, schema: str) -> Database:
        """Open schema `schema` of the PostgreSQL database at `url`, migrating it to revision `head`."""
        try:
            engine = create_engine(url, pool_pre_ping=True, connect_args=connection_options(schema))
        except (SQLAlchemyError, ImportError) as error:
            raise Misuse(
                "not the address of a PostgreSQL database",
                hint="write postgresql+psycopg://user@host/database, and install aboveboard[postgres]",
            ) from error
        database = cls(engine, schema)
        try:
            with database.lock("migration"):
                with database.writing() as connection:
                    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
                database.migrate(migrations, head)
        except BaseException:
            engine.dispose()
            raise
        return database

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection in a read transaction: one consistent view. Raises `StorageFailed`."""
        with self._errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a write transaction, committed and durable when the block ends well.

        Raises `StorageFailed`.
        """
        with self._errors(), self._engine.connect() as connection:
            connection.execution_options(aboveboard_writing=True)
            with connection.begin():
                yield connection

    @contextmanager
    def driver(self) -> Iterator[Any]:
        """Yield the driver's own connection, to read with, where every microsecond counts.

        SQLite reads each statement's latest state; in PostgreSQL a transaction begins, `READ COMMITTED`. Both take
        statements with `execute`, written as `sql` says. Raises `StorageFailed`.
        """
        dbapi: Any = self._engine.dialect.loaded_dbapi
        try:
            with self._errors(), closing(self._engine.raw_connection()) as connection:
                yield connection.dbapi_connection
        except dbapi.Error as error:
            raise StorageFailed(f"{self.name}: {error}", hint="check that it can be reached and read") from error

    def sql(self, statement: str) -> str:
        """Return a statement whose parameters are written `?` as the driver wants it."""
        return statement if self.dialect == "sqlite" else statement.replace("?", "%s")

    @contextmanager
    def lock(self, name: str, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock `name` among all processes that use this database, alone or with other sharers.

        Beside a SQLite file these are lock files; in PostgreSQL, advisory locks. Whoever waits to be alone is not
        overtaken without end by sharers who come later. Not re-entrant. Raises `StorageFailed`.
        """
        if self._locks is None:
            take = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
            key = {"name": f"{self.name} {name}"}
            with self._errors(), self._engine.connect() as connection, connection.begin():
                connection.execute(text(f"SELECT {take}(hashtextextended(:name, 0))"), key)
                yield
            return
        if (turnstile := self._turnstiles.get(name)) is None:
            turnstile = self._turnstiles.setdefault(name, Turnstile(self._locks, name))
        with turnstile.passed(shared=shared):
            yield

    def forget_deleted(self) -> None:
        """Leave nothing of deleted rows in the database's own files.

        Empties SQLite's write-ahead log; vacuums PostgreSQL, whose archived log and backups are beyond our reach
        and are dealt with by key rotation (see the runbook). Raises `Conflict` while a reader stands in the way.
        """
        with self._errors(), self._engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            if self.dialect == "postgresql":
                raw.autocommit = True
                try:
                    raw.execute("VACUUM")
                finally:
                    raw.autocommit = False
                return
            # SQLite does not wait where another process is just doing the same.
            deadline = time.monotonic() + _BUSY_SECONDS
            while raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
            else:
                return
        raise Conflict(f"{self.name}: a long-running reader keeps deleted rows in the write-ahead log")

    def tidy(self) -> None:
        """Move what SQLite's write-ahead log has gathered into the file, without holding anybody up."""
        if self.dialect == "sqlite":
            with self._errors(), self._engine.connect() as connection:
                raw: Any = connection.connection.dbapi_connection
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close all connections and lock files."""
        self._engine.dispose()
        for turnstile in self._turnstiles.values():
            turnstile.close()

    def migrate(self, migrations: Path, head: str) -> None:
        """Bring the schema to revision `head`, which costs one query where it is there already."""
        if self._revision() == head:
            return
        # Imported here because it takes a while, and all but the first opening do without it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(migrations))
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, head)

    def _revision(self) -> str | None:
        try:
            with self._engine.connect() as connection, connection.begin():
                return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except (OperationalError, ProgrammingError) as error:
            if "no such table" in str(error.orig) or "does not exist" in str(error.orig):
                return None
            raise StorageFailed(f"{self.name}: {error.orig}", hint="check that it can be reached and read") from error
        except DBAPIError as error:
            raise StorageFailed(f"{self.name}: {error.orig}", hint="is this file a database of ours?") from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            said = getattr(error, "orig", None) or type(error).__name__
            raise StorageFailed(
                f"{self.name}: {said}", hint="check the disk, the permissions, and that the database is reachable"
            ) from error
