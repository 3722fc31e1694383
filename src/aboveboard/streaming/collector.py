"""The collector: outcomes from a topic into the log, held against the same contract as `POST /v1/outcomes`.

A batch is done once each of its messages is durable: as an outcome in the log, or, where it is none, in the topic of
the rejected with the code of its problem. Only then are its offsets committed, so that a crash gives duplicates;
those are recognised by what the log says about the decision already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from aboveboard.audit import AuditLog
from aboveboard.clock import Clock
from aboveboard.errors import AboveboardError, NotFound, RequestRefused
from aboveboard.serving.joining import Asked, Joining, Told
from aboveboard.serving.outcomes import OutcomeReport, parse_outcome
from aboveboard.serving.refusals import TooLarge
from aboveboard.serving.requests import LARGEST_BODY
from aboveboard.streaming.cloudevent import Message
from aboveboard.streaming.meters import CollectorMeters

LARGEST_REJECTED: Final = 900_000
"""Bytes of key and value: clients and brokers take a million by default, headers included."""


class Received(NamedTuple):
    """One message of the topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Rejected(NamedTuple):
    """A message that is no outcome, and why."""

    message: Received
    error: AboveboardError


class Collector:
    """Takes batches of messages into one log."""

    def __init__(
        self,
        log: AuditLog,
        reject: Callable[[Sequence[Message]], None],
        *,
        actor: str,
        clock: Clock,
        meters: CollectorMeters,
    ) -> None:
        self._joining = Joining(log, clock=clock)
        self._reject = reject
        self._actor = actor
        self._meters = meters

    def take(self, messages: Sequence[Received]) -> None:
        """Return once every message is durable, somewhere. Raises `StorageFailed` and its like: try again then."""
        rejected: list[Rejected] = []
        reports: list[tuple[Received, OutcomeReport]] = []
        for message in messages:
            try:
                reports.append((message, _parsed(message)))
            except AboveboardError as error:
                rejected.append(Rejected(message, error))
        told = self._joining.round([Asked(report, self._actor) for _, report in reports]) if reports else []
        new: list[bool] = []
        for (message, _), result in zip(reports, told, strict=True):
            if isinstance(result, Told):
                new.append(result.new)
            elif isinstance(result, NotFound | RequestRefused):
                rejected.append(Rejected(message, result))
            else:
                raise result
        if rejected:
            self._reject([rejection(one) for one in rejected])
        self._meters.took(sum(new), len(new) - sum(new), [one.error.code for one in rejected])


def rejection(one: Rejected) -> Message:
    """Return a message for the topic of the rejected: as it came, with where it was and its problem as headers.

    One that with the headers would be larger than brokers take is cut, and has its former size as a header, too.
    """
    message, error = one
    key, value = message.key or b"", message.value or b""
    headers = {
        "problem": error.code,
        "detail": error.message,
        "topic": message.topic,
        "partition": str(message.partition),
        "offset": str(message.offset),
    }
    if (size := len(key) + len(value)) > LARGEST_REJECTED:
        headers["size"] = str(size)
        key = key[:LARGEST_REJECTED]
        value = value[: LARGEST_REJECTED - len(key)]
    return Message(key, value, [(name, text.encode()) for name, text in headers.items()])


def _parsed(message: Received) -> OutcomeReport:
    if message.value is None:
        raise RequestRefused("the message has no value")
    if len(message.value) > LARGEST_BODY:
        raise TooLarge("the message is too large")
    return parse_outcome(message.value)
