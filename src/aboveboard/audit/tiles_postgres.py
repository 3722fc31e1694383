"""Tiles in PostgreSQL, for a log that several machines write and that has no object storage: one row for each file.

All of them are where everybody who publishes or proves looks, which files on one machine are not. Partial tiles go
when their full tile comes, as C2SP tlog-tiles allows: their number would otherwise grow with time, not with entries.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert

from aboveboard.audit.tables import MIGRATIONS
from aboveboard.db import Database
from aboveboard.errors import NotFound, NotVerified

TILES_HEAD = "tiles_0001"
_CHECKPOINT = "checkpoint"

_file = Table("file", MetaData(), Column("path", Text, primary_key=True), Column("content", LargeBinary))


class PostgresStorage:
    """The schema `audit_tiles` of a database, made when there is none."""

    def __init__(self, url: str) -> None:
        self._database = Database.postgresql(
            url, migrations=MIGRATIONS / "tiles", head=TILES_HEAD, schema="audit_tiles"
        )

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Store files that are not there yet. Raises `NotVerified` where one is there with other content."""
        if not files:
            return
        rows = [{"path": path, "content": content} for path, content in files.items()]
        with self._database.writing() as connection:
            new = set(
                connection.execute(
                    insert(_file).values(rows).on_conflict_do_nothing().returning(_file.c.path)
                ).scalars()
            )
            there = [path for path in files if path not in new]
            for path, content in connection.execute(select(_file).where(_file.c.path.in_(there))):
                if content != files[path]:
                    raise NotVerified(
                        f"{path}: there with other content", hint="run `aboveboard audit fsck`", path=path
                    )
            for path in new:
                if ".p/" not in path:
                    connection.execute(delete(_file).where(_file.c.path.startswith(f"{path}.p/", autoescape=True)))

    def get(self, path: str) -> bytes:
        """Return a file's content. Raises `NotFound`, `StorageFailed`."""
        with self._database.reading() as connection:
            content = connection.execute(select(_file.c.content).where(_file.c.path == path)).scalar()
        if content is None:
            raise NotFound(f"{path} is not in the log's storage", path=path)
        return bytes(content)

    def put_checkpoint(self, note: str) -> None:
        """Replace the checkpoint."""
        content = note.encode()
        statement = insert(_file).values(path=_CHECKPOINT, content=content)
        with self._database.writing() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=[_file.c.path], set_={"content": content})
            )
