"""Subject keys kept in memory, so that a person's next record costs no look-up.

A cache cannot know that a key was destroyed. `Vault` asks the database whenever it has begun to hold erasures off,
and empties the cache when anything was destroyed or rotated, by whatever process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

N = TypeVar("N")


class KeyCache(Generic[N]):
    """At most `capacity` keys by name; the one longest unused goes first. What goes is overwritten with zeros.

    Only our copy can be: whoever was handed a key has another, for as long as they use it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._keys: OrderedDict[N, tuple[bytes, bytearray]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, name: N) -> tuple[bytes, bytes] | None:
        """Return id and key, if they are there."""
        with self._lock:
            if (found := self._keys.get(name)) is None:
                return None
            self._keys.move_to_end(name)
            return found[0], bytes(found[1])

    def put(self, name: N, key_id: bytes, key: bytes) -> None:
        """Keep a key, and let another go where there is no room."""
        with self._lock:
            if (before := self._keys.pop(name, None)) is not None:
                _wipe(before[1])
            self._keys[name] = (key_id, bytearray(key))
            while len(self._keys) > self._capacity:
                _wipe(self._keys.popitem(last=False)[1][1])

    def clear(self) -> None:
        """Let everything go."""
        with self._lock:
            for _, key in self._keys.values():
                _wipe(key)
            self._keys.clear()


def _wipe(key: bytearray) -> None:
    key[:] = bytes(len(key))
