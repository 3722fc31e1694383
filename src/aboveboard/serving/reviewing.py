"""The way of a person's review over HTTP: contest, claim, decide, and what is still to be done."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aboveboard.serving.access import Access, Role
from aboveboard.serving.control import TrackControl
from aboveboard.serving.exchange import client_of, decision_id_of, json_response, whole_body
from aboveboard.serving.requests import decode
from aboveboard.serving.reviews import Contest, Review, Reviews


class Reviewing:
    """The handlers of human review."""

    def __init__(self, *, reviews: Reviews, control: TrackControl, access: Access) -> None:
        self._reviews = reviews
        self._control = control
        self._access = access

    async def contest(self, request: Request) -> Response:
        """Record that the person concerned wants a human to look at a decision."""
        client = client_of(request, self._access, Role.DECIDE)
        contest = decode(await whole_body(request), Contest)
        decision_id = decision_id_of(request)
        acknowledgement = await run_in_threadpool(self._reviews.contest, decision_id, contest, actor=client.name)
        return json_response({"decision_id": decision_id, "receipt": acknowledgement.as_dict()}, status=201)

    async def claim(self, request: Request) -> Response:
        """Reserve a case for half an hour."""
        client = client_of(request, self._access, Role.REVIEW)
        decision_id = decision_id_of(request)
        until = await run_in_threadpool(self._reviews.claim, decision_id, actor=client.name)
        return json_response({"decision_id": decision_id, "claimed_by": client.name, "until": until})

    async def decide(self, request: Request) -> Response:
        """Record what a person decided instead of the model."""
        client = client_of(request, self._access, Role.REVIEW)
        review = decode(await whole_body(request), Review)
        decided = await run_in_threadpool(
            self._reviews.decide,
            decision_id_of(request),
            review,
            self._control.tracks.champion,
            actor=client.name,
        )
        return json_response(decided, status=201)

    async def queue(self, request: Request) -> Response:
        """Answer what waits for a person."""
        client = client_of(request, self._access, Role.REVIEW)
        cases = await run_in_threadpool(self._reviews.queue, self._control.tracks.champion, actor=client.name)
        return json_response({"cases": cases})
