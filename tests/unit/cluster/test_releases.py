"""Where the cluster takes releases from: what is here, asked anew every minute for what was said about it since."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from aboveboard.cluster.releases import ASK_AGAIN, ReleaseSource
from aboveboard.errors import NotVerified, StorageFailed
from aboveboard.release.volume import Blobs
from tests.release_cases import OTHER, Bank, later


class Published:
    """What a registry would answer: the files of the bank's own store, while it is not away."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.asked = 0
        self.away = False

    def __call__(self, digest: str, here: Blobs) -> Mapping[str, bytes]:
        self.asked += 1
        if self.away:
            raise StorageFailed("the registry cannot be reached")
        root = self.bank.root / "releases"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(Bank(tmp_path))


def source(published: Published) -> ReleaseSource:
    bank = published.bank
    return ReleaseSource(bank.root / "cluster", bank.keys.trust_file, fetch=published, clock=bank.time)


def test_a_withdrawal_is_seen_within_a_minute(published: Published) -> None:
    digest = published.bank.approved()
    releases = source(published)
    assert [releases.verify(digest).digest for _ in range(3)] == [digest] * 3
    assert published.asked == 1, "what was told is believed for a while"
    published.bank.store.withdraw(digest, withdrawer=OTHER, reason="drift")
    published.bank.time.now += ASK_AGAIN
    with pytest.raises(NotVerified, match="withdrawn"):
        releases.verify(digest)


def test_an_approval_is_seen_at_once(published: Published) -> None:
    digest = published.bank.released()
    releases = source(published)
    with pytest.raises(NotVerified, match="0 of 1"):
        releases.verify(digest)
    published.bank.store.approve(digest, approver=OTHER)
    releases.verify(digest)


def test_what_is_here_holds_while_the_registry_is_away_which_is_asked_once_a_minute(published: Published) -> None:
    digests = [published.bank.approved(), published.bank.released("run-02", later)]
    published.bank.store.approve(digests[1], approver=OTHER)
    releases = source(published)
    for digest in digests:
        releases.verify(digest)
    published.away = True
    published.bank.time.forward(hours=1)
    asked = published.asked
    for _ in range(3):
        for digest in digests:
            releases.verify(digest)
    assert published.asked == asked + 1, "a silent registry is waited for once, not for every release"
    published.away = False
    published.bank.store.withdraw(digests[1], withdrawer=OTHER, reason="drift")
    published.bank.time.now += ASK_AGAIN + timedelta(seconds=1)
    with pytest.raises(NotVerified, match="withdrawn"):
        releases.verify(digests[1])
