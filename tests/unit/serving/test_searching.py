from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.errors import AboveboardError
from aboveboard.models import Model
from aboveboard.models.recourse import RecourseSearch
from aboveboard.serving.alternatives import NOT_IN_TIME, Alternatives, alternatives
from aboveboard.serving.decide import decide
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.searching import Searching

Found = Alternatives | AboveboardError


@pytest.fixture
def row(model: Model, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return next(row for row in rows if decide(model, row, locale="en").reasons)


def told(searching: Searching, deployment: Deployment, row: NDArray[np.float64]) -> asyncio.Future[Found]:
    future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
    searching.ask(deployment, row, "de", future.set_result)  # a second call would raise
    return future


def after(seconds: float, steps: int) -> Callable[[], float]:
    """Return a timer that jumps once it has been asked so often."""
    asked = 0

    def timer() -> float:
        nonlocal asked
        asked += 1
        return 0.0 if asked <= steps else seconds

    return timer


def test_who_asks_is_told_what_the_notice_says(changeable: Deployment, row: NDArray[np.float64]) -> None:
    async def ask() -> list[Found]:
        searching = Searching(timer=time.perf_counter, seconds=30)
        asked = [told(searching, changeable, row) for _ in range(3)]
        await searching.lull()
        assert all(future.done() for future in asked)
        await searching.close()
        return [future.result() for future in asked]

    assert asyncio.run(ask()) == [alternatives(changeable, row, "de")] * 3


@pytest.mark.parametrize("steps", [1, 4])
def test_a_search_that_is_out_of_time_says_so(changeable: Deployment, row: NDArray[np.float64], steps: int) -> None:
    async def ask() -> Found:
        searching = Searching(timer=after(31, steps), seconds=30)
        future = told(searching, changeable, row)
        await searching.close()
        return future.result()

    assert asyncio.run(ask()) == NOT_IN_TIME


def test_the_loop_answers_in_time_also_where_a_step_does_not_end(
    changeable: Deployment, row: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(RecourseSearch, "recourses", lambda *_: release.wait(30) and [])

    async def ask() -> Found:
        searching = Searching(timer=time.perf_counter, seconds=0.01)
        future = told(searching, changeable, row)
        found = await future
        assert not release.is_set()
        release.set()  # what is found later is told to nobody
        await searching.close()
        await asyncio.sleep(0.05)
        return found

    assert asyncio.run(ask()) == NOT_IN_TIME


def test_a_fault_is_told_and_the_next_search_goes_on(
    changeable: Deployment, row: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> tuple[Found, Found]:
        searching = Searching(timer=time.perf_counter, seconds=30)
        with monkeypatch.context() as patched:
            patched.setattr(RecourseSearch, "recourses", lambda *_: 1 / 0)
            first = await told(searching, changeable, row)
        second = await told(searching, changeable, row)
        await searching.close()
        return first, second

    first, second = asyncio.run(ask())
    assert isinstance(first, AboveboardError)
    assert (first.code, str(first)) == ("internal", "the server made a mistake")
    assert second == alternatives(changeable, row, "de")
