"""The queue of cases as a table: what the log says, found in pages, built again alike, and cleared of the erased."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aboveboard.audit import AuditLog, events
from aboveboard.audit.moments import milliseconds
from aboveboard.audit.review import Case, Cause, State
from aboveboard.audit.review_queue import CaseQuery, Overdue
from aboveboard.clock import timestamp
from aboveboard.errors import Misuse
from tests.audit_cases import NOW, ManualClock, decision, open_log

WHO: dict[str, Any] = {"actor": "lead@bank.example", "purpose": "test"}
MODEL = "credit-default"
PRESENT = milliseconds(timestamp(NOW))
NEVER = Overdue(0)


def about(number: int, kind: type[Any], subject: str = "sub-a", time: str = timestamp(NOW), **fields: Any) -> Any:
    return kind(time=time, decision_id=f"dec-{number:06d}", subject=subject, **fields)


def cases(log: AuditLog, **changes: Any) -> list[Case]:
    return log.queue.find(
        CaseQuery(**{"model": MODEL, "now": PRESENT, "overdue_since": NEVER, "limit": 1000, **changes})
    )


def ids(found: list[Case]) -> list[int]:
    return [int(case.decision_id.removeprefix("dec-")) for case in found]


def minute(number: int) -> str:
    return f"2026-11-21T08:{number:02}:00.000Z"


ACTIONS: list[Callable[[int], Any]] = [
    lambda n: decision(n, f"sub-{n % 3}", outcome="refer"),
    lambda n: decision(n, f"sub-{n % 3}"),
    lambda n: about(n, events.ReviewRequested, f"sub-{n % 3}", statement="wrong", actor="desk"),
    lambda n: about(n, events.ReviewClaimed, f"sub-{n % 3}", actor="ada", until="2026-11-21T10:00:00.000Z"),
    lambda n: about(n, events.ReviewClaimed, f"sub-{n % 3}", actor="bob", until="not a time"),
    lambda n: about(n, events.ReviewReleased, f"sub-{n % 3}", actor="ada"),
    lambda n: about(n, events.ReviewProposed, f"sub-{n % 3}", actor="ada", outcome="decline", comment="c"),
    lambda n: about(n, events.ReviewRejected, f"sub-{n % 3}", actor="bob", comment="c"),
    lambda n: about(
        n, events.ReviewDecided, f"sub-{n % 3}", actor="bob", outcome="decline", changed=True, comment="c"
    ),
]
steps = st.lists(st.tuples(st.integers(0, len(ACTIONS) - 1), st.integers(0, 4)), min_size=1, max_size=30)


@settings(
    max_examples=15,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps, cuts=st.sets(st.integers(0, 29)), erased=st.booleans())
def test_built_again_it_is_the_same(
    steps: list[tuple[int, int]], cuts: set[int], erased: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("log")
    with open_log(root) as log:
        for position, (action, number) in enumerate(steps):
            log.append(ACTIONS[action](number))
            if position in cuts:
                log.take_in()
        log.take_in()
        if erased and any(number % 3 == 0 for _, number in steps):
            log.erase("sub-0", actor="dpo@bank.example", reason="request", override="court order 7")
            assert all(number % 3 for number in ids(cases(log)))
        piecemeal = cases(log)
        log.rebuild_index()
        assert cases(log) == piecemeal
        assert log.fsck().clean


def test_pages_follow_each_other_by_age_and_hold_each_case_once(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n}", outcome="refer", time=minute(n % 7)) for n in range(25)])
        log.take_in()
        found: list[Case] = []
        while page := cases(log, limit=4, after=(found[-1].since, found[-1].decision_id) if found else None):
            found += page
        assert ids(found) == sorted(range(25), key=lambda n: (n % 7, n))
        assert ids(cases(log, model="another")) == []
        with pytest.raises(Misuse):
            cases(log, limit=0)


def test_states_and_what_is_overdue_by_the_release_that_decided(tmp_path: Path) -> None:
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    with open_log(tmp_path) as log:
        log.append_all(
            [
                decision(n, f"sub-{n}", outcome="refer", time=minute(n), release=second if n % 2 else first)
                for n in range(10)
            ]
        )
        log.append(about(1, events.ReviewClaimed, "sub-1", actor="ada", until="2026-11-21T10:00:00.000Z"))
        log.append(about(2, events.ReviewClaimed, "sub-2", actor="ada", until="2026-11-21T09:00:00.000Z"))
        log.append(about(3, events.ReviewProposed, "sub-3", actor="ada", outcome="decline", comment="c"))
        log.take_in()
        assert ids(cases(log, state=State.CLAIMED)) == [1]
        assert ids(cases(log, state=State.PROPOSED)) == [3]
        assert ids(cases(log, state=State.WAITING)) == [0, 2, 4, 5, 6, 7, 8, 9]
        late = Overdue(milliseconds(minute(3)), {first: milliseconds(minute(6)), "unused": 0})
        assert ids(cases(log, overdue_since=late, overdue=True)) == [0, 1, 2, 4]
        assert ids(cases(log, overdue_since=late, overdue=False)) == [3, 5, 6, 7, 8, 9]
        assert log.queue.releases(MODEL) == [first, second]
        assert log.queue.count(MODEL, PRESENT, late) == {
            (State.WAITING, True): 3,
            (State.WAITING, False): 5,
            (State.CLAIMED, True): 1,
            (State.CLAIMED, False): 0,
            (State.PROPOSED, True): 0,
            (State.PROPOSED, False): 1,
        }
        assert sum(log.queue.count("another", PRESENT, late).values()) == 0


def test_a_contest_long_after_finds_its_decision(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_log(tmp_path, clock=clock) as log:
        log.append_all([decision(n, f"sub-{n}") for n in range(30)])
        log.take_in()
        clock.advance(days=40)
        contest = about(17, events.ReviewRequested, "sub-17", timestamp(clock()), statement="wrong")
        log.append(contest)
        log.take_in()
        (case,) = cases(log)
        assert (case.cause, case.release, case.since) == (
            Cause.CONTESTED,
            decision(17).release,
            milliseconds(contest.time),
        )


def test_an_erased_decision_waits_no_more_and_leaves_nothing_behind(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_log(tmp_path, clock=clock) as log:
        log.append_all([decision(n, f"sub-{n}", outcome="refer") for n in range(3)])
        clock.advance(days=40)
        log.append(about(1, events.ReviewRequested, "sub-1", timestamp(clock()), statement="wrong", actor="desk"))
        log.take_in()
        clock.moment = clock.moment.replace(year=2029, month=1, day=15)  # the decision may go, the contest not yet
        outcome = log.erase("sub-1", actor="dpo@bank.example", reason="request", defer=True)
        assert outcome.deferred_until == str(date(2029, 2, 1))
        assert ids(cases(log)) == [0, 2]
        assert log.history("dec-000001", **WHO) == []
        log.rebuild_index()
        assert ids(cases(log)) == [0, 2]
        assert log.queue.get("dec-000001") is None
        assert log.fsck().clean
    connection = sqlite3.connect(tmp_path / "audit" / "log.sqlite")
    assert connection.execute("SELECT count(*) FROM review_case WHERE decision_id = 'dec-000001'").fetchone() == (0,)
    connection.close()


def test_fsck_finds_an_erased_decision_that_still_waits(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n}", outcome="refer") for n in range(2)])
        log.take_in()
        path = tmp_path / "audit" / "log.sqlite"
        connection = sqlite3.connect(path)
        row = connection.execute("SELECT * FROM review_case WHERE decision_id = 'dec-000001'").fetchone()
        log.erase("sub-1", actor="dpo@bank.example", reason="request", override="court order 7")
        assert log.fsck().clean
        connection.execute(f"INSERT INTO review_case VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        connection.commit()
        connection.close()
        assert {finding.code for finding in log.fsck().findings} == {"index-remembers"}


def test_looking_at_the_queue_or_at_a_case_leaves_a_trace(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(decision(1, outcome="refer"))
        log.append(about(1, events.ReviewRequested, statement="wrong"))
        log.take_in()
        log.waiting(CaseQuery(MODEL, PRESENT, NEVER), **WHO)
        told = log.history("dec-000001", **WHO)
        assert [type(item.event) for item in told] == [events.Decision, events.ReviewRequested]
        assert [item.receipt.ordinal for item in told] == [0, 1]
        log.take_in()
        accesses = log.export("sub-a", **WHO)["accesses"]
        assert [(access["action"], access["actor"]) for access in accesses] == [
            ("search", WHO["actor"]),
            ("read", WHO["actor"]),
        ]


def test_a_log_of_before_is_brought_up_to_date(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n}", outcome="refer") for n in range(3)])
        log.publish()
        expected = cases(log)
    connection = sqlite3.connect(tmp_path / "audit" / "log.sqlite")
    connection.execute("DROP TABLE review_case")
    connection.execute("UPDATE alembic_version SET version_num = 'log_0001'")
    connection.commit()
    connection.close()
    with open_log(tmp_path) as log:
        log.publish()
        assert cases(log) == expected
        assert len(expected) == 3


def test_a_contest_of_a_decision_that_is_damaged_does_not_stop_the_index(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_log(tmp_path, clock=clock) as log:
        log.append(decision(1))
        log.take_in()
        connection = sqlite3.connect(tmp_path / "audit" / "vault.sqlite")
        connection.execute("UPDATE subject_key SET wrapped = zeroblob(60)")
        connection.commit()
        connection.close()
        clock.advance(days=40)
        log.append(about(1, events.ReviewRequested, "sub-a", timestamp(clock()), statement="wrong"))
        assert log.take_in() == 2
        assert cases(log) == []
