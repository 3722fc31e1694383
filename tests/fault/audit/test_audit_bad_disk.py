"""A disk that writes short, fails, or is full: nobody is told a lie, and the journal goes on when the disk does."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Options
from aboveboard.audit.committer import Settled
from aboveboard.audit.journal_files import Disk, FileJournalReader, FileJournalWriter
from aboveboard.audit.segment import Sealed
from aboveboard.errors import AboveboardError, NotVerified, Overloaded, StorageFailed
from tests.audit_cases import decision, open_log

QUICK = Options(retry_seconds=0.02)


class ShortDisk(Disk):
    """Takes at most a few bytes at a time, as the system call may."""

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        return super().write(descriptor, content[:7], offset)


class FailingDisk(Disk):
    """Fails with an error number while it is told to: at once, or after taking half."""

    def __init__(self) -> None:
        self.fail_write = 0
        self.fail_sync = 0
        self.half = False

    def write(self, descriptor: int, content: memoryview, offset: int) -> int:
        if self.fail_write:
            if self.half:
                super().write(descriptor, content[: len(content) // 2], offset)
            raise OSError(self.fail_write, os.strerror(self.fail_write))
        return super().write(descriptor, content, offset)

    def sync(self, descriptor: int) -> None:
        if self.fail_sync:
            raise OSError(self.fail_sync, os.strerror(self.fail_sync))
        super().sync(descriptor)


class SlowDisk(Disk):
    """Takes its time, so that a queue can fill."""

    def sync(self, descriptor: int) -> None:
        time.sleep(0.2)
        super().sync(descriptor)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def recovered(log: AuditLog) -> bool:
    return log.committer.failure is None


def test_short_writes_are_completed(tmp_path: Path) -> None:
    with open_log(tmp_path, disk=ShortDisk()) as log:
        log.append_all([decision(n) for n in range(20)])
        assert log.publish().size == 20
        assert log.fsck().as_dict()["findings"] == []


@pytest.mark.parametrize("where", ["write", "half a write", "sync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_is_reported_and_survived(tmp_path: Path, where: str, number: int) -> None:
    disk = FailingDisk()
    with open_log(tmp_path, disk=disk, options=QUICK) as log:
        kept = [log.append(decision(1)).commitment]
        log.publish()
        disk.half = where == "half a write"
        if where == "sync":
            disk.fail_sync = number
        else:
            disk.fail_write = number
        with pytest.raises(StorageFailed) as failure:
            log.append(decision(2))
        assert failure.value.facts["errno"] == number
        with pytest.raises(StorageFailed):
            log.append(decision(3))  # refused at once: the journal has not recovered
        log.publish()
        disk.fail_write = disk.fail_sync = 0
        until(lambda: recovered(log))
        kept.append(log.append(decision(4)).commitment)
        log.publish()
        assert log.fsck().as_dict()["findings"] == []
    with open_log(tmp_path) as log:
        kept.append(log.append(decision(5)).commitment)
        log.publish()
        assert log.fsck().as_dict()["findings"] == []
        reader = FileJournalReader(tmp_path / "audit" / "journals")
        found = [item.hex() for *_, batch in reader.batches("main", None) for item in batch.commitments()]
        assert sorted(set(found)) == sorted(found)
        assert set(kept) <= set(found)


def test_everybody_who_waits_is_told(tmp_path: Path) -> None:
    disk = FailingDisk()
    outcomes: list[object] = []

    def deliver(settled: list[Settled]) -> None:
        outcomes.extend(outcome for _, outcome in settled)

    with open_log(tmp_path, disk=disk, options=Options(retry_seconds=5, largest_group=3)) as log:
        log.append(decision(0))
        disk.fail_sync = errno.EIO
        channel = log.channel(deliver)
        taken = 0
        for n in range(100):
            try:
                channel.submit(decision(n), n)
                taken += 1
            except StorageFailed:
                break
        until(lambda: len(outcomes) == taken)
        assert all(isinstance(outcome, StorageFailed) for outcome in outcomes)


def test_a_full_queue_sheds_load(tmp_path: Path) -> None:
    outcomes: list[object] = []
    with open_log(tmp_path, disk=SlowDisk(), options=Options(queue_capacity=10, largest_group=5)) as log:
        channel = log.channel(lambda settled: outcomes.extend(outcome for _, outcome in settled))
        taken = 0
        with pytest.raises(Overloaded):
            for n in range(100):
                channel.submit(decision(n), None)
                taken += 1
        assert 10 <= taken < 100
    assert len(outcomes) == taken  # closing made durable what was taken
    assert not any(isinstance(outcome, AboveboardError) for outcome in outcomes)


def test_whoever_can_wait_waits_for_room(tmp_path: Path) -> None:
    with open_log(tmp_path, options=Options(queue_capacity=10, largest_group=5)) as log:
        assert [item.ordinal for item in log.append_all([decision(n) for n in range(60)])] == list(range(60))
    with (
        open_log(
            tmp_path, disk=SlowDisk(), options=Options(queue_capacity=2, largest_group=1, append_timeout=0.3)
        ) as log,
        pytest.raises((Overloaded, StorageFailed)),
    ):
        log.append_all([decision(n) for n in range(60)])


def test_publishing_in_the_background_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path) as log:
        log.append(decision(1))
        with monkeypatch.context() as broken:
            broken.setattr(log._index, "catch_up", lambda: 1 // 0)
            log.start(interval=0.01)
            log.start(interval=0.01)  # a second time does nothing
            until(lambda: log.publish_failure is not None)
        assert "ZeroDivisionError" in str(log.publish_failure)
        until(lambda: log.publish_failure is None)
        log.append(decision(2))
        until(lambda: (head := log.latest()) is not None and head.size == 2)


def test_an_event_that_cannot_be_written_spoils_no_other(tmp_path: Path) -> None:
    outcomes: dict[int, object] = {}
    with open_log(tmp_path) as log:
        channel = log.channel(lambda settled: outcomes.update(settled))
        for n in range(6):
            channel.submit(decision(n, features={"X": float("nan") if n == 3 else n}), n)
        until(lambda: len(outcomes) == 6)
        assert [n for n, outcome in outcomes.items() if isinstance(outcome, AboveboardError)] == [3]
        assert log.publish().size == 5


def sealed(number: int) -> Sealed:
    return Sealed(number.to_bytes(32, "big"), bytes(16), bytes(12), bytes(50))


def test_a_batch_whose_sync_failed_may_have_been_sequenced_and_is_not_repeated(tmp_path: Path) -> None:
    """The reader's own sync may succeed where the writer's failed: then the batch is in the log for good."""
    disk = FailingDisk()
    writer = FileJournalWriter.open(tmp_path, "main", disk=disk)
    reader = FileJournalReader(tmp_path)
    writer.write([sealed(1)])
    disk.fail_sync = errno.EIO
    with pytest.raises(StorageFailed):
        writer.write([sealed(2)])
    seen = list(reader.batches("main", None))
    assert [batch.number for *_, batch in seen] == [0, 1]
    disk.fail_sync = 0
    writer.recover()
    writer.write([sealed(3)])
    rest = list(reader.batches("main", seen[-1][1]))
    assert [batch.number for *_, batch in rest] == [2]
    fresh = [batch.number for *_, batch in reader.batches("main", None)]
    assert fresh == [0, 2]  # whoever had not seen it does not see it any more
    writer.close()


def test_a_torn_end_is_cut_off_and_damage_is_not(tmp_path: Path) -> None:
    writer = FileJournalWriter.open(tmp_path, "main")
    for n in range(3):
        writer.write([sealed(n)])
    writer.close()
    path = tmp_path / "main" / "00000000.journal"
    whole = path.read_bytes()
    for cut in range(len(whole) - 200, len(whole)):
        path.write_bytes(whole[:cut])
        writer = FileJournalWriter.open(tmp_path, "main")
        assert writer.repair is not None or (cut - 116) % ((len(whole) - 116) // 3) == 0
        assert writer.write([sealed(9)]).batch in (1, 2)
        writer.close()
    path.write_bytes(whole[:150] + b"\xff" + whole[151:])
    with pytest.raises(StorageFailed, match="damaged at byte 116"):
        FileJournalWriter.open(tmp_path, "main")
    path.write_bytes(b"\0" + whole[1:])
    with pytest.raises(StorageFailed, match="damaged at byte 0"):
        FileJournalWriter.open(tmp_path, "main")


def test_a_journal_that_lost_what_was_sequenced_is_not_read_on(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(decision(1))
        log.append(decision(2))
        log.publish()
        path = tmp_path / "audit" / "journals" / "main" / "00000000.journal"
        content = path.read_bytes()
        path.write_bytes(content[:-300])
        with pytest.raises(NotVerified, match="shorter"):
            log.publish()
        report = log.fsck()
        assert not report.clean
        assert {finding.code for finding in report.findings} >= {"batch-missing", "leaves-missing"}


def test_a_segment_that_cannot_be_begun_is_the_next_writers_trouble(tmp_path: Path) -> None:
    disk = FailingDisk()
    writer = FileJournalWriter.open(tmp_path, "main", disk=disk, segment_bytes=500)
    assert writer.write([sealed(1)]).batch == 0

    def begin_fails(descriptor: int, content: memoryview, offset: int) -> int:
        if offset == 0:
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(descriptor, content, offset)

    disk.write = begin_fails  # type: ignore[method-assign]
    assert writer.write([sealed(2)]).batch == 1  # durable, so said so
    with pytest.raises(StorageFailed):
        writer.write([sealed(3)])
    with pytest.raises(StorageFailed):
        writer.recover()
    del disk.write
    writer.recover()
    assert writer.write([sealed(4)]).batch == 2
    writer.close()
    assert [batch.number for *_, batch in FileJournalReader(tmp_path).batches("main", None)] == [0, 1, 2]


def fill_the_disk(root: Path) -> None:
    """Write until the operating system takes no more, make room, and go on."""
    # Python ignores SIGXFSZ, so a write beyond the limit fails with EFBIG, journal's and database's alike.
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    kept = []
    with open_log(root, options=QUICK) as log:
        failure: AboveboardError | None = None
        for n in range(100_000):
            try:
                kept.append(log.append(decision(n, f"sub-{n}")).commitment)
            except AboveboardError as error:
                failure = error
                break
        assert isinstance(failure, StorageFailed), failure
        assert kept
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: recovered(log))
        kept.append(log.append(decision(200_000, "sub-last")).commitment)
        log.publish()
        report = log.fsck()
        assert report.as_dict()["findings"] == []
    batches = [batch for *_, batch in FileJournalReader(root / "audit" / "journals").batches("main", None)]
    found = [item.commitment.hex() for batch in batches for item in batch.entries()]
    assert set(kept) <= set(found)
    assert len(set(found)) == len(found)


def test_a_file_system_that_is_full_for_real(tmp_path: Path) -> None:
    with open_log(tmp_path):
        pass
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=fill_the_disk, args=(tmp_path,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
