"""The same request sent twice gives one decision, answered twice.

A key belongs to the client that sent it. It is remembered by this process for a day, and no more than a bounded
number of keys are; the key also stands in the decision's record, so that what was forgotten can be found.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from aboveboard.errors import AboveboardError
from aboveboard.serving.recorder import Unconfirmed
from aboveboard.serving.refusals import IdempotencyKeyReused

LIFETIME_SECONDS: Final = 24 * 3600.0
CAPACITY: Final = 100_000

A = TypeVar("A")
Reply = Callable[[A | AboveboardError], None]


class _Remembered(Generic[A]):
    """One key: the request it was first sent with, and the answer or those who wait for it."""

    __slots__ = ("answer", "fingerprint", "late", "since", "waiting")

    def __init__(self, fingerprint: bytes, since: float, reply: Reply[A]) -> None:
        self.fingerprint = fingerprint
        self.since = since
        self.answer: A | None = None
        self.late: Unconfirmed | None = None
        self.waiting: list[Reply[A]] = [reply]


class Replays(Generic[A]):
    """Answers by client and key."""

    def __init__(
        self, *, timer: Callable[[], float], capacity: int = CAPACITY, lifetime: float = LIFETIME_SECONDS
    ) -> None:
        self._timer = timer
        self._capacity = capacity
        self._lifetime = lifetime
        self._known: OrderedDict[tuple[str, str], _Remembered[A]] = OrderedDict()

    def first(self, client: str, key: str, body: bytes, reply: Reply[A]) -> Reply[A] | None:
        """Return what to call with the answer where the key is new; else None, and `reply` gets the first answer.

        An error is given to everyone who waits and then forgotten, so that the request can be tried again. Raises
        `IdempotencyKeyReused` where the key came with another request before.
        """
        now = self._timer()
        self._forget(now)
        place = (client, key)
        fingerprint = hashlib.sha256(body).digest()
        known = self._known.get(place)
        if known is None:
            entry = self._known[place] = _Remembered(fingerprint, now, reply)
            return lambda answer: self._settle(place, entry, answer)
        if known.fingerprint != fingerprint:
            raise IdempotencyKeyReused(
                "this idempotency key came with another request before", hint="use a new key for a new request"
            )
        if known.answer is not None:
            reply(known.answer)
        elif known.late is not None:
            reply(known.late)
        else:
            known.waiting.append(reply)
        return None

    def drop(self, client: str, key: str) -> None:
        """Forget a key whose request came to nothing."""
        self._known.pop((client, key), None)

    def _settle(self, place: tuple[str, str], entry: _Remembered[A], answer: A | AboveboardError) -> None:
        waiting, entry.waiting = entry.waiting, []
        if isinstance(answer, Unconfirmed):
            entry.late = answer  # what comes of it will be settled yet; until then, whoever asks again hears this
        elif isinstance(answer, AboveboardError):
            if self._known.get(place) is entry:
                del self._known[place]
        else:
            entry.answer = answer
        for reply in waiting:
            reply(answer)

    def _forget(self, now: float) -> None:
        known = self._known
        while known:
            oldest = next(iter(known.values()))
            full = len(known) >= self._capacity
            if oldest.answer is None or not (full or now - oldest.since > self._lifetime):
                return
            known.popitem(last=False)
