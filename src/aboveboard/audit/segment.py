"""The bytes of a journal: segments, batches and sealed entries. Pure.

A segment is a header and then batches; a batch is what one group commit made durable. Every batch carries the
SHA-256 over its header and entries, which includes that of the batch before: a checksum and a chain in one. Since
a batch is only written after the one before it was synced, an invalid batch at the very end is a torn write that
nobody was told about, and an invalid batch with a valid one after it is damage.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aboveboard.errors import NotVerified

GENESIS = bytes(32)
"""The chain value before the first batch of a journal."""

_SEGMENT = struct.Struct(">8s16sIQQ32sQ")
_SEGMENT_MAGIC = b"ABVJRNL\x01"
SEGMENT_HEADER_BYTES = _SEGMENT.size + 32

_BATCH = struct.Struct(">4sIIQQ32s")
_BATCH_MAGIC = b"ABB\x01"
BATCH_HEADER_BYTES = _BATCH.size + 32

_ENTRY = struct.Struct(">32s16s12sI")
MAX_BATCH_BYTES = 256 << 20


class Sealed(NamedTuple):
    """An event as a journal holds it: what the log commits to, and record and salt, unreadable without the key."""

    commitment: bytes
    key_id: bytes
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """How a segment continues the one before it."""

    journal: bytes
    """16 random bytes that name the journal."""
    number: int
    first_batch: int
    first_ordinal: int
    chain: bytes
    previous_end: int
    """Where the segment before ends: bytes beyond were never acknowledged and are not to be read."""

    def encode(self) -> bytes:
        """Return the header's bytes, with their SHA-256 at the end."""
        packed = _SEGMENT.pack(
            _SEGMENT_MAGIC,
            self.journal,
            self.number,
            self.first_batch,
            self.first_ordinal,
            self.chain,
            self.previous_end,
        )
        return packed + hashlib.sha256(packed).digest()

    @classmethod
    def decode(cls, content: bytes) -> SegmentHeader:
        """Read a segment's header. Raises `NotVerified`."""
        packed, digest = content[: _SEGMENT.size], content[_SEGMENT.size : SEGMENT_HEADER_BYTES]
        if len(digest) != 32 or hashlib.sha256(packed).digest() != digest:
            raise NotVerified("the header of the journal segment is damaged")
        magic, *fields = _SEGMENT.unpack(packed)
        if magic != _SEGMENT_MAGIC:
            raise NotVerified("not a journal segment of a version known here")
        return cls(*fields)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one group commit made durable."""

    number: int
    first_ordinal: int
    count: int
    previous: bytes
    chain: bytes
    body: bytes

    @property
    def size(self) -> int:
        """How many bytes the batch takes in its segment."""
        return BATCH_HEADER_BYTES + len(self.body)

    def commitments(self) -> list[bytes]:
        """Return what the log commits to, entry by entry. Raises `NotVerified` when the count is wrong."""
        body, position, found = self.body, 0, []
        length_at = _ENTRY.size - 4
        while position < len(body):
            found.append(body[position : position + 32])
            position += _ENTRY.size + int.from_bytes(body[position + length_at : position + _ENTRY.size], "big")
        if position != len(body) or len(found) != self.count:
            raise NotVerified(f"the batch holds {len(found)} entries, not {self.count}")
        return found

    def entries(self) -> Iterator[Sealed]:
        """Yield the sealed entries. Raises `NotVerified` when one is cut off."""
        body, position = self.body, 0
        while position < len(body):
            if position + _ENTRY.size > len(body):
                raise NotVerified("an entry of the batch is cut off")
            committed, key_id, nonce, length = _ENTRY.unpack_from(body, position)
            position += _ENTRY.size
            if position + length > len(body):
                raise NotVerified("an entry of the batch is cut off")
            yield Sealed(committed, key_id, nonce, body[position : position + length])
            position += length


def encode_batch(number: int, first_ordinal: int, previous: bytes, entries: Sequence[Sealed]) -> tuple[bytes, bytes]:
    """Return the bytes of a batch and its chain value."""
    pack = _ENTRY.pack
    body = b"".join(
        part
        for committed, key_id, nonce, ciphertext in entries
        for part in (pack(committed, key_id, nonce, len(ciphertext)), ciphertext)
    )
    header = _BATCH.pack(_BATCH_MAGIC, len(body), len(entries), number, first_ordinal, previous)
    digest = hashlib.sha256(header)
    digest.update(body)
    chain = digest.digest()
    return b"".join((header, chain, body)), chain


def decode_batch(content: bytes | memoryview, position: int = 0) -> Batch | None:
    """Read the batch at `position`, or return None where no whole and unharmed batch is."""
    head = bytes(content[position : position + BATCH_HEADER_BYTES])
    if len(head) < BATCH_HEADER_BYTES:
        return None
    magic, length, count, number, first_ordinal, previous = _BATCH.unpack_from(head)
    start = position + BATCH_HEADER_BYTES
    if magic != _BATCH_MAGIC or length > MAX_BATCH_BYTES or start + length > len(content):
        return None
    body = bytes(content[start : start + length])
    digest = hashlib.sha256(head[: _BATCH.size])
    digest.update(body)
    if digest.digest() != head[_BATCH.size :]:
        return None
    return Batch(number, first_ordinal, count, previous, head[_BATCH.size :], body)


def batch_after(content: bytes, position: int) -> int | None:
    """Return where a valid batch begins after `position`, or None: the sign that tells damage from a torn end."""
    while (position := content.find(_BATCH_MAGIC, position + 1)) >= 0:
        if decode_batch(content, position):
            return position
    return None
