"""Outcomes over HTTP: what became of decisions, told when it is known, one by one or in a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aboveboard.errors import AboveboardError
from aboveboard.serving.access import Access, Role
from aboveboard.serving.exchange import client_of, json_response, whole_body
from aboveboard.serving.http import refuse
from aboveboard.serving.joining import Asked, Joining, Result
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.outcomes import (
    OutcomeAnswer,
    OutcomeReport,
    OutcomeResult,
    parse_outcome,
    parse_outcomes,
)
from aboveboard.serving.problems import ProblemDocument

LARGEST_ROUND: Final = 1000
"""Outcomes in one round: who tells one waits for no more of them than that."""


class Reporting:
    """The handlers of outcomes. What comes in while a round is at work is the next round."""

    def __init__(self, *, joining: Joining, metrics: Metrics, access: Access) -> None:
        self._joining = joining
        self._metrics = metrics
        self._access = access
        self._waiting: list[tuple[Asked, asyncio.Future[Result]]] = []
        self._at_work: asyncio.Task[None] | None = None

    async def outcome(self, request: Request) -> Response:
        """Record what became of a decision: 201, or 200 with the first receipt where the same was told before."""
        client = client_of(request, self._access, Role.DECIDE)
        report = parse_outcome(await whole_body(request))
        (result,) = await self._told([report], client.name)
        if isinstance(result, AboveboardError):
            raise result
        answer = OutcomeAnswer(report.decision_id, report.label, result.receipt)
        return json_response(answer, status=201 if result.new else 200)

    async def batch(self, request: Request) -> Response:
        """Record what became of many decisions; one that is refused has its problem in its place."""
        client = client_of(request, self._access, Role.DECIDE)
        reports = await run_in_threadpool(parse_outcomes, await whole_body(request))
        results = iter(await self._told([r for r in reports if isinstance(r, OutcomeReport)], client.name))
        answers = [
            self._answer(report, next(results)) if isinstance(report, OutcomeReport) else self._refused(report)
            for report in reports
        ]
        return json_response({"answers": answers})

    def _answer(self, report: OutcomeReport, result: Result) -> OutcomeResult | ProblemDocument:
        if isinstance(result, AboveboardError):
            return self._refused(result)
        return OutcomeResult(report.decision_id, report.label, result.receipt, 201 if result.new else 200)

    def _refused(self, error: AboveboardError) -> ProblemDocument:
        return refuse(error, self._metrics)

    async def _told(self, reports: Sequence[OutcomeReport], actor: str) -> list[Result]:
        """Return what came of each report. A client that hangs up does not stop it."""
        loop = asyncio.get_running_loop()
        waiting: list[tuple[Asked, asyncio.Future[Result]]] = [
            (Asked(report, actor), loop.create_future()) for report in reports
        ]
        self._waiting += waiting
        if self._at_work is None:
            self._at_work = asyncio.create_task(self._work())
        return await asyncio.gather(*(future for _, future in waiting))

    async def _work(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:LARGEST_ROUND], self._waiting[LARGEST_ROUND:]
                await self._round(taken)
        finally:
            self._at_work = None

    async def _round(self, taken: Sequence[tuple[Asked, asyncio.Future[Result]]]) -> None:
        try:
            results = await run_in_threadpool(self._joining.round, [asked for asked, _ in taken])
        except Exception as error:  # noqa: BLE001  it is raised again where somebody waits for it
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        outcomes = self._metrics.outcomes
        for (asked, future), result in zip(taken, results, strict=True):
            if not isinstance(result, AboveboardError) and result.new:
                outcomes[asked.report.label] = outcomes.get(asked.report.label, 0) + 1
            if not future.done():
                future.set_result(result)
