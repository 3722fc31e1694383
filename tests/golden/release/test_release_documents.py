"""What registries, verifiers and scanners of others read: it changes on purpose or not at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aboveboard.release import Keyring, ReleaseDocument, Role, Trust, TrustedKey
from aboveboard.release.bundle import Bundle, pack, pack_referrer
from aboveboard.release.evidence import model_files
from aboveboard.release.layout import index_bytes
from aboveboard.release.manifest import MANIFEST_TYPE, describe, parse_manifest
from aboveboard.release.run import FinishedRun, read_run
from aboveboard.release.sbom import Distribution, bill_of_materials
from aboveboard.release.signature import APPROVAL, RELEASE, sign_statement
from aboveboard.release.trust import key_id
from tests.release_cases import APPROVER, AUTHOR, START, write_run

Golden = Callable[[str, str], None]

DISTRIBUTIONS = [
    Distribution("aboveboard", "0.1.0", [{"expression": "Apache-2.0"}], ["example-library"]),
    Distribution("Example_Library", "2.0+local", [{"license": {"name": "MIT License"}}], []),
]


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    return read_run(write_run(tmp_path / "run"))


@pytest.fixture
def sbom(run: FinishedRun) -> bytes:
    return bill_of_materials(run.spec, run.evidence, model_files(run.files), DISTRIBUTIONS)


@pytest.fixture
def document(run: FinishedRun) -> ReleaseDocument:
    return ReleaseDocument(
        schema="aboveboard.dev/release/v1",
        name="small-loans",
        purpose="credit-decision",
        materiality="high",
        jurisdictions=["us", "eu"],
        regions=["eu-west"],
        author=AUTHOR,
        created="2026-11-21T09:00:00.000Z",
        run_id=run.id,
        aboveboard_version="0.1.0",
        model_digest=run.evidence.model_digest,
        data_digest=run.evidence.data_digest,
        facts_digest=run.evidence.facts_digest,
        report_digest=run.evidence.report_digest,
        verdict="pass",
    )


@pytest.fixture
def bundle(run: FinishedRun, document: ReleaseDocument, sbom: bytes) -> Bundle:
    return pack(document, {**run.files, "sbom.cdx.json": sbom})


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    """A keyring with two keys that are the same in every run of the tests."""
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    trusted = []
    for seed, actor, role in ((1, AUTHOR, Role.AUTHOR), (2, APPROVER, Role.APPROVER)):
        private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        identity = key_id(private.public_key())
        path = directory / f"{identity}.pem"
        path.touch(mode=0o600)
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        raw = base64.b64encode(private.public_key().public_bytes_raw()).decode()
        trusted.append(TrustedKey(actor, identity, raw, [role], START))
    (directory / "trust.json").write_bytes(Trust(tuple(trusted)).to_bytes())
    return Keyring(directory)


def indented(content: bytes) -> str:
    return json.dumps(json.loads(content), indent=2, ensure_ascii=False) + "\n"


def test_the_manifest(bundle: Bundle, golden: Golden) -> None:
    golden("release/manifest.json", bundle.manifest.decode())


def test_the_release_document(bundle: Bundle, golden: Golden) -> None:
    golden("release/config.json", bundle.blobs[0].decode())


def test_the_bill_of_materials(sbom: bytes, golden: Golden) -> None:
    golden("release/sbom.cdx.json", indented(sbom))


def test_the_trust_file(keys: Keyring, golden: Golden) -> None:
    golden("release/trust.json", keys.trust_file.read_text())


@pytest.mark.parametrize(
    ("name", "actor", "role", "kind", "predicate"),
    [
        ("signature", AUTHOR, Role.AUTHOR, RELEASE, {"author": AUTHOR, "signed": "2026-11-21T09:30:00.000Z"}),
        (
            "approval",
            APPROVER,
            Role.APPROVER,
            APPROVAL,
            {"approver": APPROVER, "approved": "2026-11-21T09:30:00.000Z", "comment": "validated"},
        ),
    ],
)
def test_the_statements(
    bundle: Bundle,
    keys: Keyring,
    golden: Golden,
    name: str,
    actor: str,
    role: Role,
    kind: str,
    predicate: dict[str, str],
) -> None:
    envelope = sign_statement(
        keys,
        actor=actor,
        role=role,
        predicate_type=kind,
        predicate=predicate,
        subject=bundle.digest,
        name="small-loans",
        at=START,
    )
    golden(f"release/{name}.dsse.json", envelope.decode())
    subject = describe(bundle.manifest, MANIFEST_TYPE)
    golden(
        f"release/{name}.manifest.json",
        pack_referrer(envelope, predicate_type=kind, subject=subject).manifest.decode(),
    )


def test_the_index(bundle: Bundle, golden: Golden) -> None:
    manifests = {bundle.digest: (bundle.manifest, parse_manifest(bundle.manifest, bundle.digest))}
    golden("release/index.json", index_bytes(manifests).decode())
