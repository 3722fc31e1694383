from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.audit import AuditLog, Query, events
from aboveboard.clock import system_clock, timestamp
from aboveboard.errors import Conflict
from aboveboard.models import Model
from aboveboard.release import Keyring, ReleaseStore
from aboveboard.serving.decide import decide
from aboveboard.serving.deployment import deploy
from aboveboard.serving.retelling import PURPOSE, Retelling
from aboveboard.serving.service import Answer, StatedReason
from aboveboard.serving.tracks import Tracks
from tests.audit_cases import open_log

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def retelling(tmp_path: Path, release_files: dict[str, bytes]) -> Retelling:
    store = ReleaseStore(tmp_path / "releases", keys=Keyring(tmp_path / "keys"), clock=system_clock)
    tracks = Tracks(deploy(DIGEST, release_files))
    return Retelling(open_log(tmp_path / "log"), store, lambda: tracks)


def log_of(retelling: Retelling) -> AuditLog:
    return retelling._log


def decided(
    log: AuditLog, model: Model, row: NDArray[np.float64], *, locale: str = "de-AT", release: str = DIGEST
) -> Answer:
    """Record what the model decides about a row, and return what the client was answered."""
    made = decide(model, row, locale=locale)
    event = events.Decision(
        time=timestamp(system_clock()),
        decision_id="dec-" + "0" * 26,
        subject="sub-1",
        model="credit-default",
        release=release,
        track="champion",
        jurisdiction="eu",
        locale=locale,
        features={"LIMIT_BAL": 1},
        cohort=None,
        score=made.score,
        outcome=made.outcome,
        reasons=[reason.code for reason in made.reasons],
        idempotency_key="k",
    )
    receipt = log.append(event)
    reasons = [StatedReason(reason.code, reason.text) for reason in made.reasons]
    return Answer(
        event.decision_id, made.outcome, made.score, reasons, "credit-default", release, "champion", receipt
    )


@pytest.mark.parametrize("locale", ["en", "de-AT", "zh", "xx"])
def test_an_answer_is_told_again_word_for_word(
    retelling: Retelling, model: Model, rows: NDArray[np.float64], locale: str
) -> None:
    log = log_of(retelling)
    number = int(np.argmin(model.score(rows)))
    log.append(events.ReleaseApproved(time=timestamp(system_clock()), actor="me", release=DIGEST, role="validator"))
    answer = decided(log, model, rows[number], locale=locale)
    assert len(answer.reasons) > 1
    assert retelling.answer(answer.decision_id, "loans") == answer
    log.publish()
    accesses = log.find(Query(kind="personal-data-accessed/1"), actor="me", purpose="test")
    access = log.read(accesses[-1].index, actor="me", purpose="test")
    assert isinstance(access, events.PersonalDataAccessed)
    assert (access.actor, access.purpose, access.action) == ("loans", PURPOSE, "read")
    log.close()


def test_what_was_never_decided_is_not_told(retelling: Retelling) -> None:
    assert retelling.answer("dec-" + "0" * 26, "loans") is None
    log_of(retelling).close()


def test_what_was_erased_is_not_told(retelling: Retelling, model: Model, rows: NDArray[np.float64]) -> None:
    log = log_of(retelling)
    answer = decided(log, model, rows[0])
    assert retelling.answer(answer.decision_id, "loans") == answer
    log.erase("sub-1", actor="dpo", reason="request", override="court order")
    assert retelling.answer(answer.decision_id, "loans") is None
    log.close()


def test_a_release_that_is_gone_takes_its_words_along(
    retelling: Retelling, model: Model, rows: NDArray[np.float64]
) -> None:
    log = log_of(retelling)
    answer = decided(log, model, rows[0], release=OTHER)
    with pytest.raises(Conflict, match="not here any more") as caught:
        retelling.answer(answer.decision_id, "loans")
    assert answer.decision_id in caught.value.hint
    log.close()
