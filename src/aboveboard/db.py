"""A database behind SQLAlchemy: SQLite files set up to be durable, or PostgreSQL; migrated by Alembic when behind.

Errors of the driver become `StorageFailed`. Which tables there are is each package's own business.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError

from aboveboard.errors import Conflict, StorageFailed
from aboveboard.files import storage_errors

_BUSY_SECONDS = 30


class Database:
    """One database, with short read and write transactions."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
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
                f"secure_delete={'ON' if secure_delete else 'OFF'}",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            writing = connection.get_execution_options().get("aboveboard_writing")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

        database = cls(engine, path.name)
        with storage_errors(path), path.with_name(path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            database.migrate(migrations, head)
        return database

    @classmethod
    def postgresql(cls, url: str, *, migrations: Path, head: str, schema: str) -> Database:
        """Open schema `schema` of the PostgreSQL database at `url`, migrating it to revision `head`."""
        engine = create_engine(
            url, pool_pre_ping=True, connect_args={"options": f"-csearch_path={schema} -csynchronous_commit=on"}
        )
        database = cls(engine, f"postgresql schema {schema}")
        with database.writing() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"schema {schema}"})
            connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        with database.writing() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"migrate {schema}"})
            database.migrate(migrations, head, connection)
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

    def forget_deleted(self) -> None:
        """Leave nothing of deleted rows in the files: empty SQLite's write-ahead log (a no-op elsewhere)."""
        if self.dialect != "sqlite":
            return
        with self._errors(), self._engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            busy = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise Conflict(f"{self.name}: a long-running reader keeps deleted rows in the write-ahead log")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def migrate(self, migrations: Path, head: str, connection: Connection | None = None) -> None:
        """Bring the schema to revision `head`, which costs one query where it is there already."""
        if self._revision(connection) == head:
            return
        # Imported here because it takes a while, and all but the first opening do without it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(migrations))
        with self._errors():
            if connection is not None:
                config.attributes["connection"] = connection
                command.upgrade(config, head)
                return
            with self._engine.connect() as own, own.execution_options(aboveboard_writing=True).begin():
                config.attributes["connection"] = own
                command.upgrade(config, head)

    def _revision(self, connection: Connection | None) -> str | None:
        query = text("SELECT version_num FROM alembic_version")
        try:
            if connection is not None:
                with connection.begin_nested():
                    return connection.execute(query).scalar()
            with self._engine.connect() as own, own.begin():
                return own.execute(query).scalar()
        except (OperationalError, ProgrammingError) as error:
            if "no such table" in str(error.orig) or "does not exist" in str(error.orig):
                return None
            raise StorageFailed(f"{self.name}: {error.orig}", hint="check the file and its permissions") from error
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
