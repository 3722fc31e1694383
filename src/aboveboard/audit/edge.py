"""The right edge of a growing tree: all that is needed to add leaves to it without reading a tile. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aboveboard.audit.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, node_hash, perfect_root, split
from aboveboard.audit.tiles import WIDTH, bundle_path, format_bundle, tile_path
from aboveboard.errors import NotVerified


@dataclass(slots=True)
class Edge:
    """The hashes in every level's unfinished tile, and the entries of the unfinished bundle.

    Entries are commitments of 32 bytes.
    """

    size: int = 0
    entries: list[bytes] = field(default_factory=list)
    rows: list[list[bytes]] = field(default_factory=list)

    def extend(self, entries: Iterable[bytes]) -> dict[str, bytes]:
        """Add leaves, and return the full tiles and bundles this completes."""
        complete: dict[str, bytes] = {}
        if not self.rows:
            self.rows.append([])
        pending, hashes = self.entries, self.rows[0]
        for entry in entries:
            pending.append(entry)
            hashes.append(leaf_hash(entry))
            self.size += 1
            if len(hashes) == WIDTH:
                complete[bundle_path(self.size // WIDTH - 1)] = format_bundle(pending)
                pending.clear()
                self._carry(complete)
        return complete

    def _carry(self, complete: dict[str, bytes]) -> None:
        """Turn every full row into a tile and a hash one level up."""
        level = 0
        while len(row := self.rows[level]) == WIDTH:
            complete[tile_path(level, self.size // WIDTH ** (level + 1) - 1)] = b"".join(row)
            if level + 1 == len(self.rows):
                self.rows.append([])
            self.rows[level + 1].append(perfect_root(row))
            row.clear()
            level += 1

    def partial(self) -> dict[str, bytes]:
        """Return the unfinished tiles and the unfinished bundle of the tree as it is."""
        tiles = {
            tile_path(level, self.size // WIDTH ** (level + 1), len(row)): b"".join(row)
            for level, row in enumerate(self.rows)
            if row
        }
        if self.entries:
            tiles[bundle_path(self.size // WIDTH, len(self.entries))] = format_bundle(self.entries)
        return tiles

    def root(self) -> bytes:
        """Return the root of the tree as it is."""
        right: bytes | None = None
        for row in self.rows:
            parts = row if right is None else [*row, right]
            if parts:
                right = _fold(parts)
        return EMPTY_ROOT if right is None else right

    def encode(self) -> bytes:
        """Return the edge as bytes: a count and hashes for the entries and then for each level."""
        return b"".join(len(row).to_bytes(2, "big") + b"".join(row) for row in (self.entries, *self.rows))

    @classmethod
    def decode(cls, size: int, content: bytes) -> Edge:
        """Read what `encode` wrote. Raises `NotVerified` when it does not belong to a tree of `size` leaves."""
        rows: list[list[bytes]] = []
        position = 0
        while position < len(content):
            start = position + 2
            count = int.from_bytes(content[position:start], "big")
            position = start + count * HASH_BYTES
            rows.append([content[i : i + HASH_BYTES] for i in range(start, position, HASH_BYTES)])
        edge = cls(size, rows[0] if rows else [], rows[1:])
        expected = [(size // WIDTH**level) % WIDTH for level in range(len(edge.rows))]
        if position != len(content) or [len(row) for row in edge.rows] != expected:
            raise NotVerified(
                "the log's database and its tree do not fit together", hint="run `aboveboard audit fsck`"
            )
        return edge


def _fold(parts: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees of one width, the last of which may be incomplete."""
    if len(parts) == 1:
        return parts[0]
    middle = split(len(parts))
    return node_hash(_fold(parts[:middle]), _fold(parts[middle:]))
