"""Files that are either wholly there or not there at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aboveboard.errors import StorageFailed


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path` durably: a reader sees the old file or the new one, never a part of it.

    Raises `StorageFailed` when the disk is full or does not take the bytes.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield a scratch directory that becomes `path` when the block ends well and vanishes when it does not.

    Raises `StorageFailed` when the disk is full or does not take the bytes.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield scratch
            scratch.rename(path)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable (POSIX: a rename is, only once its directory is synced)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a file into `StorageFailed` with something to do about it."""
    try:
        yield
    except OSError as error:
        hint = {
            errno.ENOSPC: "free some space, then run the same command again: nothing half-written was left",
            errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
            errno.EACCES: "check who owns the directory and its permissions",
            errno.EROFS: "the file system is read-only; point ABOVEBOARD_HOME at a writable one",
        }.get(error.errno or 0, "check the disk and the path")
        raise StorageFailed(f"{path}: {error.strerror or error}", hint=hint, errno=error.errno) from error
