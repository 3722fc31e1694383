"""The same request sent twice gives one decision, answered twice: by this worker, by another, after a restart.

A key belongs to the client that sent it and goes with one request, for a day. Its first request is decided in three
steps, and wherever a process is killed between them, what happens next follows from what is on the disk:

1. The key is *claimed* durably, with the id the decision will have (`claims.py`).
2. The decision goes to the journal and is answered once it is durable, as every decision is.
3. The claim is *marked* settled, a little later.

Whoever finds a claim that is settled, or whose owner is dead (`presence.py`), looks into the log for its decision.
It is there: it is told again, word for word. It is not there: its owner is dead and will not write it any more, so
the claim is taken over, by one of those who try, and decided. A claim whose owner lives is waited for.

The last minute's answers are told from memory; older ones from the log, where erasing a person takes effect. What a
settled claim stands for and the log does not give back any more was erased.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from aboveboard.audit import Erased
from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError, Overloaded
from aboveboard.ids import new_id
from aboveboard.serving.claiming import Claiming
from aboveboard.serving.claims import NOBODY, Claim, Claims, KeyDigests, Mark, expiry
from aboveboard.serving.presence import Presence
from aboveboard.serving.recorder import DEADLINE_SECONDS, LARGEST_BACKLOG, Unconfirmed
from aboveboard.serving.refusals import IdempotencyKeyReused

REMEMBERED_SECONDS: Final = 60.0
CAPACITY: Final = 20_000
FIRST_PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.1
_LOOKING_AT_ONCE: Final = 2
"""Looks into the log that run at the same time: each takes the interpreter from the decisions for a while."""

_log = logging.getLogger("aboveboard.serving")

A = TypeVar("A")
Reply = Callable[[A | AboveboardError], None]
Decide = Callable[[str, Reply[A]], None]
"""Decides under an id and calls the reply once it is known what came of it; raises where nothing was handed on."""
Retell = Callable[[str, str], A | None]
"""Returns the answer of the decision of an id to a client, from the log, or None where there is no such decision.

