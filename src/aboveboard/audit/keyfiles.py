"""Private key files: mode 0600 in a directory of mode 0700, made once, whoever comes first."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from aboveboard.audit.note import SigningKey
from aboveboard.errors import Misuse, NotAuthorised
from aboveboard.files import storage_errors, sync_directory, write_atomically


def read_secret(path: Path, make: Callable[[], str]) -> str:
    """Return what the secret file at `path` holds, first making it when there is none.

    Raises `NotAuthorised` when other users could read it, `StorageFailed` when it cannot be made.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create(path, make())
        status = path.stat()
        # A secret that Kubernetes mounts for a process that is not root belongs to root and to a group of ours.
        handed = status.st_uid not in (os.geteuid(), os.getuid()) and status.st_gid in {os.getegid(), *os.getgroups()}
        if status.st_mode & (0o037 if handed else 0o077):
            raise NotAuthorised(
                f"{path}: others may read this private key",
                hint=f"chmod 600 {path}; where it is mounted, have it handed to the group only (mode 0440)",
            )
        return path.read_text()


def _create(path: Path, content: str) -> None:
    """Write the file whole and durably; when another process was first, its file stays."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()
    sync_directory(path.parent)


def signing_key(path: Path, name: str, kind: int) -> SigningKey:
    """Return the signing key in a file, making one when there is none, with its public half beside it as `.vkey`.

    Raises `NotVerified` when it is of another name or type.
    """
    text = read_secret(path, lambda: SigningKey(name, kind, os.urandom(32)).secret_text())
    key = SigningKey.parse(text)
    if key.name != name or key.kind != kind:
        raise Misuse(
            f"{path}: a key of {key.name}, not of {name}", hint="another log's key; give this log keys of its own"
        )
    public = path.with_suffix(".vkey")
    if not public.exists():
        write_atomically(public, f"{key.verifier()}\n".encode())
    return key
