from __future__ import annotations

import threading

import pytest

from aboveboard.serving.shared_work import SharedWork


def test_those_who_wait_share_the_next_round() -> None:
    begun, going = threading.Semaphore(0), threading.Semaphore(0)
    rounds: list[int] = []

    def work() -> None:
        rounds.append(1)
        begun.release()
        going.acquire()

    shared = SharedWork(work)
    first = threading.Thread(target=shared)
    first.start()
    begun.acquire()
    others = [threading.Thread(target=shared) for _ in range(5)]
    for thread in others:
        thread.start()
    while sum(thread.is_alive() for thread in others) < 5 or len(shared._changed._waiters) < 5:  # type: ignore[attr-defined]
        pass
    going.release()
    begun.acquire()
    going.release()
    for thread in (first, *others):
        thread.join()
    assert len(rounds) == 2


def test_one_who_fails_tells_it_and_the_next_tries_again() -> None:
    failures = [OSError("disk")]

    def work() -> None:
        if failures:
            raise failures.pop()

    shared = SharedWork(work)
    with pytest.raises(OSError, match="disk"):
        shared()
    shared()
