"""No byte of a release can be changed without being noticed, and nothing but our own errors comes out."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aboveboard.errors import AboveboardError, NotVerified
from aboveboard.models.digest import model_digest
from aboveboard.release import ReleaseDocument, ReleaseStore, Trust
from aboveboard.release.bundle import pack
from aboveboard.release.documents import decode
from aboveboard.release.manifest import Index, Manifest, parse_manifest
from aboveboard.release.signature import APPROVAL, Envelope, open_envelope
from aboveboard.release.trust import TrustDocument
from tests.release_cases import Bank, digest_of_model

SMALL = 1500
"""Bytes up to which a file has every one of its bytes changed; larger ones have some hundred changed at random."""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    bank.approved()
    yield bank
    shutil.rmtree(bank.root)


def stored(bank: Bank) -> list[Path]:
    root = bank.root / "releases"
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != ".lock")


def assert_noticed(bank: Bank, path: Path, damaged: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(damaged)
    try:
        with pytest.raises(NotVerified):
            bank.store.verify("small-loans")
    finally:
        path.write_bytes(whole)


def test_every_byte_of_every_small_file_counts(bank: Bank) -> None:
    changed = 0
    for path in stored(bank):
        whole = path.read_bytes()
        if len(whole) > SMALL:
            continue
        for position in range(len(whole)):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << (position % 8)
            assert_noticed(bank, path, bytes(damaged))
            changed += 1
    assert changed > 5000
    assert bank.store.verify("small-loans").approvals


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_anywhere_is_noticed(bank: Bank, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(stored(bank)))
    whole = path.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["replace", "insert", "cut", "append"]))
    other = data.draw(st.binary(min_size=1, max_size=8))
    damaged = {
        "replace": whole[:position] + other + whole[position + len(other) :],
        "insert": whole[:position] + other + whole[position:],
        "cut": whole[:position],
        "append": whole + other,
    }[kind]
    if damaged != whole:
        assert_noticed(bank, path, damaged)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_trust_file_never_lets_a_stranger_in(bank: Bank, data: st.DataObject) -> None:
    whole = bank.keys.trust_file.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:position] + data.draw(st.binary(min_size=1, max_size=1)) + whole[position + 1 :]
    try:
        trust = Trust.parse(damaged)
    except NotVerified:
        return
    assert {key.key_id for key in trust.keys} <= {key.key_id for key in bank.keys.trust().keys}


@given(st.binary(max_size=300))
def test_bytes_that_are_no_document_are_refused_with_our_error(content: bytes) -> None:
    with pytest.raises(NotVerified):
        parse_manifest(content, "sha256:" + "0" * 64)
    with pytest.raises(NotVerified):
        Trust.parse(content)
    with pytest.raises(NotVerified):
        open_envelope(content, Trust(()), subject="sha256:" + "0" * 64, predicate_type=APPROVAL)


JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(JSON)
def test_any_json_in_place_of_a_document_is_refused_with_our_error(document: object) -> None:
    content = json.dumps(document).encode()
    for shape in (Index, Manifest, Envelope, TrustDocument, ReleaseDocument):
        with pytest.raises(NotVerified):
            decode(content, shape, "document")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reference=st.text(max_size=80))
def test_any_text_as_reference_gives_a_release_or_our_error(bank: Bank, reference: str) -> None:
    try:
        digest = bank.store.resolve(reference)
    except AboveboardError:
        return
    assert digest == bank.store.resolve("small-loans")


NAMES = st.text(alphabet="abcxyz019._-", min_size=1, max_size=12)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), st.binary(max_size=40), min_size=1))
def test_the_model_digest_is_that_of_the_canonical_list_of_files(files: dict[str, bytes]) -> None:
    assert model_digest(files) == digest_of_model(files)
    assert model_digest(dict(reversed(files.items()))) == model_digest(files)
    name = next(iter(files))
    assert model_digest({**files, name: files[name] + b"x"}) != model_digest(files)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(models=st.dictionaries(NAMES.filter(lambda n: n[0].isalnum()), st.binary(max_size=40), min_size=1))
def test_packing_does_not_depend_on_the_order_of_files(bank: Bank, models: dict[str, bytes]) -> None:
    release = bank.store.verify("small-loans")
    evidence = {name: content for name, content in release.files.items() if not name.startswith("model/")}
    files = evidence | {f"model/{name}": content for name, content in models.items()}
    bundle = pack(release.document, files)
    assert pack(release.document, dict(reversed(files.items()))) == bundle
    manifest = json.loads(bundle.manifest)
    assert rfc8785.dumps(manifest) == bundle.manifest
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in manifest["layers"]]
    assert titles == sorted(files)


def test_a_forged_release_with_all_digests_put_right_still_needs_the_key(bank: Bank, tmp_path: Path) -> None:
    """An attacker who may rewrite the whole store, index and all, but holds no trusted key."""
    forger = Bank(tmp_path / "forger")
    forger.approved()
    victim = tmp_path / "victim"
    shutil.copytree(forger.root / "releases", victim)
    store = ReleaseStore(victim, keys=bank.keys, clock=bank.time)
    with pytest.raises(NotVerified, match="no trusted key"):
        store.verify("small-loans")


def test_a_statement_moved_to_another_release_does_not_count(bank: Bank) -> None:
    release = bank.store.verify("small-loans")
    root = bank.root / "releases" / "blobs" / "sha256"
    envelopes = [content for path in root.iterdir() if b'"payloadType"' in (content := path.read_bytes())]
    assert len(envelopes) == 2
    about = {
        json.loads(base64.b64decode(json.loads(envelope)["payload"]))["subject"][0]["digest"]["sha256"]
        for envelope in envelopes
    }
    assert about == {release.digest[7:]}
    for envelope in envelopes:
        with pytest.raises(NotVerified):
            open_envelope(envelope, bank.keys.trust(), subject="sha256:" + "0" * 64, predicate_type=APPROVAL)
