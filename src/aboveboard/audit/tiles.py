"""The static form of the log: C2SP tlog-tiles paths, hash tiles and entry bundles, and proofs read from them. Pure.

A full tile is 256 hashes of one level, 8,192 bytes; level 0 holds leaf hashes and every hash of level l + 1 is the
root of a full tile of level l. An entry bundle holds the entries of a level 0 tile, each after its two-byte length.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

from aboveboard.audit.merkle import HASH_BYTES, node_hash
from aboveboard.errors import NotFound, NotVerified

WIDTH = 256
HEIGHT = 8

Fetch = Callable[[str], bytes]
"""Returns what is stored at a path; raises `NotFound`."""


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """Return where a hash tile is: `tile/<level>/x001/x234/067`, with `.p/<width>` for a partial one."""
    return f"tile/{level}/{_number(number)}{_partial(width)}"


def bundle_path(number: int, width: int = WIDTH) -> str:
    """Return where the entries of level 0 tile `number` are."""
    return f"tile/entries/{_number(number)}{_partial(width)}"


def _number(number: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"


def tile_width(level: int, number: int, size: int) -> int:
    """Return how many hashes tile `number` of `level` has in a tree of `size` leaves (0: there is none)."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - number * WIDTH))


def levels(size: int) -> int:
    """Return how many levels of tiles a tree of `size` leaves has."""
    return 0 if size == 0 else (size.bit_length() - 1) // HEIGHT + 1


def parse_tile(content: bytes, width: int) -> list[bytes]:
    """Return the hashes of a tile. Raises `NotVerified` when it is not `width` hashes long."""
    if len(content) != width * HASH_BYTES:
        raise NotVerified(f"a tile of {width} hashes is {width * HASH_BYTES} bytes long, not {len(content)}")
    return [content[i : i + HASH_BYTES] for i in range(0, len(content), HASH_BYTES)]


def format_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the entry bundle of `entries`, each at most 65,535 bytes long."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(content: bytes, width: int) -> list[bytes]:
    """Return the entries of a bundle. Raises `NotVerified` when they are not `width`, or cut off."""
    entries: list[bytes] = []
    position = 0
    while position < len(content):
        length = int.from_bytes(content[position : position + 2], "big")
        end = position + 2 + length
        if position + 2 > len(content) or end > len(content):
            raise NotVerified("the entry bundle is cut off")
        entries.append(content[position + 2 : end])
        position = end
    if len(entries) != width:
        raise NotVerified(f"the entry bundle holds {len(entries)} entries, not {width}")
    return entries


class TileReader:
    """Hashes of a tree of `size` leaves, read from its tiles; usable as `merkle.Node`.

    Keeps the tiles it read, with their inner nodes, up to `capacity` of them. Full tiles never change, so one reader
    may be `at()` many sizes.
    """

    def __init__(self, fetch: Fetch, size: int, *, capacity: int = 512) -> None:
        self._fetch = fetch
        self._size = size
        self._capacity = capacity
        self._kept: OrderedDict[tuple[int, int, int], list[list[bytes]]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, level: int, index: int) -> bytes:
        """Return the hash of the subtree of height `level` at `index`."""
        return self.at(self._size)(level, index)

    def at(self, size: int) -> Callable[[int, int], bytes]:
        """Return a `merkle.Node` for the tree of `size` leaves."""

        def node(level: int, index: int) -> bytes:
            tile_level, height = divmod(level, HEIGHT)
            number, offset = divmod(index << height, WIDTH)
            rows = self._tile(tile_level, number, tile_width(tile_level, number, size))
            return rows[height][offset >> height]

        return node

    def _tile(self, level: int, number: int, width: int) -> list[list[bytes]]:
        """Return a tile's hashes and the complete inner rows above them."""
        key = (level, number, width)
        with self._lock:
            if rows := self._kept.get(key):
                self._kept.move_to_end(key)
                return rows
        try:
            rows = [parse_tile(self._fetch(tile_path(level, number, width)), width)]
        except NotFound:
            # A log may delete a partial tile once the full one is there.
            rows = [parse_tile(self._fetch(tile_path(level, number)), WIDTH)[:width]]
        while len(rows[-1]) > 1:
            below = rows[-1]
            rows.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
        with self._lock:
            self._kept[key] = rows
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return rows
