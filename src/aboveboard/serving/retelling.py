"""An answer given again, from the record of its decision: nothing is decided, and nothing but the log is asked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

from msgspec import UNSET

from aboveboard.audit import Acknowledgement, AuditLog, Erased, events
from aboveboard.errors import Conflict, NotFound, NotVerified
from aboveboard.models import Model
from aboveboard.models.reasons import text_for
from aboveboard.release import ReleaseStore
from aboveboard.serving.alternatives import as_told
from aboveboard.serving.deployment import deploy
from aboveboard.serving.service import Answer, StatedReason
from aboveboard.serving.tracks import Tracks

PURPOSE: Final = "the same request again, answered from the log"
_KEPT: Final = 4
"""Models of releases that are out of service, kept for those who ask again."""


class Retelling:
    """Finds decisions in the log and puts their answers together again. Its methods block."""

    def __init__(self, log: AuditLog, store: ReleaseStore, tracks: Callable[[], Tracks]) -> None:
        self._log = log
        self._store = store
        self._tracks = tracks
        self._kept: OrderedDict[str, Model] = OrderedDict()
        self._turn = Lock()

    def answer(self, decision_id: str, client: str) -> Answer | None:
        """Return the answer to a decision, word for word, or None where the log has no such decision.

        The access is logged. Raises `Erased`, `StorageFailed`, and `Conflict` where the words are not to be had.
        """
        try:
            decision, acknowledgement = self._log.decision(decision_id, actor=client or "client", purpose=PURPOSE)
        except Erased:
            raise
        except NotFound:
            return None
        return retold(decision, acknowledgement, self._model(decision))

    def _model(self, decision: events.Decision) -> Model:
        """Return the model that decided; its release may be out of service, or not be approved any more."""
        digest = decision.release
        for deployment in self._tracks().deployments():
            if deployment.digest == digest:
                return deployment.model
        with self._turn:
            if (kept := self._kept.get(digest)) is not None:
                self._kept.move_to_end(digest)
                return kept
            try:
                verified = self._store.verify(digest, require_approval=False)
                model = deploy(digest, verified.files).model
            except (NotFound, NotVerified) as error:
                raise Conflict(
                    "the release that decided under this key is not here any more",
                    hint=f"the decision stands: GET /v1/decisions/{decision.decision_id}",
                ) from error
            self._kept[digest] = model
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return model


def retold(decision: events.Decision, acknowledgement: Acknowledgement, model: Model) -> Answer:
    """Return the answer that was given for a decision, whose reasons `model` has the words for."""
    texts = {code.code: code.texts for code in model.reason_codes}
    told = decision.alternatives
    return Answer(
        decision.decision_id,
        decision.outcome,
        decision.score,
        [StatedReason(code, text_for(texts[code], decision.locale)) for code in decision.reasons],
        decision.model,
        decision.release,
        decision.track,
        acknowledgement,
        UNSET if told is UNSET else as_told(told, decision.features, model, decision.locale),
    )
