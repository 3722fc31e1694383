"""The collector: outcomes from a topic into the log, held against the same contract as `POST /v1/outcomes`.

A batch is done once each of its messages is durable: as an outcome in the log, or, where it is none, in the topic of
the rejected with the code of its problem. Only then are its offsets committed, so that a crash gives duplicates;
those are recognised by what the log says about the decision already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from aboveboard.audit import AuditLog, events
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError, NotFound, RequestRefused
from aboveboard.serving.outcomes import OutcomeReport, parse_outcome
from aboveboard.serving.refusals import TooLarge
from aboveboard.serving.requests import LARGEST_BODY
from aboveboard.streaming.cloudevent import Message
from aboveboard.streaming.meters import CollectorMeters

PURPOSE: Final = "joining an outcome"
"""Why decisions are looked at; logged once for each batch."""
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
        self._log = log
        self._reject = reject
        self._actor = actor
        self._clock = clock
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
        recorded = known = 0
        if reports:
            with self._log.turn("outcomes"):  # a server that shares the log may hear the same
                new, known = self._joined(reports, rejected)
                self._log.append_all(new)
            recorded = len(new)
        if rejected:
            self._reject([rejection(one) for one in rejected])
        self._meters.took(recorded, known, [one.error.code for one in rejected])

    def _joined(
        self, reports: Sequence[tuple[Received, OutcomeReport]], rejected: list[Rejected]
    ) -> tuple[list[events.OutcomeRecorded], int]:
        """Return the outcomes that are new, joined to their decisions, and how many were known already."""
        self._log.take_in()  # decisions and outcomes that are durable and not in the index yet
        ids = list(dict.fromkeys(report.decision_id for _, report in reports))
        histories = self._log.histories(ids, actor=self._actor, purpose=PURPOSE)
        seen = {
            (item.event.decision_id, item.event.label, item.event.observed)
            for told in histories.values()
            for item in told
            if isinstance(item.event, events.OutcomeRecorded)
        }
        new = []
        known = 0
        moment = timestamp(self._clock())
        for message, report in reports:
            told = histories.get(report.decision_id)
            decision = told[0].event if told else None
            if not isinstance(decision, events.Decision):
                rejected.append(Rejected(message, NotFound("no decision of that id")))
                continue
            outcome = (report.decision_id, report.label, report.observed)
            if outcome in seen:
                known += 1
                continue
            seen.add(outcome)
            new.append(
                events.OutcomeRecorded(
                    time=moment,
                    decision_id=report.decision_id,
                    subject=decision.subject,
                    label=report.label,
                    observed=report.observed,
                    retention=decision.retention,
                )
            )
        return new, known


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
