"""What is held about a decision, for who may know it: the record, the notice to the person, the receipt."""

from __future__ import annotations

import threading

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aboveboard.audit import AuditLog
from aboveboard.errors import NotFound, NotVerified, RequestRefused
from aboveboard.serving.access import Access, Role
from aboveboard.serving.cards import holds_card_number
from aboveboard.serving.control import TrackControl
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.serving.exchange import client_of, decision_id_of, json_response
from aboveboard.serving.notice import notice_page, write_notice
from aboveboard.serving.presentation import NOT_KEPT, PAGE, prefers_html
from aboveboard.serving.records import Records, decision_of
from aboveboard.serving.refusals import CardNumber
from aboveboard.serving.requests import LOCALE
from aboveboard.serving.review_history import last_word


class Reading:
    """The handlers that read one decision."""

    def __init__(self, *, log: AuditLog, records: Records, control: TrackControl, access: Access) -> None:
        self._log = log
        self._records = records
        self._control = control
        self._access = access
        self._former: Deployment | None = None
        """The release out of service that was last asked for; who writes notices asks for one after the other."""
        self._turn = threading.Lock()

    async def decision(self, request: Request) -> Response:
        """Answer one decision with what it was made from; that it was read is logged."""
        client = client_of(request, self._access, Role.READ)
        decision_id = decision_id_of(request)
        event = await run_in_threadpool(self._records.read, decision_id, client.name, purpose_of(request))
        return json_response(event)

    async def notice(self, request: Request) -> Response:
        """Answer what the person concerned is told about an adverse decision, as JSON or as a page to print."""
        client = client_of(request, self._access, Role.READ)
        decision_id, locale = decision_id_of(request), request.query_params.get("locale", "en")
        if LOCALE.fullmatch(locale) is None:
            raise RequestRefused("locale is not a BCP 47 language tag", hint="for example en, de-AT or zh")
        recorded = await run_in_threadpool(
            self._records.history, decision_id, client.name, "notice to the person concerned"
        )
        event = decision_of(recorded)
        deployment = await run_in_threadpool(self._deployment, event.release)
        notice = await run_in_threadpool(write_notice, event, deployment, locale, last_word(recorded))
        language = {"content-language": notice.language}
        if prefers_html(request.headers.get("accept", "")):
            page = await run_in_threadpool(notice_page, notice)
            return Response(page, media_type="text/html", headers={**PAGE, **language})
        return json_response(notice, headers=language)

    async def receipt(self, request: Request) -> Response:
        """Answer the receipt of a decision: anyone can verify it, with the log's public key, without this server."""
        client = client_of(request, self._access, Role.READ)  # the whole record is in it
        receipt = await run_in_threadpool(
            self._log.receipt,
            decision_id_of(request),
            actor=client.name,
            purpose=_fit(request.query_params.get("purpose", "receipt for the client")[:200]),
        )
        return Response(receipt.to_json(), media_type="application/json", headers=NOT_KEPT)

    def _deployment(self, release: str) -> Deployment:
        """Return the release that decided, in service or not: a person is owed reasons whatever became of it since.

        Blocks. Raises `NotFound` where it is not here, or not whole.
        """
        for deployment in self._control.tracks.deployments():
            if deployment.digest == release:
                return deployment
        with self._turn:
            if self._former is None or self._former.digest != release:
                try:
                    self._former = deploy(release, self._control.files_of(release))
                except (NotFound, NotVerified) as error:
                    raise NotFound(
                        "the release that decided is not here any more",
                        hint=f"fetch it from where it is published: aboveboard release fetch {release}",
                    ) from error
            return self._former


def purpose_of(request: Request) -> str:
    """Return what a decision is read for. Raises `RequestRefused` where the request does not say it."""
    purpose = request.query_params.get("purpose", "").strip()
    if not purpose or len(purpose) > 200:
        raise RequestRefused(
            "a purpose is needed to read what is held about a person",
            hint="add ?purpose=…; it is recorded with the access (GDPR art. 5(1)(b))",
        )
    return _fit(purpose)


def _fit(purpose: str) -> str:
    """Return a purpose that may be written down. Raises `CardNumber`."""
    if holds_card_number(purpose):
        raise CardNumber("the purpose holds a payment card number", hint="name the case, not the card")
    return purpose
