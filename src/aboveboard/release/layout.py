"""An OCI image layout on disk: blobs named by their digest, and an index that is a function of them.

Writers take turns (a lock held on a file beside the index); readers need no lock, because blobs are written
before the index that names them and the index is replaced whole. Every byte read is hashed again. The index
is not signed, so nothing in it is believed: it must be, byte for byte, what the manifests it names make it.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aboveboard.errors import NotVerified, StorageFailed
from aboveboard.files import storage_errors, write_atomically
from aboveboard.ids import sha256_digest
from aboveboard.release.documents import decode, encode
from aboveboard.release.manifest import (
    INDEX_TYPE,
    MANIFEST_LIMIT,
    MANIFEST_TYPE,
    Descriptor,
    Index,
    Manifest,
    check,
    hexadecimal,
    index_entry,
    parse_manifest,
)

LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'
_ABANDONED = re.compile(r"\.([0-9a-f]{64}|index\.json|oci-layout)\..+", re.ASCII)
_DAMAGED = "nothing in a damaged layout is believed: restore it from a backup, or rebuild the index from the blobs"


class OciLayout:
    """One layout directory, which need not exist before the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob_path(self, digest: str) -> Path:
        """Return where the blob of a digest is kept."""
        return self.root / "blobs" / "sha256" / hexadecimal(digest)

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a blob that is exactly what the descriptor says. Raises `NotVerified` or `StorageFailed`."""
        path = self.blob_path(descriptor.digest)
        content = _read(path, limit=descriptor.size)
        if content is None:
            raise NotVerified(
                f"blob {descriptor.digest} is missing",
                hint="restore it from a backup or import the release again",
                expected=descriptor.digest,
            )
        return check(descriptor, content)

    def manifests(self) -> Mapping[str, tuple[bytes, Manifest]]:
        """Return every manifest by digest, each hashed again, after the index was found to be what they make it.

        A layout that does not exist has none. Raises `NotVerified` when anything in the index does not hold: an
        entry that cannot be read might have been an approval.
        """
        layout_content = _read(self.root / "oci-layout", limit=1024)
        index_content = _read(self.root / "index.json", limit=MANIFEST_LIMIT * 16)
        if layout_content is None:
            if index_content in (None, index_bytes({})):
                return {}
            # A writer makes the index first, then this file: it may have come between the two readings above.
            layout_content = _read(self.root / "oci-layout", limit=1024)
        if layout_content != LAYOUT_FILE:
            raise NotVerified(f"{self.root / 'oci-layout'} is missing or was changed", hint=_DAMAGED)
        if index_content is None:
            raise NotVerified(f"{self.root / 'index.json'} is missing", hint=_DAMAGED)
        manifests: dict[str, tuple[bytes, Manifest]] = {}
        for entry in decode(index_content, Index, "index.json").manifests:
            if entry.media_type != MANIFEST_TYPE or entry.size > MANIFEST_LIMIT:
                raise NotVerified(f"index.json: entry {entry.digest[:80]} is not a manifest", hint=_DAMAGED)
            content = self.read(entry)
            manifests[entry.digest] = content, parse_manifest(content, entry.digest)
        if index_content != index_bytes(manifests):
            raise NotVerified("index.json does not agree with the manifests it names", hint=_DAMAGED)
        return manifests

    @contextmanager
    def writing(self) -> Iterator[LayoutWriter]:
        """Hold the layout for one change: what the block adds becomes visible at its end, at once or not at all.

        Raises `StorageFailed` when the disk does not take it and `NotVerified` when the layout is damaged.
        """
        with self._locked():
            known = self.manifests()
            if not (self.root / "oci-layout").exists():  # the index first: a crash in between leaves an empty layout
                write_atomically(self.root / "index.json", index_bytes({}))
                write_atomically(self.root / "oci-layout", LAYOUT_FILE)
            writer = LayoutWriter(self, known)
            yield writer
            if writer.added:
                write_atomically(self.root / "index.json", index_bytes({**known, **writer.added}))

    def rebuild_index(self) -> int:
        """Write index.json anew from the manifests among the blobs and return how many there are.

        For a layout whose index was lost. Nothing is trusted by this: signatures are checked on every use.
        """
        found: dict[str, tuple[bytes, Manifest]] = {}
        with self._locked():
            with storage_errors(self.root):
                paths = sorted((self.root / "blobs" / "sha256").iterdir())
            for path in paths:
                content = _read(path, limit=MANIFEST_LIMIT)
                digest = f"sha256:{path.name}"
                if content is None or sha256_digest(content) != digest:
                    continue
                try:
                    found[digest] = content, parse_manifest(content, digest)
                except NotVerified:
                    continue
            write_atomically(self.root / "index.json", index_bytes(found))
            write_atomically(self.root / "oci-layout", LAYOUT_FILE)
        return len(found)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Make the directories, wait for the lock, and remove what a killed writer left: nobody else is writing."""
        with storage_errors(self.root):
            blobs = self.root / "blobs" / "sha256"
            blobs.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with storage_errors(self.root):
                fcntl.flock(lock, fcntl.LOCK_EX)
                for path in [*self.root.iterdir(), *blobs.iterdir()]:
                    if _ABANDONED.fullmatch(path.name):
                        path.unlink(missing_ok=True)
            yield
        finally:
            os.close(lock)


class LayoutWriter:
    """One change to a layout, while the lock is held."""

    def __init__(self, layout: OciLayout, known: Mapping[str, tuple[bytes, Manifest]]) -> None:
        self.known = known
        self.added: dict[str, tuple[bytes, Manifest]] = {}
        self._layout = layout

    def put(self, content: bytes) -> None:
        """Write a blob durably under its digest, unless it is there and whole."""
        path = self._layout.blob_path(sha256_digest(content))
        if _read(path, limit=len(content)) != content:
            write_atomically(path, content)

    def add(self, content: bytes) -> str:
        """Write a manifest and enter it in the index; return its digest."""
        digest = sha256_digest(content)
        self.put(content)
        self.added[digest] = content, parse_manifest(content, digest)
        return digest


def index_bytes(manifests: Mapping[str, tuple[bytes, Manifest]]) -> bytes:
    """Return index.json for these manifests: sorted by digest, in canonical form."""
    entries = [index_entry(*manifests[digest]) for digest in sorted(manifests)]
    return encode(Index(schema_version=2, media_type=INDEX_TYPE, manifests=entries))


def _read(path: Path, *, limit: int) -> bytes | None:
    """Return the content of a regular file, or None when there is none; at most one byte more than `limit`."""
    with storage_errors(path):
        try:
            # A pipe or a device under a blob's name must not make a reader wait.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StorageFailed(f"{path} is not a regular file", hint="remove it and restore the blob")
            # Never more than there is: the size in a damaged descriptor may be any number.
            return file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
