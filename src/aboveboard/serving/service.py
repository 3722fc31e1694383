"""The decision path, from the bytes of a request to its answer; HTTP is someone else's business."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from aboveboard.audit import Acknowledgement, events
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError
from aboveboard.ids import new_id, subject_token
from aboveboard.models import Reason
from aboveboard.serving.alternatives import Alternatives, as_recorded
from aboveboard.serving.decide import decide, score_of
from aboveboard.serving.idempotency import Once, Reply, Unforeseen
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.recorder import Unconfirmed
from aboveboard.serving.requests import DecisionRequest, parse_decision
from aboveboard.serving.searching import Searching
from aboveboard.serving.tracks import SHADOW, Tracks
from aboveboard.serving.untraced import UNTRACED, Trace

DEFAULT_LOCALE: Final = "en"

_log = logging.getLogger("aboveboard.serving")


class StatedReason(msgspec.Struct, frozen=True):
    """One principal reason: a stable code, and the words for the person concerned."""

    code: str
    text: str


class Answer(msgspec.Struct, frozen=True):
    """What a client gets for a decision."""

    decision_id: str
    outcome: str
    score: float
    """Calibrated probability of the favourable outcome."""
    reasons: list[StatedReason]
    """Why the outcome is not favourable, the weightiest first."""
    model: str
    release: str
    track: str
    receipt: Acknowledgement
    """Where the decision stands in the journal, and the commitment to its record."""
    alternatives: Alternatives | UnsetType = UNSET
    """What would have led to the favourable outcome instead, where that was asked for and the outcome is another."""


class Journal(Protocol):
    """Where a decision is made durable before it is answered."""

    def admit(self) -> None:
        """Raise `Overloaded` when no more should be taken on."""
        ...

    def submit(self, event: events.Event, settled: Callable[[Acknowledgement | AboveboardError], None]) -> None:
        """Take an event; call `settled` once when it is durable, or with what prevented it."""
        ...


class Searched(NamedTuple):
    """What was looked for before a decision, because its record says what the client is told."""

    tracks: Tracks
    """Those the search was made with: they may be exchanged meanwhile."""
    read: float
    """When the request had been read."""
    told: Alternatives


class DecisionService:
    """Decides, records, and only then answers. `tracks` may be exchanged at any moment between two requests."""

    def __init__(
        self,
        tracks: Tracks,
        journal: Journal,
        *,
        token_key: bytes,
        clock: Clock,
        timer: Callable[[], float],
        metrics: Metrics,
        once: Once[Answer],
    ) -> None:
        self.tracks = tracks
        self._journal = journal
        self._token_key = token_key
        self._clock = clock
        self._timer = timer
        self._metrics = metrics
        self._once = once
        self._second: tuple[int, str] = (-1, "")
        self.searching = Searching(timer=timer)
        """Looks for what would have led to the favourable outcome instead, for those who ask."""

    def decide(self, body: bytes, reply: Reply[Answer], *, client: str = "", trace: Trace = UNTRACED) -> None:
        """Decide the request in `body` of `client`; call `reply` once with the answer when its record is durable.

        `reply` gets an error instead when the journal failed: then nothing was decided for the client. Raises
        what is wrong with the request, `Overloaded` and `StorageFailed`; then `reply` is never called. A `trace`
        learns when each stage began.
        """
        started = self._timer()
        trace.enter("parse", started)
        self._journal.admit()
        request = parse_decision(body)
        way = self._search if request.recourse else self._decide
        if request.idempotency_key is None:
            way(request, reply, started, trace)
            return

        trace.enter("idempotency")

        def decide_as(decision_id: str, settle: Reply[Answer]) -> None:
            way(request, settle, started, trace, decision_id)

        if self._once.ask(client, request.idempotency_key, body, reply, decide_as):
            self._metrics.replayed += 1

    def _search(
        self,
        request: DecisionRequest,
        reply: Reply[Answer],
        started: float,
        trace: Trace,
        decision_id: str | None = None,
    ) -> None:
        """Look for what would lead to the favourable outcome, if the outcome will be another, and decide then."""
        tracks = self.tracks
        _, deployment = tracks.choose(subject_token(self._token_key, request.subject))
        deployment.jurisdiction(request.jurisdiction)
        deployment.grouping.groups_of(request.cohort)
        row = deployment.model.encoding.encode(request.features)
        if score_of(deployment.model, row) >= deployment.model.approve_at:
            self._decide(request, reply, started, trace, decision_id)
            return
        read = self._timer()
        trace.enter("alternatives", read)

        def found(told: Alternatives | AboveboardError) -> None:
            if isinstance(told, AboveboardError):
                reply(told)
                return
            try:
                self._decide(request, reply, started, trace, decision_id, Searched(tracks, read, told))
            except Exception:  # noqa: BLE001  there is no caller any more who could be told
                _log.exception("unforeseen fault", extra=trace.ids)
                reply(Unforeseen("the server made a mistake"))

        self.searching.ask(deployment, row, request.locale or DEFAULT_LOCALE, found)

    def _decide(
        self,
        request: DecisionRequest,
        reply: Reply[Answer],
        started: float,
        trace: Trace,
        decision_id: str | None = None,
        searched: Searched | None = None,
    ) -> None:
        timer, metrics = self._timer, self._metrics
        tracks = self.tracks if searched is None else searched.tracks
        trace.enter("route")
        subject = subject_token(self._token_key, request.subject)
        track, deployment = tracks.choose(subject)
        trace.enter("contract")
        jurisdiction = deployment.jurisdiction(request.jurisdiction)
        groups = deployment.grouping.groups_of(request.cohort)
        row = deployment.model.encoding.encode(request.features)
        read = timer() if searched is None else searched.read
        locale = request.locale or DEFAULT_LOCALE
        trace.enter("score")
        decision = decide(deployment.model, row, locale=locale, explaining=trace.explaining)
        decided = timer()
        trace.enter("journal", decided)
        moment = self._clock()
        decision_id = decision_id or new_id("dec", moment)
        counts = metrics.of_release(deployment.name, deployment.digest, track, deployment.model.encoding)

        def settled(result: Acknowledgement | AboveboardError) -> None:
            nonlocal reply
            if isinstance(result, AboveboardError):
                reply(result)
                if isinstance(result, Unconfirmed) and request.idempotency_key is None:
                    # It may become durable yet. Who asked has been told to ask again, and gets no second answer.
                    reply = _unheard
                return
            counts.decided(decision.outcome, decision.score, deployment.attributes, groups)
            counts.looked_like(row)
            if searched is not None:
                metrics.searches[searched.told.in_time] += 1
            durable = timer()
            metrics.timed(started, read, decided, durable)
            trace.leave(durable)
            reply(
                Answer(
                    decision_id,
                    decision.outcome,
                    decision.score,
                    [_stated(reason) for reason in decision.reasons],
                    deployment.name,
                    deployment.digest,
                    track,
                    result,
                    UNSET if searched is None else searched.told,
                )
            )

        self._journal.submit(
            events.Decision(
                time=self._timestamp(moment),
                decision_id=decision_id,
                subject=subject,
                model=deployment.name,
                release=deployment.digest,
                track=track,
                jurisdiction=jurisdiction,
                locale=locale,
                features=request.features,
                cohort=deployment.grouping.known(groups),
                score=decision.score,
                outcome=decision.outcome,
                reasons=[reason.code for reason in decision.reasons],
                idempotency_key=request.idempotency_key,
                retention=deployment.retention,
                alternatives=UNSET if searched is None else as_recorded(searched.told),
            ),
            settled,
        )
        for shadow in tracks.shadows:
            # The disk is busy with the decision meanwhile; nobody is answered from here, so nothing is recorded.
            began = timer()
            try:
                shadowed = shadow.model.encoding.encode(request.features)
                score = float(shadow.model.score(shadowed[None, :])[0])
            except AboveboardError as error:  # its contract may be another
                metrics.refuse_shadow(shadow.digest, error.code)
                trace.beside(SHADOW, began, error=error.code, release=shadow.digest)
                continue
            outcome = shadow.model.outcome(score)
            metrics.of_release(shadow.name, shadow.digest, SHADOW).decided(outcome, score, shadow.attributes, groups)
            metrics.compare(shadow.digest, decision.outcome, outcome)
            trace.beside(SHADOW, began, release=shadow.digest, outcome=outcome)

    def _timestamp(self, moment: datetime) -> str:
        """Return what `clock.timestamp` does; the part before the milliseconds is written once a second."""
        second = int(moment.timestamp())
        if second != self._second[0]:
            self._second = (second, timestamp(moment)[:20])
        return f"{self._second[1]}{moment.microsecond // 1000:03d}Z"


def _unheard(answer: Answer | AboveboardError) -> None:
    """Take an answer that comes too late for anybody to hear it; the decision is in the log."""


def _stated(reason: Reason) -> StatedReason:
    return StatedReason(reason.code, reason.text)
