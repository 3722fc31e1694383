"""Keys are private, made on purpose, and trusted only for what the trust file says."""

from __future__ import annotations

import base64
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aboveboard.errors import AboveboardError, Misuse, NotAuthorised, NotFound, NotVerified
from aboveboard.release import Keyring, Role, Trust
from tests.release_cases import AUTHOR, START

OTHER = "otto@bank.example"


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys")


def test_a_new_key_is_private_and_the_trust_file_is_not_secret(keys: Keyring, tmp_path: Path) -> None:
    key = keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    path = tmp_path / "keys" / f"{key.key_id}.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert load_pem_private_key(path.read_bytes(), None)
    assert b"PRIVATE" not in keys.trust_file.read_bytes()


def test_ensure_makes_a_key_once_and_another_for_another_role(keys: Keyring) -> None:
    first = keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    assert keys.ensure(AUTHOR, [Role.AUTHOR], at=START + timedelta(days=1)) == first
    second = keys.ensure(AUTHOR, [Role.APPROVER], at=START)
    assert second.key_id != first.key_id
    assert keys.trust().keys == (first, second)


def test_ensure_replaces_a_key_that_is_lost_or_over(keys: Keyring, tmp_path: Path) -> None:
    first = keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    keys.retire(first.key_id, at=START + timedelta(days=1))
    second = keys.ensure(AUTHOR, [Role.AUTHOR], at=START + timedelta(days=1))
    (tmp_path / "keys" / f"{second.key_id}.pem").unlink()
    third = keys.ensure(AUTHOR, [Role.AUTHOR], at=START + timedelta(days=1))
    assert len({first.key_id, second.key_id, third.key_id}) == 3


def test_signing_uses_the_newest_key_that_is_valid(keys: Keyring) -> None:
    old = keys.create(AUTHOR, [Role.AUTHOR], not_before=START)
    new = keys.create(AUTHOR, [Role.AUTHOR], not_before=START + timedelta(days=1))
    ends = START + timedelta(days=3)
    short = keys.create(AUTHOR, [Role.AUTHOR], not_before=START + timedelta(days=2), not_after=ends)
    for days, expected in ((0, old), (1, new), (2, short), (3, new)):
        assert keys.sign(AUTHOR, Role.AUTHOR, b"m", at=START + timedelta(days=days))[0] == expected.key_id
    with pytest.raises(NotAuthorised):
        keys.sign(AUTHOR, Role.AUTHOR, b"m", at=START - timedelta(days=1))


def test_nothing_is_created_on_the_way(keys: Keyring, tmp_path: Path) -> None:
    with pytest.raises(NotAuthorised, match="no signing key"):
        keys.sign(AUTHOR, Role.AUTHOR, b"message", at=START)
    assert keys.trust() == Trust(())
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_is_refused(keys: Keyring, tmp_path: Path, mode: int) -> None:
    key = keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    (tmp_path / "keys" / f"{key.key_id}.pem").chmod(mode)
    with pytest.raises(NotAuthorised, match="read by others") as refusal:
        keys.sign(AUTHOR, Role.AUTHOR, b"message", at=START)
    assert "chmod 600" in refusal.value.hint


def test_a_directory_that_others_may_change_is_refused(keys: Keyring, tmp_path: Path) -> None:
    keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    (tmp_path / "keys").chmod(0o770)
    with pytest.raises(NotAuthorised, match="changed by others"):
        keys.ensure(OTHER, [Role.AUTHOR], at=START)


@pytest.mark.parametrize("change", ["garbled", "swapped", "truncated"])
def test_no_error_repeats_key_material(keys: Keyring, tmp_path: Path, change: str) -> None:
    key = keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    other = keys.ensure(OTHER, [Role.AUTHOR], at=START)
    path = tmp_path / "keys" / f"{key.key_id}.pem"
    secret = path.read_text().splitlines()[1]
    damaged = {
        "garbled": path.read_text().replace("PRIVATE", "PRIVATF"),
        "swapped": (tmp_path / "keys" / f"{other.key_id}.pem").read_text(),
        "truncated": path.read_text()[:60],
    }[change]
    path.write_text(damaged)
    with pytest.raises(NotAuthorised, match="not the private key of its name") as refusal:
        keys.sign(AUTHOR, Role.AUTHOR, b"message", at=START)
    chain = [refusal.value, refusal.value.__cause__, refusal.value.__context__]
    assert not any(part in str(error) for error in chain if error for part in (secret, secret[20:40]))
    assert secret[20:40] not in json.dumps(refusal.value.as_dict())
    assert secret[20:40] not in repr(keys)


