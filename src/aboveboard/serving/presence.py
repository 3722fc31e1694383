"""Which processes are alive: each holds a lock for as long as it lives, and anybody can try it.

No lease and no clock: a process that is slow, stopped or has lost an hour is alive, and what it has claimed stays
its own; of one that was killed the operating system, or the database server, takes the lock away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import text

from aboveboard.db import Database
from aboveboard.errors import StorageFailed
from aboveboard.files import storage_errors

_NAME = re.compile(r"[0-9a-f]{16}")
_KEEPALIVE_SECONDS: Final = 5
_GRACE_SECONDS: Final = 3.0


class Presence(Protocol):
    """The lock of this process, and a look at those of others."""

    grace: float
    """For how many seconds a process must have been seen dead before what it claimed is taken over."""

    def renewed(self) -> str:
        """Return the name whose lock this process holds; a new one where it was lost. Raises `StorageFailed`."""
        ...

    def alive(self, name: str) -> bool:
        """Tell whether the process of that name holds its lock. Raises `StorageFailed`."""
        ...

    def end(self) -> None:
        """Give up the lock."""
        ...


class FilePresence:
    """Lock files in a directory, for processes of one machine. The kernel gives up the lock of a dead process."""

    grace = 0.0

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
            self._name, self._descriptor = self._begin()

    def renewed(self) -> str:
        """Return this process's name: the lock of a file is never lost."""
        return self._name

    def alive(self, name: str) -> bool:
        """Tell whether the process of that name holds its lock."""
        if _NAME.fullmatch(name) is None:
            return False
        path = self._directory / name
        with storage_errors(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who looks is in nobody's way
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
        return False

    def end(self) -> None:
        """Remove the file and give up its lock."""
        with contextlib.suppress(OSError):
            (self._directory / self._name).unlink()
        os.close(self._descriptor)

    def _begin(self) -> tuple[str, int]:
        while True:
            name = secrets.token_hex(8)
            path = self._directory / name
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Before it was locked, somebody who sweeps may have taken it for a dead process's.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    return name, descriptor
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove the files of the dead."""
        for path in self._directory.iterdir():
            with contextlib.suppress(OSError):  # somebody else is just removing it
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)


class DatabasePresence:
    """Advisory locks of sessions in PostgreSQL, for processes on many machines.

    The server ends a session whose machine went silent after about a quarter of a minute. A session can be lost
    while its process lives on; it then goes on under a new name, and others wait for `grace` before they take over
    what it claimed under the old one: longer than a claim takes to get from here to the journal, which is in the
    same database. Needs sessions of its own, so no pooler of transactions between.
    """

    grace = _GRACE_SECONDS

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._session = ExitStack()
        self._connection: Any = None
        self._name = ""
        self._begin()

    def renewed(self) -> str:
        """Return this process's name; a new one where the session was lost."""
        with self._turn:
            if not self._holds():
                self.end()
                self._begin()
            return self._name

    def alive(self, name: str) -> bool:
        """Tell whether a session holds the lock of that name."""
        if _NAME.fullmatch(name) is None:
            return False
        take = text("SELECT pg_try_advisory_xact_lock_shared(hashtextextended(:name, 0))")
        with self._database.reading() as connection:
            return not connection.execute(take, {"name": self._key(name)}).scalar()

    def end(self) -> None:
        """End the session, which gives up the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # It goes back to where it may be used again, and so without the lock; a broken one is not used again.
            with contextlib.suppress(Exception):
                connection.execute("SELECT pg_advisory_unlock_all()")
                connection.commit()
        with contextlib.suppress(Exception):
            self._session.close()

    def _holds(self) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.execute("SELECT 1")
            self._connection.commit()
        except Exception:  # noqa: BLE001  whatever the driver says, this session cannot be relied on
            return False
        return True

    def _begin(self) -> None:
        name = secrets.token_hex(8)
        self._session = ExitStack()
        connection = self._session.enter_context(self._database.driver())
        try:
            for setting in ("tcp_keepalives_idle", "tcp_keepalives_interval"):
                connection.execute(f"SET {setting} = {_KEEPALIVE_SECONDS}")
            connection.execute("SET tcp_keepalives_count = 2")
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (self._key(name),))
            connection.commit()  # the lock is the session's
        except Exception as error:
            raise StorageFailed(f"{self._database.name}: {error}", hint="check that it can be reached") from error
        self._connection, self._name = connection, name

    def _key(self, name: str) -> str:
        return f"{self._database.name} presence {name}"