Blocks. Raises `Erased` and whatever keeps the answer from being told."""


class Unforeseen(AboveboardError):
    """A fault of ours that nothing foresaw."""

    code = "internal"


class Once(Protocol[A]):
    """Whoever sees to it that a key is decided once."""

    def ask(self, client: str, key: str, body: bytes, reply: Reply[A], decide: Decide[A]) -> bool:
        """Call `decide` unless the key is known, and `reply` with what came of it; return whether it was known.

        Raises `IdempotencyKeyReused` and `Overloaded`, and then never calls `reply`.
        """
        ...


class _Remembered(Generic[A]):
    """One key: the request it was first sent with, and the answer or those who wait for it."""

    __slots__ = ("answer", "fingerprint", "late", "since", "waiting")

    def __init__(self, fingerprint: bytes, reply: Reply[A]) -> None:
        self.fingerprint = fingerprint
        self.since = 0.0
        self.answer: A | None = None
        self.late: Unconfirmed | None = None
        self.waiting: list[Reply[A]] = [reply]


class Replays(Generic[A]):
    """Answers by key, for as long as clients usually ask again; keys and bodies are given as their digests."""

    def __init__(
        self, *, timer: Callable[[], float], capacity: int = CAPACITY, lifetime: float = REMEMBERED_SECONDS
    ) -> None:
        self._timer = timer
        self._capacity = capacity
        self._lifetime = lifetime
        self._open: dict[bytes, _Remembered[A]] = {}
        self._answered: OrderedDict[bytes, _Remembered[A]] = OrderedDict()

    def first(self, key: bytes, fingerprint: bytes, reply: Reply[A]) -> Reply[A] | None:
        """Return what to call with the answer where the key is new; else None, and `reply` gets the first answer.

        An error is given to everyone who waits and then forgotten, so that the request can be tried again. Raises
        `IdempotencyKeyReused` where the key came with another request before.
        """
        self._forget()
        known = self._open.get(key) or self._answered.get(key)
        if known is None:
            entry = self._open[key] = _Remembered(fingerprint, reply)
            return lambda answer: self._settle(key, entry, answer)
        if known.fingerprint != fingerprint:
            raise reused()
        if known.answer is not None:
            reply(known.answer)
        elif known.late is not None:
            reply(known.late)
        else:
            known.waiting.append(reply)
        return None

    def drop(self, key: bytes) -> None:
        """Forget a key of which nothing is known yet."""
        self._open.pop(key, None)

    def _settle(self, key: bytes, entry: _Remembered[A], answer: A | AboveboardError) -> None:
        waiting, entry.waiting = entry.waiting, []
        if isinstance(answer, Unconfirmed):
            entry.late = answer  # what comes of it will be settled yet; until then, whoever asks again hears this
        elif self._open.get(key) is entry:
            del self._open[key]
            if not isinstance(answer, AboveboardError):
                entry.answer = answer
                entry.since = self._timer()
                self._answered[key] = entry
        for reply in waiting:
            reply(answer)

    def _forget(self) -> None:
        answered, too_old = self._answered, self._timer() - self._lifetime
        while answered:
            oldest = next(iter(answered.values()))
            if len(answered) < self._capacity and oldest.since > too_old:
                return
            answered.popitem(last=False)


class OnceHere(Generic[A]):
    """Decides each key once in this process, and knows nothing of others: for work that no server does."""

    def __init__(self, digests: KeyDigests, *, timer: Callable[[], float], clock: Clock) -> None:
        self._digests = digests
        self._clock = clock
        self._replays: Replays[A] = Replays(timer=timer)

    def ask(self, client: str, key: str, body: bytes, reply: Reply[A], decide: Decide[A]) -> bool:
        """See `Once.ask`."""
        place = self._digests.key(client, key)
        first = self._replays.first(place, self._digests.fingerprint(place, body), reply)
        if first is not None:
            _attempt(decide, new_id("dec", self._clock()), first, first)
        return first is None


class _Asked(Generic[A]):
    """A request on its way to be decided or told again."""

    __slots__ = ("client", "decide", "fingerprint", "first", "key", "since", "told_late")

    def __init__(
        self, key: bytes, fingerprint: bytes, client: str, decide: Decide[A], first: Reply[A], since: float
    ) -> None:
        self.key = key
        self.fingerprint = fingerprint
        self.client = client
        self.decide = decide
        self.first = first
        self.since = since
        self.told_late = False


class OnceEverywhere(Generic[A]):
    """Decides each key once among all workers of an installation; runs on one event loop."""

    def __init__(
        self,
        claims: Claims,
        presence: Presence,
        digests: KeyDigests,
        retell: Retell[A],
        *,
        timer: Callable[[], float],
        clock: Clock,
        replayed: Callable[[], None] = lambda: None,
        largest_backlog: int = LARGEST_BACKLOG,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._claims = claims
        self._presence = presence
        self._digests = digests
        self._retell = retell
        self._timer = timer
        self._clock = clock
        self._replayed = replayed
        self._largest_backlog = largest_backlog
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._claiming = Claiming(claims, presence, clock=clock)
        self._replays: Replays[A] = Replays(timer=timer)
        self._pending: set[_Asked[A]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._following: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Semaphore(_LOOKING_AT_ONCE)
        self._seen_dead: dict[str, float] = {}

    def ask(self, client: str, key: str, body: bytes, reply: Reply[A], decide: Decide[A]) -> bool:
        """See `Once.ask`; what others decided is told to `replayed` when it is known."""
        place = self._digests.key(client, key)
        fingerprint = self._digests.fingerprint(place, body)
        first = self._replays.first(place, fingerprint, reply)
        if first is None:
            return True
        if len(self._pending) + len(self._following) >= self._largest_backlog:
            self._replays.drop(place)
            raise Overloaded("more decisions are asked for than the disk takes", hint="try again in a second")
        self._claim(_Asked(place, fingerprint, client, decide, first, self._timer()))
        return False

    async def drained(self) -> None:
        """Wait until everything asked for is decided or told."""
        while self._pending or self._following:
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def close(self) -> None:
        """Write what became of every claim; call it when everything handed to the journal is durable."""
        if self._watch is not None:
            self._watch.cancel()
        await self._claiming.close()

    # -- claiming, and deciding under a claim

    def _claim(self, asked: _Asked[A]) -> None:
        moment = self._clock()
        decision_id = new_id("dec", moment)
        claim = Claim(asked.key, asked.fingerprint, decision_id, NOBODY, settled=False, expires=expiry(moment))
        self._pending.add(asked)
        if self._watch is None:
            self._watch = self._loop.call_later(self._deadline, self._give_up)
        self._claiming.claim(claim, lambda ours, obstacle: self._claimed(asked, ours, obstacle))

    def _claimed(self, asked: _Asked[A], ours: Claim, obstacle: Claim | AboveboardError | None) -> None:
        self._pending.discard(asked)
        if obstacle is None:
            self._decide(asked, ours)
        elif isinstance(obstacle, AboveboardError):
            asked.first(obstacle)
        elif obstacle.fingerprint != asked.fingerprint:
            asked.first(reused())
        else:
            following = self._loop.create_task(self._follow(asked, obstacle))
            self._following.add(following)
            following.add_done_callback(self._following.discard)

    def _decide(self, asked: _Asked[A], ours: Claim) -> None:
        def settle(answer: A | AboveboardError) -> None:
            if not isinstance(answer, AboveboardError):
                self._claiming.mark(Mark.SETTLED, ours)
            elif not isinstance(answer, Unconfirmed):
                # Whether the disk has it after all, the log will tell whoever asks next.
                self._claiming.mark(Mark.GIVEN_UP, ours)
            asked.first(answer)

        def refuse(error: AboveboardError) -> None:
            # Not before the key is free, so that the client can use it for what it sends instead, anywhere.
            self._claiming.mark(Mark.RELEASED, ours, lambda: asked.first(error))

        _attempt(asked.decide, ours.decision_id, settle, refuse)

    def _give_up(self) -> None:
        """Tell those whose claim has waited too long for the disk; it is decided yet, and can be asked for."""
        self._watch = None
        late = self._timer() - self._deadline
        next_one: float | None = None
        for asked in list(self._pending):
            if asked.since > late:
                next_one = asked.since if next_one is None else min(next_one, asked.since)
            elif not asked.told_late:
                asked.told_late = True
                asked.first(_unconfirmed())
        if next_one is not None:
            self._watch = self._loop.call_later(max(next_one - late, 0.001), self._give_up)

    # -- what somebody else has claimed

    async def _follow(self, asked: _Asked[A], found: Claim) -> None:
        try:
            await self._resolve(asked, found)
        except AboveboardError as error:
            if isinstance(error, Unconfirmed):
                self._replays.drop(asked.key)  # it is not settled here: whoever asks again looks again
            asked.first(error)
        except Exception:  # noqa: BLE001  nobody may be left waiting
            _log.exception("unforeseen fault")
            asked.first(Unforeseen("the server made a mistake"))

    async def _resolve(self, asked: _Asked[A], found: Claim) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            if found.fingerprint != asked.fingerprint:
                raise reused()
            if found.settled or await self._is_dead(found.owner):
                async with self._looking:
                    answer = await asyncio.to_thread(self._retell, found.decision_id, asked.client)
                if answer is not None:
                    if not found.settled:
                        self._claiming.mark(Mark.SETTLED, found)
                    self._replayed()
                    asked.first(answer)
                    return
                if found.settled:
                    raise Erased("this key was decided, and the person it was about has been erased since")
                ours = await asyncio.to_thread(self._take_over, found)
                if ours is not None:
                    self._decide(asked, ours)
                    return
            elif self._timer() - asked.since >= self._deadline:
                raise _unconfirmed()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            standing = await asyncio.to_thread(self._claims.find, asked.key, self._clock())
            if standing is None:  # it came to nothing there
                self._claim(asked)
                return
            found = standing

    async def _is_dead(self, owner: str) -> bool:
        if owner == NOBODY:
            return True
        if await asyncio.to_thread(self._presence.alive, owner):
            self._seen_dead.pop(owner, None)
            return False
        now = self._timer()
        return now - self._seen_dead.setdefault(owner, now) >= self._presence.grace

    def _take_over(self, found: Claim) -> Claim | None:
        moment = self._clock()
        owner, decision_id = self._presence.renewed(), new_id("dec", moment)
        ours = found._replace(decision_id=decision_id, owner=owner, expires=expiry(moment))
        return ours if self._claims.take_over(found, ours) else None


def reused() -> IdempotencyKeyReused:
    """Return the refusal of a key that came with another request before."""
    return IdempotencyKeyReused(
        "this idempotency key came with another request before", hint="use a new key for a new request"
    )


def _unconfirmed() -> Unconfirmed:
    return Unconfirmed(
        "the decision under this key is not confirmed yet",
        hint="ask again, with the same idempotency key: the same decision is answered, once",
    )


def _attempt(
    decide: Decide[A], decision_id: str, settle: Reply[A], refuse: Callable[[AboveboardError], None]
) -> None:
    """Decide; give what is raised to `refuse`, for there is no caller any more who could be told."""
    try:
        decide(decision_id, settle)
    except AboveboardError as error:
        refuse(error)
    except Exception:  # noqa: BLE001  nobody may be left waiting
        _log.exception("unforeseen fault")
        refuse(Unforeseen("the server made a mistake"))
