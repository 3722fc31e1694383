"""One decision for each key: one worker, several, dead ones, failing disks; the log and the journal are stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aboveboard.audit import Erased
from aboveboard.clock import system_clock
from aboveboard.errors import AboveboardError, Overloaded, RequestRefused, StorageFailed
from aboveboard.serving import claiming
from aboveboard.serving.claims import Claim, Claims, KeyDigests
from aboveboard.serving.idempotency import OnceEverywhere, OnceHere, Reply
from aboveboard.serving.presence import FilePresence
from aboveboard.serving.recorder import Unconfirmed
from aboveboard.serving.refusals import IdempotencyKeyReused

DIGESTS = KeyDigests(b"\1" * 32, "credit")
Heard = str | AboveboardError


class Log:
    """What is durable, by decision id; and who waits for the disk."""

    def __init__(self) -> None:
        self.decided: dict[str, str] = {}
        self.erased: set[str] = set()
        self.told: list[str] = []

    def retell(self, decision_id: str, client: str) -> str | None:
        self.told.append(decision_id)
        return None if decision_id in self.erased else self.decided.get(decision_id)


class Worker:
    """One worker: decides at once, or when it is told to."""

    def __init__(self, once: OnceEverywhere[str], log: Log) -> None:
        self.once = once
        self.log = log
        self.holding: list[Callable[[], None]] = []
        self.hold = False
        self.fails: AboveboardError | None = None
        self.refuses: Exception | None = None
        self.replayed = 0

    def ask(self, key: str = "k", body: bytes = b"request", client: str = "loans") -> asyncio.Future[Heard]:
        heard: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()

        def decide(decision_id: str, settle: Reply[str]) -> None:
            if self.refuses is not None:
                raise self.refuses

            def journal() -> None:
                if self.fails is not None:
                    settle(self.fails)
                else:
                    self.log.decided[decision_id] = f"answer of {decision_id}"
                    settle(self.log.decided[decision_id])

            if self.hold:
                self.holding.append(journal)
            else:
                journal()

        self.once.ask(client, key, body, lambda answer: None if heard.done() else heard.set_result(answer), decide)
        return heard


@asynccontextmanager
async def worker(
    directory: Path, log: Log, *, deadline: float = 5.0, backlog: int = 100, grace: float = 0.0
) -> AsyncIterator[Worker]:
    claims, presence = Claims.sqlite(directory / "idempotency.sqlite"), FilePresence(directory / "present")
    presence.grace = grace

    def count() -> None:
        made.replayed += 1

    loop = asyncio.get_running_loop()
    once: OnceEverywhere[str] = OnceEverywhere(
        claims,
        presence,
        DIGESTS,
        log.retell,
        timer=loop.time,
        clock=system_clock,
        replayed=count,
        deadline=deadline,
        largest_backlog=backlog,
    )
    made = Worker(once, log)
    try:
        yield made
    finally:
        await once.close()
        presence.end()
        claims.close()


def killed(one: Worker) -> None:
    """End a worker as SIGKILL does: its lock goes, and nothing is written any more."""
    one.once._presence.end()
    one.once._claims.mark = lambda marks: None  # type: ignore[method-assign]
    one.once._presence.end = lambda: None  # type: ignore[method-assign]


async def claimed(one: Worker) -> None:
    while not one.holding:
        await asyncio.sleep(0.001)


def run(test: Callable[[], object]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_the_same_request_anywhere_gets_the_one_answer(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one, worker(tmp_path, log) as other:
            answers = await asyncio.gather(*(each.ask() for each in (one, other) * 20))
            assert set(answers) == set(log.decided.values())
            assert len(log.decided) == 1
            assert one.replayed + other.replayed == 1
        async with worker(tmp_path, log) as later:
            assert await later.ask() == answers[0]
        assert len(log.decided) == 1

    run(body)


def test_a_key_is_the_clients_own_and_goes_with_one_request_everywhere(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one, worker(tmp_path, log) as other:
            first = await one.ask()
            assert isinstance(await other.ask(body=b"another"), IdempotencyKeyReused)
            with pytest.raises(IdempotencyKeyReused):
                one.ask(body=b"another")
            assert await other.ask(client="cards") != first
            assert await other.ask() == first
            assert len(log.decided) == 2

    run(body)


def test_whoever_finds_a_claim_of_the_living_waits_for_it(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one, worker(tmp_path, log) as other:
            one.hold = True
            first = one.ask()
            await claimed(one)
            second = other.ask()
            await asyncio.sleep(0.2)
            assert not second.done()
            one.holding[0]()
            assert await second == await first

    run(body)


def test_waiting_ends_at_the_deadline_and_can_begin_again(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one, worker(tmp_path, log, deadline=0.1) as other:
            one.hold = True
            first = one.ask()
            await claimed(one)
            assert isinstance(await other.ask(), Unconfirmed)
            assert isinstance(await other.ask(), Unconfirmed)
            one.holding[0]()
            await asyncio.sleep(0.1)
            assert await other.ask() == await first

    run(body)


@pytest.mark.parametrize("grace", [0.0, 0.2])
def test_what_the_dead_have_not_decided_is_decided_once(tmp_path: Path, grace: float) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as dead:
            dead.hold = True
            dead.ask()
            await claimed(dead)
            killed(dead)
            async with worker(tmp_path, log, grace=grace) as one, worker(tmp_path, log, grace=grace) as other:
                begun = asyncio.get_running_loop().time()
                answers = await asyncio.gather(*(each.ask() for each in (one, other) * 5))
                assert asyncio.get_running_loop().time() - begun >= grace
                assert set(answers) == set(log.decided.values())
                assert len(log.decided) == 1

    run(body)


def test_what_the_dead_have_decided_is_told(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as dead:
            dead.hold = True
            dead.ask()
            await claimed(dead)
            killed(dead)
            dead.holding[0]()
            async with worker(tmp_path, log) as one:
                assert [await one.ask()] == list(log.decided.values())
            log.told.clear()
            async with worker(tmp_path, log) as other:  # by now it is settled
                assert [await other.ask()] == list(log.decided.values())
            assert log.told == list(log.decided)

    run(body)


def test_an_erased_persons_key_is_answered_with_that(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one:
            await one.ask()
        log.erased |= set(log.decided)
        async with worker(tmp_path, log) as other:
            assert isinstance(await other.ask(), Erased)
            assert isinstance(await other.ask(), Erased)
        assert len(log.decided) == 1

    run(body)


def test_a_refused_request_leaves_its_key_free_for_another(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one, worker(tmp_path, log) as other:
            one.refuses = RequestRefused("no such feature")
            assert isinstance(await one.ask(), RequestRefused)
            assert await other.ask(body=b"mended") in log.decided.values()

    run(body)


def test_a_fault_of_ours_is_told_and_leaves_the_key_free(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one:
            one.refuses = ZeroDivisionError()
            answer = await one.ask()
            assert isinstance(answer, AboveboardError)
            assert answer.code == "internal"
            one.refuses = None
            assert await one.ask() in log.decided.values()

    run(body)
    assert "unforeseen fault" in caplog.text


@pytest.mark.parametrize("was_written", [False, True])
def test_after_the_journal_failed_the_log_is_asked_first(tmp_path: Path, was_written: bool) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one, worker(tmp_path, log) as other:
            one.fails, one.hold = StorageFailed("disk"), True
            first = one.ask()
            await claimed(one)
            one.holding[0]()
            assert isinstance(await first, StorageFailed)
            if was_written:  # the sync failed, and the bytes are there all the same
                log.decided[(await find(other)).decision_id] = "the first answer"
            one.fails, one.hold = None, False
            answers = {await other.ask(), await one.ask()}
            assert answers == set(log.decided.values())
            assert len(answers) == 1
            assert (answers == {"the first answer"}) is was_written

    run(body)


def test_a_late_decision_is_found_under_its_key(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one, worker(tmp_path, log, deadline=0.1) as other:
            one.fails, one.hold = Unconfirmed("late"), True
            first = one.ask()
            await claimed(one)
            one.holding[0]()
            assert isinstance(await first, Unconfirmed)
            assert isinstance(await one.ask(), Unconfirmed)
            assert isinstance(await other.ask(), Unconfirmed)
            one.fails = None
            one.holding[0]()
            assert [await one.ask()] == list(log.decided.values())
            assert [await other.ask()] == list(log.decided.values())

    run(body)


def test_claims_that_fail_are_told_and_nothing_is_decided(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one:
            with one.once._claims.database.writing() as connection:
                connection.exec_driver_sql("ALTER TABLE claim RENAME TO away")
            answers = await asyncio.gather(*(one.ask(key) for key in "abcabc"))
            assert {type(answer) for answer in answers} == {StorageFailed}
            assert log.decided == {}
            with one.once._claims.database.writing() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO claim")
            assert await one.ask("a") in log.decided.values()

    run(body)


def test_a_slow_disk_is_owned_up_to_and_too_many_are_turned_away(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log, deadline=0.2, backlog=10) as one:
            with one.once._claims.database.writing():  # somebody else has it
                waiting = [one.ask(str(number)) for number in range(10)]
                with pytest.raises(Overloaded):
                    one.ask("10")
                again = one.ask("9")
                assert {type(answer) for answer in await asyncio.gather(*waiting, again)} == {Unconfirmed}
                assert log.decided == {}
            await one.once.drained()
            assert len(log.decided) == 10
            assert await one.ask("9") in log.decided.values()
            assert await one.ask("10") in log.decided.values()

    run(body)


def test_what_could_not_be_noted_is_noted_later(tmp_path: Path) -> None:
    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one:
            one.hold = True
            first = one.ask()
            await claimed(one)
            with one.once._claims.database.writing() as connection:
                connection.exec_driver_sql("ALTER TABLE claim RENAME TO away")
            one.holding[0]()
            answer = await first  # it is in the log: nobody waits for the mark
            await asyncio.sleep(0.2)
            with one.once._claims.database.writing() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO claim")
            async with worker(tmp_path, log, deadline=3.0) as other:
                assert await other.ask() == answer
            assert (await find(one)).settled

    run(body)


async def find(one: Worker) -> Claim:
    found = one.once._claims.find(DIGESTS.key("loans", "k"), system_clock())
    assert found is not None
    return found


def test_what_has_expired_goes_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "_UPKEEP_SECONDS", 0.02)

    async def body() -> None:
        log = Log()
        async with worker(tmp_path, log) as one:
            old = Claim(b"k" * 16, b"b" * 16, "dec-1", "gone", settled=True, expires=1)
            one.once._claims.claim([old], datetime.fromtimestamp(0, UTC))
            async with asyncio.timeout(10):
                while one.once._claims.find(old.key, datetime.fromtimestamp(0, UTC)) is not None:
                    await asyncio.sleep(0.01)

    run(body)


def test_one_process_alone_decides_once_too() -> None:
    once: OnceHere[str] = OnceHere(DIGESTS, timer=lambda: 0.0, clock=system_clock)
    heard: list[Heard] = []
    decided: list[str] = []

    def decide(decision_id: str, settle: Reply[str]) -> None:
        decided.append(decision_id)
        settle(f"answer of {decision_id}")

    assert not once.ask("loans", "k", b"request", heard.append, decide)
    assert once.ask("loans", "k", b"request", heard.append, decide)
    assert heard == [f"answer of {decided[0]}"] * 2
    assert len(decided) == 1
