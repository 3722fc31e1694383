"""Reading much of the log at once: its order for a relay, and what is known of many decisions for a collector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Query, events
from aboveboard.errors import Misuse
from tests.audit_cases import approval, decision, open_log

WHO = {"actor": "collector@bank.example", "purpose": "joining an outcome"}


def outcome(number: int, subject: str, label: str = "repaid") -> events.OutcomeRecorded:
    moment, decision_id = decision().time, f"dec-{number:06d}"
    return events.OutcomeRecorded(
        time=moment, decision_id=decision_id, subject=subject, label=label, observed="2026-11-20"
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    """Twelve decisions in several batches, an act among them, and outcomes of three of them."""
    with open_log(tmp_path) as opened:
        for start in range(0, 12, 4):
            opened.append_all([decision(n, f"sub-{n}") for n in range(start, start + 4)])
        opened.append(approval())
        opened.append_all([outcome(n, f"sub-{n}") for n in (1, 5, 9)])
        opened.append(outcome(5, "sub-5", "charged-back"))
        opened.take_in()
        yield opened


def test_a_stretch_is_the_log_in_its_order(log: AuditLog) -> None:
    first = log.follow(0, 5)
    assert [index for index, _ in first.events] == [0, 1, 2, 3, 4]
    assert (first.end, first.sequenced, first.more) == (5, 17, True)
    rest = log.follow(first.end, 1000)
    assert [index for index, _ in rest.events] == list(range(5, 17))
    assert (rest.end, rest.more) == (17, False)
    assert isinstance(rest.events[12 - 5][1], events.ReleaseApproved)
    beyond = log.follow(17, 10)
    assert (beyond.events, beyond.end, beyond.more) == ([], 17, False)
    log.erase("sub-2", actor="dpo", reason="test", override="test")
    again = log.follow(0, 5)
    assert [index for index, _ in again.events] == [0, 1, 3, 4]
    assert again.unreadable == 1


def test_what_is_not_in_order_yet_is_not_followed(log: AuditLog) -> None:
    log.append(decision(99, "sub-99"))
    assert log.follow(17, 10).end == 17
    log.take_in()
    assert [index for index, _ in log.follow(17, 10).events] == [17]


def test_many_histories_are_one_access(log: AuditLog) -> None:
    log.erase("sub-9", actor="dpo", reason="test", override="test")
    asked = [f"dec-{n:06d}" for n in (9, 5, 1, 5, 0, 700)]
    found = log.histories(asked, **WHO)
    kinds = {key: [type(item.event).__name__ for item in told] for key, told in found.items()}
    assert kinds == {
        "dec-000005": ["Decision", "OutcomeRecorded", "OutcomeRecorded"],
        "dec-000001": ["Decision", "OutcomeRecorded"],
        "dec-000000": ["Decision"],
    }
    log.take_in()
    accesses = log.find(Query(kind="personal-data-accessed/1"), actor="me", purpose="test")
    assert len(accesses) == 1
    access = log.read(accesses[0].index, actor="me", purpose="test")
    assert isinstance(access, events.PersonalDataAccessed)
    assert (access.actor, access.purpose, access.entries) == (WHO["actor"], WHO["purpose"], 6)
    told = log.export("sub-1", actor="me", purpose="test")["accesses"]
    assert [entry["purpose"] for entry in told] == [WHO["purpose"]], "a person learns who looked"


def test_many_histories_say_what_each_alone_does(log: AuditLog) -> None:
    asked = [f"dec-{n:06d}" for n in (5, 1, 0)]
    assert log.histories(asked, **WHO) == {one: log.history(one, **WHO) for one in asked}


def test_histories_say_who_asks_and_nothing_found_is_no_access(log: AuditLog) -> None:
    with pytest.raises(Misuse):
        log.histories(["dec-000001"], actor="", purpose="test")
    size = log.take_in()
    assert log.histories(["dec-000700"], **WHO) == {}
    assert log.histories([], **WHO) == {}
    assert log.take_in() == size
