"""What every provider of a key-encryption key must do: file, environment, Vault Transit, AWS KMS."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit import events
from aboveboard.audit.kek import KeyEncryptionKey, LocalKey
from aboveboard.errors import Misuse, NotAuthorised, NotVerified, StorageFailed
from tests.audit_cases import decision, open_log
from tests.vault_server import ROOT, vault_server

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def transit_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with vault_server(tmp_path_factory.mktemp("vault")) as vault:
        yield vault.url


@pytest.fixture(scope="module")
def kms() -> Iterator[Any]:
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "kms",
        endpoint_url=f"http://{host}:{port}",
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield client
    client.close()
    server.stop()


@pytest.fixture(params=["file", "environment", "transit", "kms"])
def kek(request: pytest.FixtureRequest, tmp_path: Path) -> KeyEncryptionKey:
    if request.param == "file":
        return LocalKey.file(tmp_path / "k" / "kek.key")
    if request.param == "environment":
        return LocalKey.environment({"ABOVEBOARD_AUDIT_KEK": base64.b64encode(os.urandom(32)).decode()})
    if request.param == "transit":
        pytest.importorskip("hvac")
        from aboveboard.audit.kek_transit import TransitKey

        return TransitKey.connect(request.getfixturevalue("transit_url"), ROOT, "audit")
    from aboveboard.audit.kek_aws import KmsKey

    client = request.getfixturevalue("kms")
    return KmsKey(client, client.create_key()["KeyMetadata"]["Arn"])


def test_what_is_wrapped_can_be_unwrapped(kek: KeyEncryptionKey) -> None:
    wrapped = kek.wrap(KEY)
    assert kek.unwrap(wrapped) == KEY
    assert KEY not in wrapped
    assert wrapped != kek.wrap(KEY)


def test_a_changed_wrapping_is_refused(kek: KeyEncryptionKey) -> None:
    wrapped = bytearray(kek.wrap(KEY))
    wrapped[-2] ^= 1
    with pytest.raises(NotVerified):
        kek.unwrap(bytes(wrapped))


def test_a_log_lives_under_it_and_can_be_moved_to_and_from_it(kek: KeyEncryptionKey, tmp_path: Path) -> None:
    who = {"actor": "a", "purpose": "test"}
    with open_log(tmp_path) as log:
        log.append(decision(1))
        log.publish()
        assert log.rotate_vault_key(actor="security", kek=kek) == 1
        log.append(decision(2, "sub-b"))
    with pytest.raises(NotVerified, match="not"):
        open_log(tmp_path)
    with open_log(tmp_path, kek=kek) as log:
        log.publish()
        assert isinstance(log.read(0, **who), events.Decision)
        assert log.rotate_vault_key(actor="security", kek=LocalKey.file(tmp_path / "keys" / "audit-kek.key")) == 3
    with open_log(tmp_path) as log:
        log.publish()
        assert log.fsck().as_dict()["findings"] == []


def test_providers_that_refuse_or_are_away(transit_url: str, kms: Any) -> None:
    pytest.importorskip("hvac")
    from aboveboard.audit.kek_aws import KmsKey
    from aboveboard.audit.kek_transit import TransitKey

    with pytest.raises(NotVerified, match="Forbidden"):
        TransitKey.connect(transit_url, "bad", "audit").wrap(KEY)
    with pytest.raises(StorageFailed):
        TransitKey.connect("http://127.0.0.1:9", ROOT, "audit").wrap(KEY)
    with pytest.raises(NotVerified, match="NotFoundException"):
        KmsKey(kms, "arn:aws:kms:eu-central-1:123456789012:key/none").wrap(KEY)


def test_a_pod_is_somebody_to_aws_by_its_projected_token(
    kms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    from aboveboard.audit.kek_aws import KmsKey

    token = tmp_path / "token"
    token.write_text("a.projected.token")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    # What EKS puts into a pod whose service account is annotated with a role.
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/decisions")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", kms.meta.endpoint_url)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    kek = KmsKey.connect(arn)
    assert kek.unwrap(kek.wrap(KEY)) == KEY
    credentials = boto3.DEFAULT_SESSION.get_credentials()
    assert credentials.method == "assume-role-with-web-identity"
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(NotAuthorised, match="no token"):
        KmsKey.connect(arn).wrap(KEY)


def test_local_keys_are_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "kek.key"
    LocalKey.file(path)
    path.chmod(0o640)
    with pytest.raises(NotAuthorised, match="others may read"):
        LocalKey.file(path)
    for text in ("", "short", base64.b64encode(bytes(31)).decode()):
        with pytest.raises(Misuse):
            LocalKey.environment({"ABOVEBOARD_AUDIT_KEK": text})
    with pytest.raises(Misuse):
        LocalKey.environment({})
