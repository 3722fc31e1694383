"""The layout on disk: what the OCI specification says, and nothing read that does not hash to its name."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from aboveboard.errors import NotVerified, StorageFailed
from aboveboard.release.layout import OciLayout
from aboveboard.release.manifest import Descriptor, describe, hexadecimal
from tests.release_cases import APPROVER, Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def test_the_layout_is_one_that_oci_tools_read(bank: Bank) -> None:
    digest = bank.approved()
    root = bank.root / "releases"
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((root / "index.json").read_text())
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    release = next(entry for entry in index["manifests"] if entry["digest"] == digest)
    assert release["artifactType"] == "application/vnd.aboveboard.release.v1"
    assert release["annotations"]["org.opencontainers.image.ref.name"] == f"small-loans-{digest[7:19]}"
    for blob in (root / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_statements_refer_to_the_release_by_subject(bank: Bank) -> None:
    digest = bank.approved()
    root = bank.root / "releases"
    kinds = set()
    for entry in json.loads((root / "index.json").read_text())["manifests"]:
        content = (root / "blobs" / "sha256" / entry["digest"][7:]).read_bytes()
        manifest = json.loads(content)
        assert entry["size"] == len(content)
        assert entry["artifactType"] == manifest["artifactType"]
        if entry["digest"] == digest:
            assert "subject" not in manifest
            continue
        assert manifest["subject"]["digest"] == digest
        # The empty descriptor of the image specification, whose artifactType MUST then be set.
        assert manifest["config"] == {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        }
        kinds.add(manifest["annotations"]["in-toto.io/predicate-type"])
    assert kinds == {
        "https://aboveboard.dev/attestations/release/v1",
        "https://aboveboard.dev/attestations/approval/v1",
    }


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "\n",
        "sha512:" + "a" * 64,
        "sha256:../../../../etc/passwd",
        "sha256:" + "/" * 64,
        "a" * 64,
        "sha256:" + "٣" * 64,
    ],
)
def test_only_a_whole_digest_becomes_a_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(NotVerified, match="not a SHA-256 digest"):
        hexadecimal(digest)
    with pytest.raises(NotVerified, match="not a SHA-256 digest"):
        OciLayout(tmp_path).read(Descriptor("text/plain", digest, 0))


def test_a_layout_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert OciLayout(tmp_path / "none").manifests() == {}
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("size", [0, 1, 3, 2**62, 10**30])
def test_a_wrong_size_does_not_hold_and_takes_no_memory(tmp_path: Path, size: int) -> None:
    layout = OciLayout(tmp_path)
    with layout.writing() as writer:
        writer.put(b"ab")
    good = describe(b"ab", "text/plain")
    assert layout.read(good) == b"ab"
    with pytest.raises(NotVerified, match="does not hold"):
        layout.read(Descriptor("text/plain", good.digest, size))


def test_a_pipe_in_place_of_a_blob_does_not_make_a_reader_wait(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    with layout.writing() as writer:
        writer.put(b"ab")
    path = layout.blob_path(describe(b"ab", "text/plain").digest)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StorageFailed, match="not a regular file"):
        layout.read(describe(b"ab", "text/plain"))


def test_a_missing_blob_is_named(bank: Bank) -> None:
    digest = bank.approved()
    model = next(file for file in bank.store.show(digest).files if file.name == "model/trees.txt")
    (bank.root / "releases" / "blobs" / "sha256" / model.digest[7:]).unlink()
    with pytest.raises(NotVerified, match=f"{model.digest} is missing"):
        bank.store.verify(digest)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_a_lost_file_of_the_layout_is_noticed_and_can_be_rebuilt(bank: Bank, name: str) -> None:
    digest = bank.approved()
    before = (bank.root / "releases" / name).read_bytes()
    (bank.root / "releases" / name).unlink()
    with pytest.raises(NotVerified, match=name):
        bank.store.verify(digest)
    with pytest.raises(NotVerified, match=name):
        bank.store.approve(digest, approver=APPROVER)
    assert bank.store.rebuild_index() == 3
    assert (bank.root / "releases" / name).read_bytes() == before
    assert bank.store.verify(digest).approvals


def test_an_index_with_an_entry_taken_out_still_agrees_but_the_approval_is_gone(bank: Bank) -> None:
    digest = bank.approved()
    path = bank.root / "releases" / "index.json"
    index = json.loads(path.read_text())
    index["manifests"] = [e for e in index["manifests"] if "approval" not in e["artifactType"]]
    path.write_text(json.dumps(index, separators=(",", ":"), sort_keys=True))
    with pytest.raises(NotVerified, match="0 of 1 approvals"):
        bank.store.verify(digest)


def test_an_index_in_another_order_or_spelling_does_not_hold(bank: Bank) -> None:
    digest = bank.approved()
    path = bank.root / "releases" / "index.json"
    index = json.loads(path.read_text())
    for changed in (
        {**index, "manifests": index["manifests"][::-1]},
        {**index, "manifests": [*index["manifests"], index["manifests"][0]]},
        {**index, "annotations": {"a": "b"}},
    ):
        path.write_text(json.dumps(changed, separators=(",", ":"), sort_keys=True))
        with pytest.raises(NotVerified, match=r"index\.json"):
            bank.store.verify(digest)


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    with layout.writing() as writer:
        writer.put(b"ab")
    left = [tmp_path / ".index.json.x1", tmp_path / "blobs" / "sha256" / f".{'a' * 64}.x2"]
    for path in left:
        path.write_bytes(b"half")
    other = tmp_path / ".keep"
    other.write_bytes(b"not ours")
    with layout.writing():
        pass
    assert [path.exists() for path in left] == [False, False]
    assert other.exists()


def test_a_damaged_blob_is_written_anew_when_the_same_content_comes(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    with layout.writing() as writer:
        writer.put(b"ab")
    layout.blob_path(describe(b"ab", "text/plain").digest).write_bytes(b"xy")
    with layout.writing() as writer:
        writer.put(b"ab")
    assert layout.read(describe(b"ab", "text/plain")) == b"ab"
