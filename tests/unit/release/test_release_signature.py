"""The envelopes, checked by other people's code and by the formats' own words."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nacl.exceptions
import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from aboveboard.errors import NotVerified
from aboveboard.release.signature import APPROVAL, RELEASE, open_envelope, pae, sign_statement
from aboveboard.release.trust import Role
from tests.release_cases import APPROVER, AUTHOR, START, Bank

SUBJECT = "sha256:" + "ab" * 32


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture
def envelope(bank: Bank) -> dict[str, Any]:
    content = sign_statement(
        bank.keys,
        actor=APPROVER,
        role=Role.APPROVER,
        predicate_type=APPROVAL,
        predicate={"approver": APPROVER, "approved": "2026-11-21T09:30:00.000Z", "comment": "é"},
        subject=SUBJECT,
        name="small-loans",
        at=START,
    )
    document: dict[str, Any] = json.loads(content)
    return document


def opened(bank: Bank, envelope: dict[str, Any], *, subject: str = SUBJECT, predicate_type: str = APPROVAL) -> Any:
    content = json.dumps(envelope).encode()
    return open_envelope(content, bank.keys.trust(), subject=subject, predicate_type=predicate_type)


def raw_public_key(bank: Bank, actor: str) -> bytes:
    key = next(key for key in bank.keys.trust().keys if key.actor == actor)
    return base64.b64decode(key.public_key)


def test_the_encoding_is_the_example_of_the_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_encoding_counts_bytes_not_characters() -> None:
    assert pae("é", "ü".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xbc"


def test_libsodium_accepts_the_signature_over_an_encoding_made_here(bank: Bank, envelope: dict[str, Any]) -> None:
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    message = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    key = nacl.signing.VerifyKey(raw_public_key(bank, APPROVER))
    key.verify(message, base64.b64decode(envelope["signatures"][0]["sig"]))
    with pytest.raises(nacl.exceptions.BadSignatureError):
        key.verify(message + b" ", base64.b64decode(envelope["signatures"][0]["sig"]))


def test_securesystemslib_verifies_the_envelope(bank: Bank, envelope: dict[str, Any]) -> None:
    key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(raw_public_key(bank, APPROVER)))
    key.keyid = envelope["signatures"][0]["keyid"]
    theirs = OtherEnvelope.from_dict(json.loads(json.dumps(envelope)))
    assert set(theirs.verify([key], 1)) == {key.keyid}


def test_the_statement_is_an_in_toto_statement_about_the_manifest(envelope: dict[str, Any]) -> None:
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert json.loads(base64.b64decode(envelope["payload"])) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "small-loans", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://aboveboard.dev/attestations/approval/v1",
        "predicate": {"approver": APPROVER, "approved": "2026-11-21T09:30:00.000Z", "comment": "é"},
    }


def test_a_good_envelope_says_who_signed_it(bank: Bank, envelope: dict[str, Any]) -> None:
    attestation = opened(bank, envelope)
    assert attestation.key.actor == attestation.actor == APPROVER
    assert attestation.moment == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def test_url_safe_base64_is_accepted_too(bank: Bank, envelope: dict[str, Any]) -> None:
    def translate(text: str) -> str:
        return text.replace("+", "-").replace("/", "_")

    envelope["payload"] = translate(envelope["payload"])
    envelope["signatures"][0]["sig"] = translate(envelope["signatures"][0]["sig"])
    assert opened(bank, envelope).actor == APPROVER


def test_the_key_id_is_only_a_hint(bank: Bank, envelope: dict[str, Any]) -> None:
    del envelope["signatures"][0]["keyid"]
    assert opened(bank, envelope).key.actor == APPROVER
    envelope["signatures"][0]["keyid"] = next(k.key_id for k in bank.keys.trust().keys if k.actor == AUTHOR)
    with pytest.raises(NotVerified, match="no trusted key"):
        opened(bank, envelope)


def test_one_good_signature_among_others_is_enough(bank: Bank, envelope: dict[str, Any]) -> None:
    envelope["signatures"].insert(0, {"sig": base64.b64encode(b"x" * 64).decode()})
    assert opened(bank, envelope).key.actor == APPROVER


def test_another_subject_type_or_payload_is_refused(bank: Bank, envelope: dict[str, Any]) -> None:
    with pytest.raises(NotVerified, match="something else"):
        opened(bank, envelope, subject="sha256:" + "cd" * 32)
    with pytest.raises(NotVerified, match="not a"):
        opened(bank, envelope, predicate_type=RELEASE)
    changed = {**envelope, "payloadType": "application/json"}
    with pytest.raises(NotVerified, match="no trusted key"):
        opened(bank, changed)
    changed = {**envelope, "signatures": []}
    with pytest.raises(NotVerified, match="no trusted key"):
        opened(bank, changed)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"payload":"%%","payloadType":""}']
)
def test_what_is_no_envelope_is_refused_with_our_error(bank: Bank, content: bytes) -> None:
    with pytest.raises(NotVerified):
        open_envelope(content, bank.keys.trust(), subject=SUBJECT, predicate_type=APPROVAL)
