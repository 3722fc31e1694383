from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Query, events
from aboveboard.clock import system_clock, timestamp
from aboveboard.errors import AboveboardError
from aboveboard.serving.joining import AT_ONCE, PURPOSE, Asked, Joining, Told
from aboveboard.serving.outcomes import OutcomeReport
from tests.audit_cases import open_log

TODAY = str(system_clock().date())


def decision(number: int) -> events.Decision:
    return events.Decision(
        time=timestamp(system_clock()),
        decision_id=f"dec-{number:026d}",
        subject=f"sub-{number}",
        model="credit-default",
        release="sha256:" + "1" * 64,
        track="champion",
        jurisdiction="eu",
        locale="en",
        features={"LIMIT_BAL": 1},
        cohort=None,
        score=0.7,
        outcome="approve",
        reasons=[],
        retention="P3Y",
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    with closing(open_log(tmp_path)) as opened:
        opened.append_all([decision(number) for number in range(AT_ONCE + 20)])
        yield opened


def report(number: int, label: str = "repaid", observed: str = TODAY, *, actor: str = "loans") -> Asked:
    return Asked(OutcomeReport(f"dec-{number:026d}", label, observed), actor)


def test_each_of_a_round_is_answered_by_itself(log: AuditLog) -> None:
    joining = Joining(log, clock=system_clock)
    future = str(system_clock().date() + timedelta(days=3))
    asked = [
        report(1),
        report(2),
        report(1),
        report(1, "defaulted"),
        report(3, observed=future),
        report(999_999),
        report(2, actor="cards"),
    ]
    results = joining.round(asked)
    codes = [result.code if isinstance(result, AboveboardError) else result.new for result in results]
    assert codes == [True, True, False, True, "request-refused", "not-found", False]
    one, two, same, other, _, _, elsewhere = results
    assert isinstance(one, Told)
    assert isinstance(two, Told)
    assert isinstance(same, Told)
    assert isinstance(other, Told)
    assert isinstance(elsewhere, Told)
    assert (same.receipt, elsewhere.receipt) == (one.receipt, two.receipt)
    assert other.receipt != one.receipt

    log.take_in()
    recorded = [item.event for item in log.history(f"dec-{1:026d}", actor="me", purpose="test")[1:]]
    assert [(e.label, e.subject, e.retention) for e in recorded if isinstance(e, events.OutcomeRecorded)] == [
        ("repaid", "sub-1", "P3Y"),
        ("defaulted", "sub-1", "P3Y"),
    ]
    accesses = log.find(Query(kind="personal-data-accessed/1"), actor="me", purpose="test")
    looked = [log.read(entry.index, actor="me", purpose="test") for entry in accesses]
    assert {
        (e.actor, e.entries) for e in looked if isinstance(e, events.PersonalDataAccessed) and e.purpose == PURPOSE
    } == {
        ("loans", 3),
        ("cards", 1),
    }


def test_a_large_round_is_told_again_word_for_word(log: AuditLog) -> None:
    joining = Joining(log, clock=system_clock)
    asked = [report(number) for number in range(AT_ONCE + 20)]
    first = joining.round(asked)
    again = joining.round(asked)
    assert all(isinstance(result, Told) and result.new for result in first)
    assert [result.receipt for result in first if isinstance(result, Told)] == [
        result.receipt for result in again if isinstance(result, Told) and not result.new
    ]


def test_two_who_hear_the_same_at_once_record_it_once(log: AuditLog, tmp_path: Path) -> None:
    with closing(open_log(tmp_path, writer="other")) as beside, ThreadPoolExecutor(8) as pool:
        rounds = [Joining(one, clock=system_clock) for one in (log, beside)] * 4
        results = list(pool.map(lambda joining: joining.round([report(5)]), rounds))
    told = [result for (result,) in results]
    assert all(isinstance(result, Told) for result in told)
    assert sum(isinstance(result, Told) and result.new for result in told) == 1
    assert len({result.receipt.commitment for result in told if isinstance(result, Told)}) == 1


def test_what_was_erased_is_no_decision_any_more(log: AuditLog) -> None:
    log.erase("sub-7", actor="dpo", reason="request", override="court order")
    (result,) = Joining(log, clock=system_clock).round([report(7)])
    assert isinstance(result, AboveboardError)
    assert result.code == "not-found"
