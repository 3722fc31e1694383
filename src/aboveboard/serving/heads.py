"""Heads of requests that were parsed before: clients send the same bytes again and again."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

LONGEST_HEAD: Final = 2_048
"""Bytes of a head worth remembering."""

_REMEMBERED: Final = 1_024
_EACH_ITS_OWN: Final = frozenset({b"traceparent", b"x-request-id"})
"""Traced clients and service meshes send these; to learn such heads would push out those that do come again."""


class KnownHead(NamedTuple):
    """What the parser made of the head of a request that was whole, well-formed and kept its connection open."""

    headers: list[tuple[bytes, bytes]]
    model: re.Match[bytes] | None
    length: int
    """Bytes of the body, as the head declares them."""


class KnownHeads:
    """Heads that were parsed before: the same bytes mean the same, and clients send them again and again.

    Who asks, and whether they may, is looked at every time.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}
        self.get = self._known.get

    def learn(self, content: bytes, head: KnownHead) -> None:
        """Remember a head; there is a bound, and beyond it everything is learned anew."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[content] = head


def comes_again(headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether a head says how long its body is, and holds nothing that is another for each request."""
    names = {name for name, _ in headers}
    return b"content-length" in names and names.isdisjoint(_EACH_ITS_OWN)
