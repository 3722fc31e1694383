"""The server's own log: one JSON object a line on standard error, with nothing in it about the people decided about.

It is for those who run the server. What the law and auditors need is in the audit log, which is another thing.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec

from aboveboard.clock import timestamp
from aboveboard.errors import AboveboardError

LOGGERS = {
    "aboveboard": logging.WARNING,
    "asyncio": logging.WARNING,
    "uvicorn.error": logging.ERROR,
    "opentelemetry.exporter": logging.ERROR,
    "opentelemetry.sdk": logging.WARNING,
    "opentelemetry.trace": logging.ERROR,
}
"""uvicorn warns of every malformed request, opentelemetry.trace of every malformed header: that is for the client to
know, and would let anyone fill the log. Its exporter warns of each attempt it makes again, before it gives up."""
TRACED = ("trace_id", "span_id")
"""What a record has where it is about a traced request, by the names OpenTelemetry gives them in other formats."""

REPEATED_AFTER_SECONDS = 1.0
MOST_REMEMBERED = 1_000


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object.

    An exception is written as its type and the places it came through. Its message is not: nobody can say that no
    value of a request is in it. Our own errors carry none, and keep theirs.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in (*TRACED, "left_out") if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            if isinstance(error, AboveboardError):
                line["detail"] = error.message
            frames = traceback.extract_tb(error.__traceback__)
            line["at"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        return msgspec.json.encode(line).decode()


class Repetitions(logging.Filter):
    """Lets a message pass once a second, and says the next time how often it came meanwhile.

    While a disk or a database is away, every request fails with the same words: thousands of lines a second help
    nobody, and whoever writes them waits for whoever reads them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        message = record.getMessage(), getattr(record, "trace_id", "")
        since, left_out = self._seen.get(message, (-math.inf, 0))
        if record.created - since < REPEATED_AFTER_SECONDS:
            self._seen[message] = (since, left_out + 1)
            return False
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[message] = (record.created, 0)
        if left_out:
            record.left_out = left_out
        return True


@contextmanager
def logging_to(stream: TextIO) -> Iterator[None]:
    """Write warnings and errors to `stream` while the block runs."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.setLevel(logging.WARNING)
    handler.addFilter(Repetitions())
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name, level in LOGGERS.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).removeHandler(handler)
