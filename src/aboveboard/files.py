"""Files that are either wholly there or not there at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aboveboard.errors import NotVerified, StorageFailed


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


def secret_bytes(path: Path, *, length: int = 32) -> bytes:
    """Return the secret in the file at `path`, made of random bytes on first use (mode 0600, directory 0700).

    Raises `NotVerified` when the file is readable by others or has another length, `StorageFailed` when it
    cannot be read or written. Two processes that come first at the same time get the same secret.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create_secret(path, length)
        secret = path.read_bytes()
        if path.stat().st_mode & 0o077:
            raise NotVerified(f"{path}: others can read this key", hint=f"chmod 600 {path}")
    if len(secret) != length:
        raise NotVerified(f"{path}: not a key of {length} bytes", hint="restore it from a backup")
    return secret


def close_to_group(directory: Path) -> None:
    """Take back what mounting a volume gave to our own group: folders are 0700 again and files 0600.

    With an fsGroup Kubernetes may open every file of a volume to that group, and private keys that the group can read
    are refused. Only what is ours, of our group, and closed to everybody else is touched: exactly what a mount makes.
    """
    with storage_errors(directory):
        for path in (directory, *directory.rglob("*")):
            status = path.lstat()
            ours = (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
            opened = status.st_mode & 0o070 and not status.st_mode & 0o007
            if ours and opened and not path.is_symlink() and (path.is_dir() or path.is_file()):
                path.chmod(0o700 if path.is_dir() else 0o600)


def _create_secret(path: Path, length: int) -> None:
    """Put a new secret in place unless somebody else was first: a link, unlike a rename, never replaces."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(length))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
        sync_directory(path.parent)
    finally:
        Path(name).unlink()


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
