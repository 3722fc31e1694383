"""A release carried as one file arrives as it left, or not at all."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from aboveboard.errors import NotFound, NotVerified
from aboveboard.release import Keyring, ReleaseStore
from tests.release_cases import Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def branch(bank: Bank) -> ReleaseStore:
    return ReleaseStore(bank.root / "branch", keys=Keyring.verifying(bank.keys.trust_file), clock=bank.time)


def test_a_release_arrives_with_its_approvals(bank: Bank) -> None:
    digest = bank.approved()
    path = bank.root / "release.tar"
    assert bank.store.export("small-loans", path) == digest
    assert branch(bank).import_(path) == [digest]
    assert branch(bank).verify(digest) == bank.store.verify(digest)
    assert branch(bank).import_(path) == [digest]
    branch(bank).export(digest, bank.root / "again.tar")
    assert (bank.root / "again.tar").read_bytes() == path.read_bytes()


def test_a_release_by_a_stranger_is_not_taken_in(bank: Bank, tmp_path: Path) -> None:
    bank.approved()
    bank.store.export("small-loans", bank.root / "release.tar")
    other = Bank(tmp_path / "other")
    with pytest.raises(NotVerified, match="no trusted key"):
        other.store.import_(bank.root / "release.tar")
    assert other.store.list() == []


def test_an_archive_with_a_changed_byte_is_refused(bank: Bank) -> None:
    bank.approved()
    path = bank.root / "release.tar"
    bank.store.export("small-loans", path)
    whole = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        members = [(member.name, member.offset_data, member.size) for member in archive if member.size]
    for name, offset, size in members:
        if not name.startswith("blobs/"):
            continue  # nothing in them but digests is used; the store writes its own
        for position in {0, size // 2, size - 1}:
            damaged = bytearray(whole)
            damaged[offset + position] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(NotVerified):
                branch(bank).import_(path)
    assert branch(bank).list() == []


def test_what_does_not_belong_is_refused_and_nothing_is_unpacked(bank: Bank) -> None:
    path = bank.root / "evil.tar"
    for name, kind in (
        ("../evil", tarfile.REGTYPE),
        ("/etc/evil", tarfile.REGTYPE),
        ("blobs/sha256/../../evil", tarfile.REGTYPE),
        ("index.json", tarfile.SYMTYPE),
        ("index.json", tarfile.LNKTYPE),
        ("index.json", tarfile.FIFOTYPE),
    ):
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc/passwd"
            archive.addfile(member)
        with pytest.raises(NotVerified, match="does not belong"):
            branch(bank).import_(path)
    assert not (bank.root / "branch").exists()


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\0" * 1024, b"\x1f\x8b" + b"x" * 600])
def test_what_is_no_archive_is_refused(bank: Bank, content: bytes) -> None:
    path = bank.root / "release.tar"
    path.write_bytes(content)
    with pytest.raises(NotVerified):
        branch(bank).import_(path)
    with pytest.raises(NotFound):
        branch(bank).import_(bank.root / "none.tar")


def test_an_archive_cut_short_is_refused(bank: Bank) -> None:
    bank.approved()
    path = bank.root / "release.tar"
    bank.store.export("small-loans", path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 10240, 1999):
        path.write_bytes(whole[:length])
        with pytest.raises(NotVerified):
            branch(bank).import_(path)
