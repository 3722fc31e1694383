"""Private key files: mode 0600 in a directory of mode 0700, made once, whoever comes first."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from aboveboard.errors import NotAuthorised
from aboveboard.files import storage_errors, sync_directory


def read_secret(path: Path, make: Callable[[], str]) -> str:
    """Return what the secret file at `path` holds, first making it when there is none.

    Raises `NotAuthorised` when other users could read it, `StorageFailed` when it cannot be made.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create(path, make())
        if path.stat().st_mode & 0o077:
            raise NotAuthorised(f"{path}: others may read this private key", hint=f"chmod 600 {path}")
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
