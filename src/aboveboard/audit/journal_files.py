"""Journals in files. The directory `journals/<name>/` holds numbered segments; `segment.py` describes their bytes."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aboveboard.audit.journal import Place, Written
from aboveboard.audit.segment import (
    BATCH_HEADER_BYTES,
    GENESIS,
    SEGMENT_HEADER_BYTES,
    Batch,
    Sealed,
    SegmentHeader,
    batch_after,
    decode_batch,
    encode_batch,
)
from aboveboard.errors import Conflict, NotVerified, StorageFailed
from aboveboard.files import storage_errors, sync_directory

SEGMENT_BYTES = 64 << 20
"""After which a journal goes on in a new file."""
_MAX_JOURNALS = 1024


class Disk:
    """The system calls a journal stands on; tests put failing ones in their place."""

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        """Write some of `content` at `offset` and return how much."""
        return os.pwrite(descriptor, content, offset)

    def sync(self, descriptor: int) -> None:
        """Return once everything written is on the medium."""
        os.fdatasync(descriptor)


@dataclass(frozen=True, slots=True)
class Repair:
    """What opening a journal found at its end and cut off."""

    segment: int
    offset: int
    discarded: int


def segment_path(directory: Path, number: int) -> Path:
    """Return where segment `number` of the journal in `directory` is."""
    return directory / f"{number:08d}.journal"


def segment_numbers(directory: Path) -> list[int]:
    """Return the numbers of a journal's segments, in order."""
    return sorted(int(path.stem) for path in directory.glob("*.journal") if path.stem.isdigit())


