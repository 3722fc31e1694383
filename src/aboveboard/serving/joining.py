"""Outcomes joined to their decisions a round at a time: what is slow about one is done once for all of a round.

Bringing the log's index up to date and noting the access cost several syncs of the disk, for one outcome as for a
thousand. One round is at work at a time among all processes that share the log, and sees what those before it have
recorded: the same outcome told twice, at two workers at the same moment, is recorded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from aboveboard.audit import Acknowledgement, AuditLog, events
from aboveboard.audit.reading import Recorded
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError, NotFound
from aboveboard.serving.outcomes import OutcomeReport, check_day, told_before

PURPOSE: Final = "joining an outcome"
"""Why decisions are looked at; logged once for each client and round."""
AT_ONCE: Final = 256
"""Outcomes handed to the journal together: decisions wait behind them for some milliseconds, not longer."""


class Asked(NamedTuple):
    """An outcome, and the client who tells it."""

    report: OutcomeReport
    actor: str


class Told(NamedTuple):
    """An outcome that stands in the log."""

    receipt: Acknowledgement
    new: bool


Result = Told | AboveboardError


class Joining:
    """Records outcomes in one log. Its method blocks: call it off the event loop."""

    def __init__(self, log: AuditLog, *, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def round(self, asked: Sequence[Asked]) -> list[Result]:
        """Record the outcomes that are new, and return what came of each, in their order.

        Each gets a `NotFound` or `RequestRefused` of its own. What keeps all of them out is raised: `StorageFailed`,
        `NotVerified`.
        """
        with self._log.turn("outcomes"):
            self._log.take_in()
            return self._joined(asked, self._histories(asked), self._clock())

    def _histories(self, asked: Sequence[Asked]) -> dict[str, list[Recorded]]:
        wanted: dict[str, list[str]] = {}
        for report, actor in asked:
            wanted.setdefault(actor, []).append(report.decision_id)
        found: dict[str, list[Recorded]] = {}
        for actor, decision_ids in wanted.items():
            found |= self._log.histories(decision_ids, actor=actor, purpose=PURPOSE)
        return found

    def _joined(self, asked: Sequence[Asked], histories: dict[str, list[Recorded]], moment: datetime) -> list[Result]:
        results: list[Result | None] = [None] * len(asked)
        first: dict[OutcomeReport, int] = {}
        new: list[tuple[int, events.OutcomeRecorded]] = []
        for place, (report, _) in enumerate(asked):
            if first.setdefault(report, place) != place:
                continue
            try:
                recorded = histories.get(report.decision_id)
                if recorded is None:
                    raise NotFound("no decision of that id", hint="the id is in the answer to POST /v1/decisions")
                decision = recorded[0].event
                assert isinstance(decision, events.Decision)  # noqa: S101  a history begins with its decision
                check_day(report, datetime.fromisoformat(decision.time), moment)
            except AboveboardError as error:
                results[place] = error
                continue
            if (before := told_before(report, recorded)) is not None:
                results[place] = Told(before, new=False)
                continue
            event = events.OutcomeRecorded(
                time=timestamp(moment),
                decision_id=report.decision_id,
                subject=decision.subject,
                label=report.label,
                observed=report.observed,
                retention=decision.retention,
            )
            new.append((place, event))
        for place, result in self._recorded(new):
            results[place] = result
        return [
            _same(results[first[report]], again=first[report] != place) for place, (report, _) in enumerate(asked)
        ]

    def _recorded(self, new: Sequence[tuple[int, events.OutcomeRecorded]]) -> Iterator[tuple[int, Result]]:
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            try:
                receipts = self._log.append_all([event for _, event in part])
            except AboveboardError as error:
                # Some of them may be in the log; told again, they are found there.
                yield from ((place, error) for place, _ in part)
            else:
                for (place, _), receipt in zip(part, receipts, strict=True):
                    yield place, Told(receipt, new=True)


def _same(result: Result | None, *, again: bool) -> Result:
    """Return what came of an outcome, to whoever told it first in a round or again."""
    assert result is not None  # noqa: S101  every outcome that is the first of its kind has one
    return Told(result.receipt, new=False) if again and isinstance(result, Told) else result
