"""A lock between processes that is held alone or shared, in two lock files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aboveboard.files import storage_errors


class Turnstile:
    """The lock `name` in a directory, for any number of threads and processes.

    Whoever waits to be alone is not overtaken without end: the kernel lets sharers pass one who waits, so that
    everybody queues at a gate before the door. Not re-entrant.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._gate = directory / f"{name}-gate.lock"
        self._door = directory / f"{name}.lock"
        # Locks belong to open files, so that every holder needs files of its own. Files are kept for the next:
        # opening them took longer than all the locking.
        self._unused: list[tuple[int, int]] = []

    @contextmanager
    def passed(self, *, shared: bool) -> Iterator[None]:
        """Hold the lock while the block runs. Raises `StorageFailed` when the files cannot be made."""
        gate, door = self._files()
        try:
            mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(gate, mode)
            fcntl.flock(door, mode)
            fcntl.flock(gate, fcntl.LOCK_UN)
            yield
        finally:
            fcntl.flock(door, fcntl.LOCK_UN)
            fcntl.flock(gate, fcntl.LOCK_UN)
            self._unused.append((gate, door))

    def close(self) -> None:
        """Close the files that nobody holds."""
        while self._unused:
            for descriptor in self._unused.pop():
                os.close(descriptor)

    def _files(self) -> tuple[int, int]:
        try:
            return self._unused.pop()
        except IndexError:
            with storage_errors(self._door):
                gate = os.open(self._gate, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    return gate, os.open(self._door, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except BaseException:
                    os.close(gate)
                    raise
