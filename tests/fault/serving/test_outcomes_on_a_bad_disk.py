"""Outcomes while the disk fails: who got a receipt has it, and telling all of it again loses and doubles nothing."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Options, Query
from aboveboard.audit.journal_files import Disk
from aboveboard.clock import system_clock
from aboveboard.errors import StorageFailed
from aboveboard.serving.joining import AT_ONCE, Asked, Joining, Result, Told
from aboveboard.serving.outcomes import OutcomeReport
from tests.audit_cases import open_log
from tests.unit.serving.test_joining import decision

COUNT = AT_ONCE + 50


class Failing(Disk):
    """Takes so many syncs, and then none until it is mended."""

    left = 1 << 30

    def sync(self, descriptor: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)


def told(joining: Joining, asked: list[Asked]) -> list[Result]:
    """Return what came of a round; where it failed as a whole, that for each."""
    try:
        return joining.round(asked)
    except StorageFailed as error:
        return [error] * len(asked)


def mended(log: AuditLog, disk: Failing) -> None:
    disk.left = 1 << 30
    deadline = time.monotonic() + 30
    while log.committer.failure is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("syncs", [0, 1, 2, 3, 4])  # a round takes five at the least
def test_what_was_told_stands_and_the_rest_can_be_told_again(tmp_path: Path, syncs: int) -> None:
    disk = Failing()
    today = str(system_clock().date())
    asked = [Asked(OutcomeReport(f"dec-{n:026d}", "repaid", today), "loans") for n in range(COUNT)]
    with open_log(tmp_path, disk=disk, options=Options(retry_seconds=0.02, largest_group=100)) as log:
        log.append_all([decision(number) for number in range(COUNT)])
        joining = Joining(log, clock=system_clock)
        disk.left = syncs
        first = told(joining, asked)
        assert any(isinstance(result, StorageFailed) for result in first)
        mended(log, disk)
        again = told(joining, asked)
        for before, after in zip(first, again, strict=True):
            assert isinstance(after, Told)
            if isinstance(before, Told):
                assert (after.receipt, after.new) == (before.receipt, False)
            else:
                assert isinstance(before, StorageFailed)
        log.publish()
        found = log.find(Query(kind="outcome-recorded/1", limit=10_000), actor="me", purpose="test")
        assert len(found) == len({entry.decision_id for entry in found}) == COUNT
        assert log.fsck().findings == []
