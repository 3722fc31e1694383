"""The way of a person's review over HTTP: contest, claim, decide, confirm, and what is still to be done."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aboveboard.serving.access import Access, Role
from aboveboard.serving.cases import Cases, parse_filter
from aboveboard.serving.exchange import client_of, decision_id_of, json_response, whole_body
from aboveboard.serving.reading import purpose_of
from aboveboard.serving.records import Records
from aboveboard.serving.requests import decode
from aboveboard.serving.review_history import ReviewHistory, history_of
from aboveboard.serving.reviews import Confirmation, Contest, Review, Reviews


class Reviewing:
    """The handlers of human review."""

    def __init__(self, *, reviews: Reviews, cases: Cases, records: Records, access: Access) -> None:
        self._reviews = reviews
        self._cases = cases
        self._records = records
        self._access = access

    async def contest(self, request: Request) -> Response:
        """Record that the person concerned wants a human to look at a decision."""
        client = client_of(request, self._access, Role.DECIDE)
        contest = decode(await whole_body(request), Contest)
        decision_id = decision_id_of(request)
        known = None if self._access.open else client.name
        receipt = await run_in_threadpool(
            self._reviews.contest, decision_id, contest, actor=client.name, contested_by=known
        )
        return json_response({"decision_id": decision_id, "receipt": receipt}, status=201)

    async def claim(self, request: Request) -> Response:
        """Reserve a case for half an hour."""
        client = client_of(request, self._access, Role.REVIEW)
        decision_id = decision_id_of(request)
        until, receipt = await run_in_threadpool(self._reviews.claim, decision_id, actor=client.name)
        answer = {"decision_id": decision_id, "claimed_by": client.name, "until": until, "receipt": receipt}
        return json_response(answer)

    async def release(self, request: Request) -> Response:
        """Give a case back before its time is over."""
        client = client_of(request, self._access, Role.REVIEW)
        decision_id = decision_id_of(request)
        receipt = await run_in_threadpool(self._reviews.release, decision_id, actor=client.name)
        return json_response({"decision_id": decision_id, "receipt": receipt})

    async def decide(self, request: Request) -> Response:
        """Record what a person decided instead of the model: 201, or 202 while a second one must agree."""
        client = client_of(request, self._access, Role.REVIEW)
        review = decode(await whole_body(request), Review)
        done = await run_in_threadpool(self._reviews.decide, decision_id_of(request), review, actor=client.name)
        return json_response(done, status=201 if done.state == "decided" else 202)

    async def confirm(self, request: Request) -> Response:
        """Record whether the second of two reviewers agrees."""
        client = client_of(request, self._access, Role.REVIEW)
        confirmation = decode(await whole_body(request), Confirmation)
        done = await run_in_threadpool(
            self._reviews.confirm, decision_id_of(request), confirmation, actor=client.name
        )
        return json_response(done, status=201)

    async def history(self, request: Request) -> Response:
        """Answer the way of a decision, from the model to the last word of a person; the access is logged."""
        client = client_of(request, self._access, Role.REVIEW, Role.READ)
        decision_id = decision_id_of(request)
        told = await run_in_threadpool(self._history, decision_id, client.name, purpose_of(request))
        return json_response(told)

    def _history(self, decision_id: str, actor: str, purpose: str) -> ReviewHistory:
        recorded = self._records.history(decision_id, actor, purpose)
        return history_of(recorded, self._cases.open(decision_id))

    async def queue(self, request: Request) -> Response:
        """Answer one page of what waits for a person."""
        client = client_of(request, self._access, Role.REVIEW)
        wanted = parse_filter(request.query_params.multi_items())
        return json_response(await run_in_threadpool(self._cases.page, wanted, actor=client.name))
