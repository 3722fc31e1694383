"""How far each stream has been relayed: one row for each, in the log's database or in a file beside the log."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, insert, select, update

from aboveboard.audit.location import database_url
from aboveboard.db import Database
from aboveboard.settings import Home, LogSettings

MIGRATIONS: Final = Path(__file__).parent / "migrations"
HEAD: Final = "streaming_0001"

_position = Table(
    "position", MetaData(), Column("stream", Text, primary_key=True), Column("next", BigInteger, nullable=False)
)


class Positions:
    """The positions of all streams made from one log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, home: Home, settings: LogSettings) -> Positions:
        """Open them where the log is. Raises as `location.open_log` does."""
        if settings.database is None:
            path = home.audit / "streaming.sqlite"
            return cls(Database.sqlite(path, migrations=MIGRATIONS, head=HEAD))
        url = database_url(settings.database)
        return cls(Database.postgresql(url, migrations=MIGRATIONS, head=HEAD, schema="audit_streaming"))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def read(self, stream: str) -> int:
        """Return the first entry of the log that has not been relayed. Raises `StorageFailed`."""
        query = select(_position.c.next).where(_position.c.stream == stream)
        with self._database.reading() as connection:
            found = connection.execute(query).scalar()
        return int(found or 0)

    def move(self, stream: str, old: int, new: int) -> bool:
        """Go from `old` to `new`, durably; return False where the position is not `old` any more."""
        with self._database.writing() as connection:
            columns = _position.c
            moved = connection.execute(
                update(_position).where(columns.stream == stream, columns.next == old).values(next=new)
            ).rowcount
            if moved or old != 0:
                return bool(moved)
            if connection.execute(select(columns.next).where(columns.stream == stream)).scalar() is not None:
                return False
            connection.execute(insert(_position).values(stream=stream, next=new))
        return True
