"""Where tiles and checkpoints are published: the port, and a directory.

Tiles never change: writing one again with the same content does nothing, with other content is refused. Only the
checkpoint is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from aboveboard.errors import NotFound, NotVerified
from aboveboard.files import storage_errors, sync_directory, write_atomically


class TileStorage(Protocol):
    """Keeps the static files of a log under the paths of C2SP tlog-tiles."""

    def put(self, files: Mapping[str, bytes]) -> None:
        """Store immutable files durably.

        Raises `NotVerified` when one is there with other content, `StorageFailed` when they cannot be stored.
        """

    def get(self, path: str) -> bytes:
        """Return a file's content. Raises `NotFound`, `StorageFailed`."""

    def put_checkpoint(self, note: str) -> None:
        """Replace the checkpoint, as one step. Raises `StorageFailed`."""

    def close(self) -> None:
        """Let go of connections."""


class DirectoryStorage:
    """Tiles in a directory that any web server can serve as it is."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, files: Mapping[str, bytes]) -> None:
        """Store files: all are written, then all synced, then all given their names, then the directories synced."""
        with storage_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            scratch: list[tuple[Path, Path, int]] = []
            made: set[Path] = set()
            try:
                for name, content in files.items():
                    path = self._root / name
                    if path.exists():
                        if path.read_bytes() != content:
                            raise NotVerified(
                                f"{path}: there with other content", hint="run `aboveboard audit fsck`", path=name
                            )
                        continue
                    self._make_directory(path.parent, made)
                    temporary = path.with_name(f".{path.name}.{os.getpid()}")
                    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
                    scratch.append((temporary, path, descriptor))
                    view = memoryview(content)
                    while view:
                        view = view[os.write(descriptor, view) :]
                for _, _, descriptor in scratch:
                    os.fsync(descriptor)
                for temporary, path, _ in scratch:
                    temporary.rename(path)
                    made.add(path.parent)
            finally:
                for temporary, _, descriptor in scratch:
                    os.close(descriptor)
                    with suppress(FileNotFoundError):
                        temporary.unlink()
            for directory in made:
                sync_directory(directory)

    def get(self, path: str) -> bytes:
        """Return a file's content. Raises `NotFound`."""
        with storage_errors(self._root):
            try:
                return (self._root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise NotFound(f"{path} is not in the log's storage", path=path) from error

    def put_checkpoint(self, note: str) -> None:
        """Replace the file `checkpoint`."""
        write_atomically(self._root / "checkpoint", note.encode())

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _make_directory(self, directory: Path, made: set[Path]) -> None:
        """Create a directory and note every parent whose list of names has changed."""
        missing = []
        while not directory.exists():
            missing.append(directory)
            directory = directory.parent
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.add(path.parent)
