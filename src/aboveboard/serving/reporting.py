"""Outcomes over HTTP: what became of a decision, told when it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aboveboard.audit import Acknowledgement, events
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError
from aboveboard.serving.access import Access, Role
from aboveboard.serving.exchange import client_of, json_response, whole_body
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.outcomes import OutcomeAnswer, OutcomeReport, check_day, parse_outcome, told_before
from aboveboard.serving.recorder import Recorder
from aboveboard.serving.records import Records, decision_of


class Told(NamedTuple):
    """An outcome that stands in the log."""

    receipt: Acknowledgement
    new: bool


class Reporting:
    """The handler of outcomes."""

    def __init__(
        self,
        *,
        records: Records,
        recorder: Callable[[], Recorder],
        metrics: Metrics,
        clock: Clock,
        access: Access,
    ) -> None:
        self._records = records
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._access = access
        self._underway: dict[OutcomeReport, asyncio.Task[Told]] = {}

    async def outcome(self, request: Request) -> Response:
        """Record what became of a decision: 201, or 200 with the first receipt where the same was told before."""
        client = client_of(request, self._access, Role.DECIDE)
        report = parse_outcome(await whole_body(request))
        task = self._underway.get(report)
        first = task is None
        if task is None:
            task = self._underway[report] = asyncio.create_task(self._record(report, client.name))
            task.add_done_callback(lambda _: self._underway.pop(report))
        told = await asyncio.shield(task)  # a client that hangs up does not stop it for another
        answer = OutcomeAnswer(report.decision_id, report.label, told.receipt)
        return json_response(answer, status=201 if told.new and first else 200)

    async def _record(self, report: OutcomeReport, actor: str) -> Told:
        moment = self._clock()
        recorded = await run_in_threadpool(self._records.history, report.decision_id, actor, "joining an outcome")
        decision = decision_of(recorded)
        check_day(report, datetime.fromisoformat(decision.time), moment)
        if (before := told_before(report, recorded)) is not None:
            return Told(before, new=False)
        settled: asyncio.Future[Acknowledgement | AboveboardError] = asyncio.get_running_loop().create_future()
        event = events.OutcomeRecorded(
            time=timestamp(moment),
            decision_id=report.decision_id,
            subject=decision.subject,
            label=report.label,
            observed=report.observed,
            retention=decision.retention,
        )
        self._recorder().submit(event, lambda result: None if settled.done() else settled.set_result(result))
        result = await settled
        if isinstance(result, AboveboardError):
            raise result
        self._metrics.outcomes[report.label] = self._metrics.outcomes.get(report.label, 0) + 1
        return Told(result, new=True)
