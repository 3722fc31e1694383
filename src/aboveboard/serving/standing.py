"""What was last put in service over HTTP, in a file of the home: every worker follows it, and it outlives them.

The file says which tracks the server was started with. One that is started with the same goes on where the last
stopped; one that is started with others was told something newer, and that counts. Replaced whole, under a lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from aboveboard.errors import NotVerified
from aboveboard.files import storage_errors, sync_directory, write_atomically
from aboveboard.serving.tracks import TrackPlan


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change, as it stands in the file; every release by digest."""

    started: TrackPlan
    """The tracks the server was started with."""
    tracks: TrackPlan
    """The tracks in service."""
    before: TrackPlan | None = None
    """What a rollback puts back."""


class StandingFile:
    """The file of one model."""

    def __init__(self, directory: Path, model: str, *, kept_by: str | None = None) -> None:
        """Make the file of one model. `kept_by` is who alone says what is in service, where that is not this file."""
        self.kept_by = kept_by
        self._path = directory / f"{model}.tracks.json"
        self._mark: tuple[int, int] | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep every other process from changing the tracks meanwhile."""
        with storage_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def read(self) -> Standing | None:
        """Return what stands in the file, None where there is none. Raises `NotVerified` for a damaged one."""
        with storage_errors(self._path):
            self._mark = self._look()
            try:
                content = self._path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            return msgspec.json.decode(content, type=Standing)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NotVerified(
                f"{self._path}: {error}", hint="delete it; the server then starts with what its options name"
            ) from error

    def changed(self) -> bool:
        """Tell whether another process has replaced the file since it was last read or written here."""
        return self._look() != self._mark

    def unread(self) -> None:
        """Take back that the file was read: what stands in it could not be done."""
        self._mark = (-1, -1)

    @contextmanager
    def replaced(self, standing: Standing) -> Iterator[None]:
        """Make `standing` durable beside the file, and put it in its place when the block ends well.

        What can fail for want of space has failed before the block; in it, the change is logged.
        """
        prepared = self._path.with_suffix(".next")
        write_atomically(prepared, msgspec.json.encode(standing), mode=0o600)
        try:
            yield
        except BaseException:
            prepared.unlink(missing_ok=True)
            raise
        with storage_errors(self._path):
            prepared.replace(self._path)
            sync_directory(self._path.parent)
            self._mark = self._look()

    def clear(self) -> None:
        """Forget the change: the server was started with something else since."""
        with storage_errors(self._path):
            self._path.unlink(missing_ok=True)
            self._mark = self._look()

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino
