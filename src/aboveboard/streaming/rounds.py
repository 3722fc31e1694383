"""Round after round until told to stop, on after every failure, with longer and longer pauses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from aboveboard.errors import AboveboardError
from aboveboard.streaming.progress import Progress

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0

_log = logging.getLogger("aboveboard.streaming")


def rounds(work: Callable[[], bool], stop: threading.Event, progress: Progress, *, idle: float = 0.5) -> None:
    """Do `work` until `stop`; at once again while it says that there is more, else after `idle` seconds.

    A failure is counted by its code, written down where it is another one than before, and tried again.
    """
    pause, complaint = FIRST_PAUSE_SECONDS, ""
    while not stop.is_set():
        try:
            more = work()
        except AboveboardError as error:
            progress.failed(error.code)
            if error.message != complaint:
                _log.error("%s: %s; trying again", error.code, error.message)
                complaint = error.message
            stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            continue
        if complaint:
            _log.warning("it works again")
        progress.worked()
        pause, complaint = FIRST_PAUSE_SECONDS, ""
        if not more:
            stop.wait(idle)
