"""fsck finds what is wrong, names it, and cries wolf at nothing; and interrupted erasures are carried on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Erased, Query
from aboveboard.audit.erasure import Eraser
from aboveboard.errors import AboveboardError, Conflict, NotFound, NotVerified
from tests.audit_cases import approval, decision, open_log

AUDIT = Path("audit")
FIRST_SEGMENT = AUDIT / "journals" / "main" / "00000000.journal"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A log of 600 entries over three checkpoints, with one person erased."""
    with open_log(tmp_path) as log:
        for start in (0, 200, 400):
            log.append_all([decision(n, f"sub-{n % 90}") for n in range(start, start + 200)])
            log.publish()
        log.erase("sub-5", actor="dpo", reason="test", override="test")
        log.append(approval())
        log.publish()
        assert log.fsck().as_dict()["findings"] == []
    return tmp_path


def codes(home: Path) -> set[str]:
    with open_log(home, writer="checker") as log:
        report = log.fsck()
        assert report.clean == (not [f for f in report.findings if f.severity == "error"])
        return {finding.code for finding in report.findings}


def sql(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_changed_record(home: Path) -> None:
    flip(home / FIRST_SEGMENT, 5000)
    assert codes(home) >= {"batch-missing", "journal-damaged", "leaves-missing"}


def test_a_lost_journal(home: Path) -> None:
    shutil.rmtree(home / AUDIT / "journals" / "main")
    assert codes(home) >= {"batch-missing", "journal-missing", "leaves-missing"}


def test_a_lost_and_a_changed_tile(home: Path) -> None:
    (home / AUDIT / "tiles" / "tile" / "0" / "000").unlink()
    flip(home / AUDIT / "tiles" / "tile" / "entries" / "001", 77)
    assert codes(home) == {"tile-missing", "tile-differs"}


def test_a_changed_checkpoint(home: Path) -> None:
    sql(home / AUDIT / "log.sqlite", "UPDATE checkpoint SET note = replace(note, '200', '201') WHERE size = 200")
    assert codes(home) == {"checkpoint-unsigned"}


def test_a_checkpoint_of_another_tree(home: Path) -> None:
    sql(
        home / AUDIT / "log.sqlite",
        "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 400) WHERE size = 200",
    )
    assert codes(home) == {"checkpoint-differs"}


def test_a_stale_and_a_foreign_published_checkpoint(home: Path) -> None:
    path = home / AUDIT / "tiles" / "checkpoint"
    path.write_text("something else\n")
    assert codes(home) == {"checkpoint-stale"}
    path.unlink()
    assert codes(home) == {"checkpoint-missing"}
    with open_log(home) as log:  # published anew at the next occasion
        log.publish()
    assert codes(home) == set()


def test_a_changed_order(home: Path) -> None:
    sql(home / AUDIT / "log.sqlite", "DELETE FROM span WHERE first_leaf = 200")
    assert "order-gap" in codes(home)


def test_a_batch_that_was_passed_over(home: Path) -> None:
    connection = sqlite3.connect(home / AUDIT / "log.sqlite")
    with connection:
        last = connection.execute("SELECT max(first_leaf) FROM span").fetchone()[0]
        connection.execute("DELETE FROM span WHERE first_leaf = ?", (last,))
    connection.close()
    assert "batch-orphaned" in codes(home)


def test_a_changed_tree_head(home: Path) -> None:
    sql(home / AUDIT / "log.sqlite", "UPDATE tree SET root = zeroblob(32)")
    assert "tree-differs" in codes(home)
    with open_log(home) as log, pytest.raises(NotVerified, match="damaged"):
        log.publish()


def test_a_key_that_is_gone_without_a_word(home: Path) -> None:
    sql(home / AUDIT / "vault.sqlite", "DELETE FROM subject_key WHERE subject = 'sub-7'")
    assert codes(home) == {"key-lost"}


def test_a_changed_key(home: Path) -> None:
    sql(home / AUDIT / "vault.sqlite", "UPDATE subject_key SET wrapped = zeroblob(60) WHERE subject = 'sub-7'")
    assert "vault-damaged" in codes(home)


def test_an_erasure_the_log_was_never_told_of(home: Path) -> None:
    with open_log(home) as log:
        key_id = log._vault.ids_of("sub-7")[0].hex()
    vault = home / AUDIT / "vault.sqlite"
    sql(
        vault,
        "INSERT INTO erasure VALUES ('era-x', NULL, 'mallory', 'none', NULL, '2026-01-01', '2026-01-01', 'done')",
    )
    sql(vault, f"INSERT INTO erasure_key VALUES ('era-x', x'{key_id}', 'now', 'now')")  # noqa: S608
    sql(vault, "DELETE FROM subject_key WHERE subject = 'sub-7'")
    assert codes(home) == {"erasure-unlogged", "index-remembers"}


def test_an_index_that_is_wrong_is_built_again(home: Path) -> None:
    sql(home / AUDIT / "log.sqlite", "DELETE FROM entry WHERE leaf = 9")
    assert codes(home) == {"index-differs"}
    with open_log(home) as log:
        assert log.rebuild_index() >= 601
        assert log.fsck().as_dict()["findings"] == []


def forget_database(home: Path) -> None:
    for path in (home / AUDIT).glob("log.sqlite*"):
        path.unlink()


def test_a_lost_database_is_not_replaced_by_a_second_history(home: Path) -> None:
    with open_log(home, writer="another") as log:
        log.append_all([decision(n) for n in range(600, 900)])
        before = log.publish()
        log.append(decision(900))
    forget_database(home)
    with open_log(home) as log:
        with pytest.raises(NotVerified, match="does not know"):
            log.publish()
        assert log.latest() is None
        assert log.restore_order() == before.size
        after = log.publish()
        assert after.size == before.size + 1
        log.prove_consistency(before.size)
        assert log.fsck().as_dict()["findings"] == []
        assert len(log.find(Query(subject="sub-7", limit=50), actor="a", purpose="t")) == 7
        with pytest.raises(Conflict):
            log.restore_order()


def test_an_old_copy_of_the_database_is_not_signed_over(home: Path) -> None:
    """Whoever restores an old log.sqlite might have the log sign a second history; it refuses."""
    sql(home / AUDIT / "log.sqlite", "PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(home / AUDIT / "log.sqlite", home / "old.sqlite")
    with open_log(home) as log:
        log.append_all([decision(n) for n in range(5)])
        log.publish()
    forget_database(home)
    shutil.copy(home / "old.sqlite", home / AUDIT / "log.sqlite")
    with open_log(home) as log, pytest.raises(NotVerified, match="does not know"):
        log.publish()
    forget_database(home)
    with open_log(home) as log:
        log.restore_order()
        log.publish()
        assert log.fsck().as_dict()["findings"] == []


def test_an_order_that_cannot_be_restored(home: Path) -> None:
    forget_database(home)
    shutil.move(home / AUDIT / "journals" / "main", home / "main")
    with open_log(home) as log, pytest.raises(NotVerified, match="no journal holds"):
        log.restore_order()
    flip(home / AUDIT / "tiles" / "tile" / "entries" / "001", 77)
    with open_log(home) as log, pytest.raises(NotVerified, match="signed root"):
        log.restore_order()


@pytest.mark.parametrize("step", ["append", "clear", "forget", "index-forget"])
def test_an_interrupted_erasure_is_carried_on(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n % 3}") for n in range(30)])
        log.publish()
        eraser: Eraser = log._eraser
        target: dict[str, Callable[[], None]] = {
            "append": lambda: monkeypatch.setattr(eraser, "_append", power_cut),
            "clear": lambda: monkeypatch.setattr(log._index, "clear", power_cut),
            "forget": lambda: monkeypatch.setattr(log._vault.database, "forget_deleted", power_cut),
            "index-forget": lambda: monkeypatch.setattr(log._index, "forget_cleared", power_cut),
        }
        target[step]()
        with pytest.raises(KeyboardInterrupt):
            log.erase("sub-1", actor="dpo", reason="test", override="test")
        monkeypatch.undo()
    with open_log(tmp_path) as log:
        assert len(log.run_due_erasures()) == 1
        assert log.run_due_erasures() == []
        log.publish()
        with pytest.raises(Erased):
            log.read(1, actor="a", purpose="test")
        assert log.fsck().as_dict()["findings"] == []


def test_questions_that_have_no_answer(home: Path) -> None:
    with open_log(home) as log:
        questions: list[Callable[[AuditLog], object]] = [
            lambda log: log.prove(10_000),
            lambda log: log.prove(0, size=123),
            lambda log: log.prove_consistency(123),
            lambda log: log.read(10_000, actor="a", purpose="t"),
            lambda log: log.receipt("dec-none", actor="a", purpose="t"),
            lambda log: log.export("sub-none", actor="a", purpose="t"),
            lambda log: log.erase("sub-none", actor="a", reason="t"),
        ]
        for ask in questions:
            with pytest.raises(NotFound) as answer:
                ask(log)
            assert isinstance(answer.value, AboveboardError)
