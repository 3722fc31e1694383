from __future__ import annotations

import io
import json
import logging

from aboveboard.errors import StorageFailed
from aboveboard.serving.logs import logging_to

log = logging.getLogger("aboveboard.serving")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_writes_one_object_a_line_from_warnings_up() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        log.info("nothing much")
        log.warning("%s: %s", "overloaded", "first\nsecond")
    log.warning("after the block")
    (line,) = lines(stream)
    assert (line["level"], line["logger"], line["message"]) == (
        "warning",
        "aboveboard.serving",
        "overloaded: first\nsecond",
    )
    assert str(line["time"]).endswith("Z")


def test_an_exception_is_written_without_the_values_in_its_message() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        try:
            int("Jane Doe")
        except ValueError:
            log.exception("unforeseen fault")
        try:
            raise StorageFailed("the disk is full")
        except StorageFailed:
            log.exception("no more")
    first, second = lines(stream)
    assert "Jane" not in stream.getvalue()
    assert first["error"] == "ValueError"
    assert "test_logs.py" in str(first["at"])
    assert second["detail"] == "the disk is full"
