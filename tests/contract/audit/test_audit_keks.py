"""What every provider of a key-encryption key must do: file, environment, Vault Transit, AWS KMS."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aboveboard.audit import events
from aboveboard.audit.kek import KeyEncryptionKey, LocalKey
from aboveboard.errors import Misuse, NotAuthorised, NotVerified, StorageFailed
from tests.audit_cases import decision, open_log

KEY = bytes(range(32))


class TransitServer(BaseHTTPRequestHandler):
    """As much of Vault's Transit API as a client of it uses, with real encryption, over HTTP."""

    cipher = AESGCM(os.urandom(32))

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation, key = self.path.removeprefix("/v1/transit/").split("/")
        status, body = 400, {"errors": ["bad request"]}
        if self.headers["X-Vault-Token"] != "good":
            status, body = 403, {"errors": ["permission denied"]}
        elif key == "audit" and operation == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + self.cipher.encrypt(nonce, base64.b64decode(content["plaintext"]), key.encode())
            status, body = 200, {"data": {"ciphertext": "vault:v1:" + base64.b64encode(sealed).decode()}}  # type: ignore[dict-item]
        elif key == "audit" and operation == "decrypt":
            try:
                sealed = base64.b64decode(content["ciphertext"].removeprefix("vault:v1:"))
                plain = self.cipher.decrypt(sealed[:12], sealed[12:], key.encode())
                status, body = 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}  # type: ignore[dict-item]
            except (InvalidTag, ValueError):
                body = {"errors": ["cipher: message authentication failed"]}
        answer = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def transit_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TransitServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


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

        return TransitKey.connect(request.getfixturevalue("transit_url"), "good", "audit")
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
        TransitKey.connect("http://127.0.0.1:9", "good", "audit").wrap(KEY)
    with pytest.raises(NotVerified, match="NotFoundException"):
        KmsKey(kms, "arn:aws:kms:eu-central-1:123456789012:key/none").wrap(KEY)


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
