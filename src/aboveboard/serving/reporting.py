"""Outcomes over HTTP: what became of a decision, told when it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aboveboard.audit import events
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError
from aboveboard.serving.access import Access, Role
from aboveboard.serving.exchange import client_of, json_response, whole_body
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.outcomes import parse_outcome
from aboveboard.serving.recorder import Recorder
from aboveboard.serving.records import Records


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

    async def outcome(self, request: Request) -> Response:
        """Record what became of a decision."""
        client = client_of(request, self._access, Role.DECIDE)
        report = parse_outcome(await whole_body(request))
        moment = self._clock()
        decision = await run_in_threadpool(self._records.read, report.decision_id, client.name, "joining an outcome")
        settled: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
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
        return json_response(
            {"decision_id": report.decision_id, "label": report.label, "receipt": result.as_dict()}, status=201
        )
