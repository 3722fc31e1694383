"""A full disk, a killed writer and writers in parallel: a release is there whole, or it is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aboveboard.errors import NotVerified
from tests.release_cases import APPROVER, Bank, Time, run_documents, write_run

TESTS = Path(__file__).parents[2]

WRITER = """
import resource, signal, sys
from pathlib import Path
from aboveboard.clock import system_clock
from aboveboard.errors import StorageFailed
from aboveboard.release import Keyring, ReleaseStore
root, limit = Path(sys.argv[1]), int(sys.argv[2])
store = ReleaseStore(root / "releases", keys=Keyring(root / "keys"), clock=system_clock)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for run in sys.argv[3:]:
    try:
        print(store.create(Path(run), author="ada@bank.example").digest, flush=True)
    except StorageFailed as error:
        print("StorageFailed", error.hint, flush=True)
"""


def start(bank: Bank, *runs: Path, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(bank.root), str(limit), *map(str, runs)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )


def write_runs(bank: Bank, number: int) -> list[Path]:
    runs = []
    for index in range(number):
        documents = run_documents()
        documents["run"]["id"] = f"run-{index:02}"
        runs.append(write_run(bank.root / "runs" / f"run-{index:02}", documents))
    return runs


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path, Time(datetime(2020, 1, 1, tzinfo=UTC)))
    bank.time.now = datetime.now(UTC) + timedelta(days=1)  # the writers use the real clock
    return bank


@pytest.mark.parametrize("limit", [1, 40, 700, 3500, 12_000])
def test_a_disk_that_takes_no_more_leaves_nothing_visible(bank: Bank, limit: int) -> None:
    """Every file ends at `limit` bytes, so the disk is "full" at another place each time."""
    (run,) = write_runs(bank, 1)
    output, _ = start(bank, run, limit=limit).communicate(timeout=60)
    assert output.startswith("StorageFailed")
    assert bank.store.list() == []
    hidden = {path.name for path in (bank.root / "releases").rglob(".*")}
    assert hidden == {".lock"}
    output, _ = start(bank, run).communicate(timeout=60)
    assert bank.store.verify(output.strip(), require_approval=False)


def test_a_full_disk_keeps_what_was_there(bank: Bank) -> None:
    first, second = write_runs(bank, 2)
    digest = start(bank, first).communicate(timeout=60)[0].strip()
    before = {p: p.read_bytes() for p in (bank.root / "releases").rglob("*") if p.is_file()}
    # Everything fits but the index, the last thing written: it grows with every release.
    limit = max(len(content) for path, content in before.items() if path.name != "index.json")
    grown = (bank.root / "releases" / "index.json").stat().st_size
    assert grown < limit
    assert start(bank, second, limit=grown + 10).communicate(timeout=60)[0].startswith("StorageFailed")
    assert [summary.digest for summary in bank.store.list()] == [digest]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_writer_killed_at_any_moment_leaves_whole_releases_only(bank: Bank) -> None:
    runs = write_runs(bank, 12)
    acknowledged: list[str] = []
    delays = [0.0, 0.004, 0.009, 0.015, 0.03, 0.05]
    for number, delay in enumerate(delays):
        with start(bank, *runs[number * 2 :]) as writer:
            assert writer.stdout is not None
            acknowledged.append(writer.stdout.readline().strip())
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
            acknowledged.extend(line.strip() for line in writer.stdout)
        known = {summary.digest: summary for summary in bank.store.list()}
        assert {digest for digest in acknowledged if len(digest) == 71} <= known.keys()
        assert [summary.problem for summary in known.values()] == [None] * len(known)
    digests = start(bank, *runs).communicate(timeout=60)[0].split()
    assert len(set(digests)) == len(runs)
    assert {summary.digest for summary in bank.store.list()} == set(digests)


def test_writers_in_parallel_lose_nothing(bank: Bank) -> None:
    runs = write_runs(bank, 9)
    writers = [start(bank, *runs[first::3], runs[0]) for first in range(3)]
    digests = {digest for writer in writers for digest in writer.communicate(timeout=120)[0].split()}
    assert len(digests) == len(runs)
    assert {summary.digest for summary in bank.store.list()} == digests


def test_a_reader_beside_a_writer_sees_whole_releases_only(bank: Bank) -> None:
    runs = write_runs(bank, 8)
    seen: list[int] = []
    with start(bank, *runs) as writer:
        while writer.poll() is None:
            summaries = bank.store.list()
            assert [summary.problem for summary in summaries] == [None] * len(summaries)
            seen.append(len(summaries))
    assert seen == sorted(seen)
    assert len(bank.store.list()) == len(runs)


def test_nothing_is_approved_in_a_damaged_store(bank: Bank) -> None:
    (run,) = write_runs(bank, 1)
    digest = start(bank, run).communicate(timeout=60)[0].strip()
    blob = bank.root / "releases" / "blobs" / "sha256" / digest[7:]
    blob.write_bytes(blob.read_bytes()[:-1])
    before = sorted((bank.root / "releases").rglob("*"))
    with pytest.raises(NotVerified, match=digest):
        bank.store.approve(digest, approver=APPROVER)
    assert sorted((bank.root / "releases").rglob("*")) == before