@pytest.mark.parametrize("actor", ["", " ada", "ada\n", "a" * 321, "ada\x00"])
def test_an_actor_has_a_plain_name(keys: Keyring, actor: str) -> None:
    with pytest.raises(Misuse):
        keys.ensure(actor, [Role.AUTHOR], at=START)
    with pytest.raises(Misuse):
        keys.ensure(AUTHOR, [], at=START)


@pytest.mark.parametrize("alias", ["ADA@BANK.EXAMPLE", "Ada@bank.example", "ａda@bank.example"])
def test_one_person_has_one_spelling(keys: Keyring, alias: str) -> None:
    keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    with pytest.raises(Misuse, match="too like"):
        keys.ensure(alias, [Role.APPROVER], at=START)


def test_retiring_an_unknown_key(keys: Keyring) -> None:
    with pytest.raises(NotFound):
        keys.retire("0" * 64, at=START)


def trusted(keys: Keyring) -> dict[str, Any]:
    keys.ensure(AUTHOR, [Role.AUTHOR], at=START)
    keys.ensure(OTHER, [Role.APPROVER], at=START)
    document: dict[str, Any] = json.loads(keys.trust_file.read_text())
    return document


def _same_key_for_both(document: dict[str, Any]) -> None:
    document["keys"][1] = {**document["keys"][0], "actor": OTHER}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d["keys"][0].update(key_id="0" * 64), "not the key its id says"),
        (lambda d: d["keys"][0].update(public_key=d["keys"][1]["public_key"]), "not the key its id says"),
        (lambda d: d["keys"][0].update(public_key="AAAA"), "not an Ed25519 public key"),
        (lambda d: d["keys"][0].update(public_key="?"), "not an Ed25519 public key"),
        (lambda d: d["keys"][0].update(public_key=d["keys"][0]["public_key"] + "\n"), "not an Ed25519 public key"),
        (_same_key_for_both, "the same key"),
        (lambda d: d["keys"][1].update(actor=AUTHOR.upper()), "too alike"),
        (lambda d: d.update(version=2), "version 2"),
        (lambda d: d.update(more=1), "not the document"),
        (lambda d: d["keys"][0].update(roles=["root"]), "not the document"),
        (lambda d: d["keys"][0].update(roles=[]), "not the document"),
        (lambda d: d["keys"][0].update(not_before="2026-11-21T09:30:00"), "not the document"),
    ],
)
def test_a_trust_file_that_contradicts_itself_is_refused(keys: Keyring, change: Any, complaint: str) -> None:
    document = trusted(keys)
    change(document)
    with pytest.raises(NotVerified, match=complaint):
        Trust.parse(json.dumps(document).encode())


def test_a_trust_file_that_others_may_change_is_refused(keys: Keyring) -> None:
    trusted(keys)
    keys.trust_file.chmod(0o666)
    with pytest.raises(NotVerified, match="changed by others"):
        keys.trust()


def test_the_trust_file_reads_back_as_it_was_written(keys: Keyring) -> None:
    document = trusted(keys)
    assert [base64.b64decode(key["public_key"]).__len__() for key in document["keys"]] == [32, 32]
    assert Trust.parse(keys.trust().to_bytes()) == keys.trust()


def test_a_keyring_can_be_given_to_verify_only(keys: Keyring) -> None:
    trusted(keys)
    verifier = Keyring.verifying(keys.trust_file)
    assert verifier.trust() == keys.trust()
    for forbidden in (
        lambda: verifier.sign(AUTHOR, Role.AUTHOR, b"m", at=START),
        lambda: verifier.ensure("new@bank.example", [Role.AUTHOR], at=START),
    ):
        with pytest.raises(AboveboardError, match="no keys to sign with"):
            forbidden()
