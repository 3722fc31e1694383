"""A keeper of the log that does not end, because its disk or database hangs, does not keep the server from ending."""

from __future__ import annotations

import logging
import multiprocessing
import time
from functools import partial
from typing import Any

import pytest

from aboveboard.serving import keeper
from aboveboard.serving.keeper import Keeper


def test_one_that_hangs_is_killed_in_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "LAST_SECONDS", 0.5)
    hangs: Any = partial(time.sleep, 600)  # where it should open the log
    with caplog.at_level(logging.ERROR, logger="aboveboard.serving"), Keeper(hangs, interval=0.1) as started:
        started.start()
        while not multiprocessing.active_children():
            time.sleep(0.01)
    assert multiprocessing.active_children() == []
    assert ["the log keeper does not end" in record.message for record in caplog.records] == [True]
