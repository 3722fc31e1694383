"""What every journal must do, held against files and against a real PostgreSQL server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from aboveboard.audit import AuditLog, Erased, Options, events, verifier
from aboveboard.audit.journal import JournalReader, JournalWriter, Place
from aboveboard.audit.journal_files import FileJournalReader, FileJournalWriter
from aboveboard.audit.journal_postgres import PostgresJournals
from aboveboard.audit.segment import GENESIS, Sealed
from aboveboard.errors import Misuse, NotVerified, StorageFailed
from tests.audit_cases import approval, decision, open_log
from tests.postgres_server import postgres_server

WHO_ACTOR, WHO_PURPOSE = "a", "test"


@dataclass
class Backend:
    """One kind of journal."""

    reader: JournalReader
    open_writer: Callable[[str], JournalWriter]
    url: str | None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgres_server() as url:
        yield url


@pytest.fixture
def database(server: str, tmp_path: Path) -> str:
    """A fresh database on the server."""
    name = f"t{abs(hash(str(tmp_path)))}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["files", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    if request.param == "files":
        yield Backend(FileJournalReader(tmp_path), lambda name: FileJournalWriter.open(tmp_path, name), None)
        return
    url = request.getfixturevalue("database")
    journals = PostgresJournals(url)
    yield Backend(journals, journals.open_writer, url)
    journals.close()


def sealed(number: int) -> Sealed:
    return Sealed(number.to_bytes(32, "big"), bytes(16), bytes(12), bytes([number % 256]) * 50)


def all_of(reader: JournalReader, name: str, after: Place | None = None) -> list[int]:
    return [
        int.from_bytes(item.commitment, "big")
        for *_, batch in reader.batches(name, after)
        for item in batch.entries()
    ]


def test_what_is_written_is_read_in_order(backend: Backend) -> None:
    writer = backend.open_writer("main")
    assert backend.reader.names() == ["main"]
    assert all_of(backend.reader, "main") == []
    assert writer.write([sealed(0), sealed(1)]) == (0, 0)
    assert writer.write([sealed(2)]) == (1, 2)
    assert all_of(backend.reader, "main") == [0, 1, 2]
    found = list(backend.reader.batches("main", None))
    assert found[0][2].previous == GENESIS
    assert found[1][2].previous == found[0][2].chain
    assert backend.reader.batch("main", found[1][0]) == found[1][2]
    assert all_of(backend.reader, "main", found[0][1]) == [2]
    assert all_of(backend.reader, "main", found[1][1]) == []
    writer.close()


def test_a_writer_goes_on_where_the_last_one_ended(backend: Backend) -> None:
    for turn in range(3):
        writer = backend.open_writer("main")
        assert writer.name == "main"
        assert writer.write([sealed(turn)]) == (turn, turn)
        writer.close()
    assert all_of(backend.reader, "main") == [0, 1, 2]


def test_a_journal_has_one_writer(backend: Backend) -> None:
    one, two = backend.open_writer("main"), backend.open_writer("main")
    assert (one.name, two.name) == ("main", "main-2")
    one.write([sealed(1)])
    two.write([sealed(2)])
    assert backend.reader.names() == ["main", "main-2"]
    one.close()
    three = backend.open_writer("main")
    assert three.name == "main"
    two.close()
    three.close()


def test_recovering_without_a_failure_changes_nothing(backend: Backend) -> None:
    writer = backend.open_writer("main")
    writer.write([sealed(1)])
    writer.recover()
    assert writer.write([sealed(2)]) == (1, 1)
    assert all_of(backend.reader, "main") == [1, 2]
    writer.close()


def test_a_place_that_is_not_there(backend: Backend) -> None:
    backend.open_writer("main").close()
    with pytest.raises(NotVerified):
        backend.reader.batch("main", Place(0, 7))


def test_a_whole_log_lives_on_it(backend: Backend, tmp_path: Path) -> None:
    with open_log(tmp_path, database=backend.url) as log, open_log(tmp_path, database=backend.url) as other:
        log.append_all([decision(n, f"sub-{n}") for n in range(300)])
        first = log.publish()
        other.append_all([decision(n, f"sub-{n % 7}") for n in range(300, 400)])
        assert other.publish().size == 400
        receipt = json.loads(log.receipt("dec-000333", actor=WHO_ACTOR, purpose=WHO_PURPOSE).to_json())
        assert verifier.verify_receipt(receipt, log.vkeys)["index"] == 333
        log.prove_consistency(first.size)
        erased = log.erase("sub-3", actor="dpo", reason="test", override="test")
        assert 3 in erased.erased_entries
        with pytest.raises(Erased):
            other.read(3, actor=WHO_ACTOR, purpose=WHO_PURPOSE)
        assert isinstance(other.read(4, actor=WHO_ACTOR, purpose=WHO_PURPOSE), events.Decision)
        assert log.rotate_vault_key(actor="security") == 300
        other.append(decision(401, "sub-new"))  # notices the rotation
        log.publish()
        assert log.fsck().as_dict()["findings"] == []
    with open_log(tmp_path, database=backend.url) as log:
        assert log.append(approval()).ordinal > 300
        log.publish()
        assert log.fsck().as_dict()["findings"] == []


def test_writers_and_erasers_in_parallel(backend: Backend, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(log: AuditLog, seed: int) -> None:
        try:
            for n in range(12):
                log.append_all([decision(seed * 1000 + n * 10 + k, f"sub-{k}") for k in range(10)])
                if n % 4 == seed:
                    log.erase(f"sub-{n % 10}", actor="dpo", reason="test", override="test")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    with open_log(tmp_path, database=backend.url) as one, open_log(tmp_path, database=backend.url) as two:
        threads = [threading.Thread(target=work, args=(log, seed)) for seed, log in enumerate((one, two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        one.publish()
        report = one.fsck()
        assert report.as_dict()["findings"] == []
        assert report.entries == 240 + 6


def test_a_server_that_drops_its_connections_is_survived(server: str, database: str, tmp_path: Path) -> None:
    with open_log(tmp_path, database=database, options=Options(retry_seconds=0.05)) as log:
        kept = [log.append(decision(1)).commitment]
        admin = create_engine(server, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname <> 'postgres'")
            )
        admin.dispose()
        for n in range(2, 200):
            try:
                kept.append(log.append(decision(n)).commitment)
            except StorageFailed:
                threading.Event().wait(0.05)
            else:
                break
        assert len(kept) == 2
        log.publish()
        assert log.fsck().as_dict()["findings"] == []
    reader = PostgresJournals(database)
    found = [item.commitment.hex() for *_, batch in reader.batches("main", None) for item in batch.entries()]
    reader.close()
    assert set(kept) <= set(found)
    assert len(found) == len(set(found))


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StorageFailed):
        PostgresJournals("postgresql+psycopg://nobody@/none?host=/nonexistent")
    with pytest.raises(Misuse):
        PostgresJournals("nonsense")
