"""Blobs of releases in a folder, e.g. an OCI artifact that the kubelet has mounted as an image volume.

How a container runtime lays an artifact out is its own affair, so blobs are found by size and digest, never by name.
What does not match is as if it were not there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from aboveboard.errors import NotFound
from aboveboard.files import storage_errors
from aboveboard.ids import sha256_digest
from aboveboard.release.manifest import Descriptor


class Blobs(Protocol):
    """A place where blobs of releases may be, e.g. a volume, or a store."""

    def blob(self, descriptor: Descriptor) -> bytes | None:
        """Return the bytes with this digest, checked; None where they are not."""


class Volume:
    """A folder with blobs somewhere in it. Nothing in it is believed, and nothing is written to it."""

    def __init__(self, root: Path) -> None:
        """List the files below `root`. Raises `NotFound` where there is no such folder, and `StorageFailed`."""
        self._by_size: dict[int, list[Path]] = {}
        if not root.is_dir():
            raise NotFound(f"no folder {root}", hint="mount the release there, or leave the volume out")
        with storage_errors(root):
            for folder, _, names in os.walk(root, followlinks=False):
                for name in names:
                    path = Path(folder, name)
                    # Kubernetes mounts files behind links; where they lead, the bytes decide.
                    if path.is_file():
                        self._by_size.setdefault(path.stat().st_size, []).append(path)

    def blob(self, descriptor: Descriptor) -> bytes | None:
        """Return the bytes of a blob; None where no file here has its digest."""
        for path in self._by_size.get(descriptor.size, ()):
            with storage_errors(path), path.open("rb") as file:
                content = file.read(descriptor.size + 1)
            if sha256_digest(content) == descriptor.digest:
                return content
        return None
