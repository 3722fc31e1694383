"""Only what belongs in a release gets into one, and only a release is read as one."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import msgspec
import pytest

from aboveboard.errors import GateRefused, NotFound, NotVerified
from aboveboard.release import VerifiedRelease
from aboveboard.release.bundle import pack
from aboveboard.release.documents import canonical
from aboveboard.release.evidence import read_evidence
from aboveboard.release.manifest import parse_manifest
from aboveboard.release.verification import read_release
from tests.release_cases import APPROVER, AUTHOR, Bank, run_documents, write_run


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture
def release(bank: Bank) -> VerifiedRelease:
    return bank.store.verify(bank.approved())


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "model/", "model/../evil", "model/.hidden", "model/a/b", "/model/a", "model/a\n", "", "MODEL.YAML"],
)
def test_a_file_without_a_place_is_refused(release: VerifiedRelease, name: str) -> None:
    with pytest.raises(NotVerified, match="no place"):
        pack(release.document, {**release.files, name: b""})


def test_a_release_is_whole(release: VerifiedRelease) -> None:
    for name in release.files:
        if not name.startswith("model/"):
            with pytest.raises(NotVerified, match=f"{name} is missing"):
                pack(release.document, {n: content for n, content in release.files.items() if n != name})
    with pytest.raises(NotVerified, match="no model files"):
        pack(release.document, {n: content for n, content in release.files.items() if not n.startswith("model/")})


def test_an_empty_file_of_a_model_is_a_file(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    model = {"empty": b"", "model.json": b"{}"}
    run = write_run(tmp_path / "run", run_documents(model=model), model=model)
    digest = bank.store.create(run, author=AUTHOR).digest
    bank.store.approve(digest, approver=APPROVER)
    assert bank.store.verify(digest).model_files == model


def test_a_run_without_a_model_is_refused(bank: Bank) -> None:
    run = write_run(bank.root / "run")
    for path in (run / "model").iterdir():
        path.unlink()
    (run / "model").rmdir()
    with pytest.raises(GateRefused, match="no model"):
        bank.store.create(run, author=AUTHOR)


def test_a_manifest_of_another_kind_is_not_read_as_a_release(bank: Bank, release: VerifiedRelease) -> None:
    path = bank.root / "releases" / "blobs" / "sha256" / release.digest[7:]
    manifest = json.loads(path.read_bytes())
    with pytest.raises(NotVerified, match="another version"):
        parse_manifest(json.dumps({**manifest, "schemaVersion": 1}).encode(), release.digest)
    with pytest.raises(NotVerified, match="another version"):
        parse_manifest(json.dumps({**manifest, "mediaType": "text/plain"}).encode(), release.digest)
    other = json.dumps({**manifest, "artifactType": "application/vnd.example"}).encode()
    layout = bank.store._layout
    with pytest.raises(NotVerified, match="is not a release"):
        read_release(layout, {release.digest: (other, parse_manifest(other, ""))}, release.digest)
    with pytest.raises(NotFound):
        read_release(layout, {}, release.digest)


def test_layers_that_hide_one_another_are_refused(bank: Bank, release: VerifiedRelease) -> None:
    """Two layers under one name: which of them runs would be a matter of reading order."""
    manifest = bank.store._layout.manifests()[release.digest][1]
    doubled = msgspec.structs.replace(manifest, layers=[*manifest.layers, manifest.layers[-1]])
    content = json.dumps(msgspec.to_builtins(doubled)).encode()
    with pytest.raises(NotVerified, match="not what its files and document make it"):
        read_release(bank.store._layout, {release.digest: (content, doubled)}, release.digest)


def test_documents_too_deep_or_without_a_canonical_form_give_our_error(release: VerifiedRelease) -> None:
    for content in (b"[" * 900 + b"]" * 900, b'{"n": 1e999}', b'{"n": 123456789012345678901234567890}'):
        try:
            canonical(content, "facts.json")
        except NotVerified:
            continue
        assert content.startswith(b"[")  # deep, but not too deep for this interpreter
    facts = json.loads(release.files["facts.json"])
    facts["explanation"]["deep"] = "DEEP"
    deep = b"[" * 100_000 + b"]" * 100_000
    files = {**release.files, "facts.json": json.dumps(facts).encode().replace(b'"DEEP"', deep)}
    with pytest.raises(NotVerified):
        read_evidence(files)


def test_an_archive_must_hold_an_index_and_a_release(bank: Bank) -> None:
    path = bank.root / "layout.tar"
    for content, complaint in ((None, "no index"), (b'{"manifests": []}', "no release"), (b"{}", "not the document")):
        with tarfile.open(path, "w") as archive:
            if content is not None:
                member = tarfile.TarInfo("index.json")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        with pytest.raises(NotVerified, match=complaint):
            bank.store.import_(path)