class FileJournalWriter:
    """A journal in a directory of its own.

    After a failed write or sync nobody knows what of the tail reached the disk, and a later sync may report success
    without having written it. So the tail is given up: `recover` begins a new segment whose header says where the
    old one ends, and the number of the failed batch is not used again.
    """

    def __init__(self, directory: Path, lock: int, *, disk: Disk, segment_bytes: int) -> None:
        self._directory = directory
        self._name = directory.name
        self._lock = lock
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._file = -1
        self._failed = False
        self._journal = b""
        self._number = self._batch = self._ordinal = self._end = 0
        self._chain = GENESIS
        self.repair: Repair | None = None
        with storage_errors(directory):
            self._resume()

    @classmethod
    def open(
        cls, root: Path, name: str, *, disk: Disk | None = None, segment_bytes: int = SEGMENT_BYTES
    ) -> FileJournalWriter:
        """Open `root/<name>`, or `<name>-2` and so on where another process holds it, and cut off a torn end.

        Raises `StorageFailed` when the directory does not take files, or the journal is damaged, not merely torn.
        """
        for attempt in range(1, _MAX_JOURNALS):
            directory = root / (name if attempt == 1 else f"{name}-{attempt}")
            with storage_errors(directory):
                directory.mkdir(parents=True, exist_ok=True)
                sync_directory(root)
                lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(lock)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise StorageFailed(f"{directory}: cannot be locked: {error.strerror}") from error
                continue
            try:
                return cls(directory, lock, disk=disk or Disk(), segment_bytes=segment_bytes)
            except BaseException:
                os.close(lock)
                raise
        raise Conflict(
            f"{root}: {_MAX_JOURNALS - 1} writers named {name!r} are already running", hint="stop some of them"
        )

    @property
    def name(self) -> str:
        """The journal's name: that of its directory."""
        return self._name

    def write(self, entries: Sequence[Sealed]) -> Written:
        """Append a batch and sync it. Raises `StorageFailed`; then the journal refuses until `recover`."""
        if self._failed:
            raise StorageFailed(f"journal {self.name} has failed and has not recovered", hint="check the disk")
        content, chain = encode_batch(self._batch, self._ordinal, self._chain, entries)
        written = Written(self._batch, self._ordinal)
        self._batch += 1
        self._ordinal += len(entries)
        try:
            with storage_errors(self._directory):
                self._write_all(content, self._end)
                self._disk.sync(self._file)
        except BaseException:
            self._failed = True
            raise
        self._end += len(content)
        self._chain = chain
        if self._end >= self._segment_bytes:
            # The batch is durable and its writers are told so; if no new segment can be begun, the next hear of it.
            self._failed = True
            with suppress(StorageFailed):
                self.recover()
        return written

    def recover(self) -> None:
        """Begin a new segment after the last durable batch; does nothing when all is well. Raises `StorageFailed`."""
        if self._failed:
            with storage_errors(self._directory):
                self._begin(self._number + 1, self._end)
            self._failed = False

    def close(self) -> None:
        """Close the files and give up the lock."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _resume(self) -> None:
        """Find the last durable batch, cut off what is torn, and stand ready to write after it."""
        numbers = segment_numbers(self._directory)
        while numbers:
            path = segment_path(self._directory, numbers[-1])
            content = path.read_bytes()
            if len(content) > SEGMENT_HEADER_BYTES or _readable(content):
                break
            path.unlink()  # its header never became whole, so no batch can be in it
            numbers.pop()
        else:
            self._journal = os.urandom(16)
            self._begin(0, 0)
            return
        header = self._header(content)
        self._journal, self._number = header.journal, header.number
        self._chain, self._batch, self._ordinal = header.chain, header.first_batch, header.first_ordinal
        position = SEGMENT_HEADER_BYTES
        while batch := decode_batch(content, position):
            if batch.previous != self._chain or batch.number != self._batch:
                raise self._damaged(header.number, position)
            self._chain, self._batch, self._ordinal = batch.chain, batch.number + 1, batch.first_ordinal + batch.count
            position += batch.size
        self._file = os.open(segment_path(self._directory, header.number), os.O_RDWR | os.O_CLOEXEC)
        self._end = position
        if position < len(content):
            if batch_after(content, position) is not None:
                raise self._damaged(header.number, position)
            os.ftruncate(self._file, position)
            self.repair = Repair(header.number, position, len(content) - position)
        # What is here may only be in memory still, if the last writer was killed before its sync.
        os.fsync(self._file)

    def _header(self, content: bytes) -> SegmentHeader:
        try:
            return SegmentHeader.decode(content)
        except NotVerified as error:
            raise self._damaged(segment_numbers(self._directory)[-1], 0) from error

    def _damaged(self, number: int, offset: int) -> StorageFailed:
        return StorageFailed(
            f"journal {self.name}: segment {number} is damaged at byte {offset}",
            hint="keep a copy of the directory, run `aboveboard audit fsck`, and see the runbook on disk loss",
            segment=number,
            offset=offset,
        )

    def _begin(self, number: int, previous_end: int) -> None:
        """Create segment `number`, durably, and write to it from now on."""
        header = SegmentHeader(self._journal, number, self._batch, self._ordinal, self._chain, previous_end)
        path = segment_path(self._directory, number)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._write_all(header.encode(), 0, descriptor)
            self._disk.sync(descriptor)
            sync_directory(self._directory)
        except BaseException:
            os.close(descriptor)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._number, self._end = descriptor, number, SEGMENT_HEADER_BYTES

    def _write_all(self, content: bytes, offset: int, descriptor: int | None = None) -> None:
        """Write all of `content`, however short the single writes are."""
        target = self._file if descriptor is None else descriptor
        view = memoryview(content)
        while view:
            count = self._disk.write(target, view, offset)
            if count <= 0:
                raise OSError(errno.EIO, "the disk took nothing")
            view = view[count:]
            offset += count


def _readable(content: bytes) -> bool:
    try:
        SegmentHeader.decode(content)
    except NotVerified:
        return False
    return True


class FileJournalReader:
    """Reads the journals below a directory while their writers go on writing."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """Return the names of all journals, sorted."""
        with storage_errors(self._root):
            return sorted(path.parent.name for path in self._root.glob("*/lock"))

    def batches(self, name: str, after: Place | None) -> Iterator[tuple[Place, Place, Batch]]:
        """Yield batches in order, each with its place and the next; what is yielded is on the medium.

        Raises `NotVerified` where bytes that were acknowledged are damaged or gone.
        """
        directory = self._root / name
        place = after or Place(0, SEGMENT_HEADER_BYTES)
        with storage_errors(directory):
            while True:
                numbers = segment_numbers(directory)
                if place.segment not in numbers:
                    if after is None and not numbers:
                        return
                    raise NotVerified(f"journal {name}: segment {place.segment} is missing", journal=name)
                limit = self._end_of(directory, place.segment, numbers)
                content, start = self._durable(segment_path(directory, place.segment), place.offset, limit)
                position = 0
                while batch := decode_batch(content, position):
                    here = Place(place.segment, start + position)
                    position += batch.size
                    yield here, Place(place.segment, start + position), batch
                if limit is None and batch_after(content, position) is None:
                    return  # what is left is being written just now, or is a torn end
                if limit is None or start + position < limit:
                    raise NotVerified(
                        f"journal {name}: segment {place.segment} is damaged at byte {start + position}", journal=name
                    )
                place = Place(place.segment + 1, SEGMENT_HEADER_BYTES)

    def batch(self, name: str, place: Place) -> Batch:
        """Return the batch at `place`. Raises `NotVerified` when it is not there unharmed."""
        path = segment_path(self._root / name, place.segment)
        if not path.exists():
            raise NotVerified(f"journal {name}: segment {place.segment} is missing", journal=name)
        with storage_errors(path), path.open("rb") as file:
            file.seek(place.offset)
            head = file.read(BATCH_HEADER_BYTES)
            length = int.from_bytes(head[4:8], "big")
            batch = decode_batch(head + file.read(min(length, SEGMENT_BYTES * 8)))
        if batch is None:
            raise NotVerified(f"journal {name}: no batch at byte {place.offset} of segment {place.segment}")
        return batch

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _end_of(self, directory: Path, number: int, numbers: Sequence[int]) -> int | None:
        """Return where a finished segment ends by the word of the next one's header; None for the last segment."""
        if number + 1 not in numbers:
            if numbers[-1] > number:
                raise NotVerified(f"journal {directory.name}: segment {number + 1} is missing")
            return None
        with segment_path(directory, number + 1).open("rb") as file:
            content = file.read(SEGMENT_HEADER_BYTES)
        if not _readable(content) and number + 1 == numbers[-1]:
            return None  # its writer is just about to begin it
        return SegmentHeader.decode(content).previous_end

    @staticmethod
    def _durable(path: Path, offset: int, limit: int | None) -> tuple[bytes, int]:
        """Return the bytes from `offset` on, after making sure that they will survive a loss of power."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            end = size if limit is None else min(limit, size)
            if offset > size:
                raise NotVerified(f"{path.name}: the journal is shorter than what was already sequenced from it")
            if offset >= end:
                return b"", offset
            os.fdatasync(descriptor)
            return os.pread(descriptor, end - offset, offset), offset
        finally:
            os.close(descriptor)
