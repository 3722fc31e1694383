"""The queue of cases in PostgreSQL: found, counted, cleared and built again as in SQLite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, events
from aboveboard.audit.moments import milliseconds
from aboveboard.audit.review import State
from aboveboard.audit.review_queue import CaseQuery, Overdue
from aboveboard.clock import timestamp
from tests.audit_cases import NOW, decision, open_log
from tests.postgres_server import postgres_server

MODEL = "credit-default"
PRESENT = milliseconds(timestamp(NOW))
RELEASE = decision().release


@pytest.fixture
def server() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgres_server() as url:
        yield url


def test_the_queue(server: str, tmp_path: Path) -> None:
    def query(**changes: object) -> CaseQuery:
        return CaseQuery(**{"model": MODEL, "now": PRESENT, "overdue_since": Overdue(0), **changes})  # type: ignore[arg-type]

    with open_log(tmp_path, database=server) as log:
        log.append_all([decision(n, f"sub-{n}", outcome="refer") for n in range(9)])
        about = {"time": timestamp(NOW), "decision_id": "dec-000004", "subject": "sub-4"}
        log.append(events.ReviewRequested(**about, statement="wrong", actor="desk"))
        log.append(events.ReviewClaimed(**about, actor="ada", until="2026-11-21T10:00:00.000Z"))
        log.take_in()
        page = log.queue.find(query(limit=4))
        rest = log.queue.find(query(after=(page[-1].since, page[-1].decision_id)))
        assert [case.decision_id for case in (*page, *rest)] == [f"dec-{n:06d}" for n in range(9)]
        late = Overdue(0, {RELEASE: PRESENT + 1})
        (claimed,) = log.queue.find(query(state=State.CLAIMED, overdue=True, overdue_since=late))
        assert (claimed.claimed_by, claimed.contested_by) == ("ada", ("desk",))
        counts = log.queue.count(MODEL, PRESENT, late)
        assert (counts[State.WAITING, True], counts[State.CLAIMED, True]) == (8, 1)
        log.erase("sub-4", actor="dpo@bank.example", reason="request", override="court order 7")
        left = log.queue.find(query())
        log.rebuild_index()
        assert log.queue.find(query()) == left
        assert len(left) == 8


def test_of_many_at_several_servers_who_want_a_turn_one_has_it(server: str, tmp_path: Path) -> None:
    claimed: list[str] = []
    with open_log(tmp_path, database=server) as first, open_log(tmp_path, database=server, writer="second") as second:
        first.append(decision(1, "sub-1", outcome="refer"))
        about = {"time": timestamp(NOW), "decision_id": "dec-000001", "subject": "sub-1"}

        def claim(log: AuditLog, actor: str) -> None:
            with log.turn("reviews"):
                log.take_in()
                case = log.queue.get("dec-000001")
                if case is not None and case.holder(PRESENT) is None:
                    log.append(events.ReviewClaimed(**about, actor=actor, until="2026-11-21T10:00:00.000Z"))
                    claimed.append(actor)

        threads = [
            threading.Thread(target=claim, args=((first, second)[number % 2], f"reviewer-{number}"))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.take_in()
        (case,) = first.queue.find(CaseQuery(MODEL, PRESENT, Overdue(0)))
        assert [case.claimed_by] == claimed
