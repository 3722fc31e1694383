"""Tokens of an identity provider: signed for real, with keys from a real HTTP server."""

from __future__ import annotations

import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from aboveboard.clock import system_clock
from aboveboard.errors import Misuse, NotAuthorised, NotVerified, StorageFailed
from aboveboard.serving.access import Access, ClientRecord, NotAuthenticated, Role, TooManyRequests, new_key
from aboveboard.serving.identity import KeySource, Tokens, load_identity, parse_keys
from aboveboard.settings import Home
from tests.integration.serving.process import Released, launch, running

ISSUER, AUDIENCE = "https://login.bank.example", "aboveboard"
KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "two"})


class Provider(ThreadingHTTPServer):
    """Publishes `keys`, counts who asks, and can be told to fail."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.keys: list[Any] = [KEY]
        self.asked = 0
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/keys"


class _Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked += 1
        body = json.dumps({"keys": [key.as_dict(private=False) for key in self.server.keys]}).encode()
        self.send_response(self.server.status)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def token(key: Any = KEY, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return a good token, or one that differs in `claims` and `header`; None leaves a claim out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "loan-desk", "iat": now, "exp": now + 60, "roles": ["desk"]}
    wanted = {name: value for name, value in {**good, **claims}.items() if value is not None}
    algorithm = {"EC": "ES256", "RSA": "RS256", "oct": "HS256"}[key.key_type]
    signed = {"alg": algorithm, "kid": key.kid, **(header or {})}
    return jwt.encode({k: v for k, v in signed.items() if v is not None}, wanted, key, algorithms=[signed["alg"]])


def identity(directory: Path, jwks: str, **changes: Any) -> Path:
    path = directory / "identity.json"
    content = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks": jwks,
        "roles": {"desk": ["decide"], "audit": ["read"]},
        **changes,
    }
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return path


def opened(path: Path) -> tuple[Tokens, KeySource]:
    return load_identity(path, clock=system_clock)


def key_file(directory: Path, *keys: Any) -> str:
    (directory / "keys.json").write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))
    return "keys.json"


def test_a_token_gives_a_name_and_the_roles_the_table_says(tmp_path: Path) -> None:
    tokens, _ = opened(identity(tmp_path, key_file(tmp_path, KEY, OTHER)))
    for key in (KEY, OTHER):
        client = tokens.client(token(key, roles=["desk", "unknown", 7]).encode())
        assert (client.name, client.roles) == ("loan-desk", frozenset({Role.DECIDE}))
    assert tokens.client(token(roles="desk audit").encode()).roles == {Role.DECIDE, Role.READ}
    nobody = tokens.client(token(roles=None).encode())
    with pytest.raises(NotAuthorised):
        nobody.require(Role.DECIDE)
    assert tokens.client(token(aud=["x", AUDIENCE]).encode()).name == "loan-desk"


NOW = int(time.time())
REFUSED: dict[str, dict[str, Any]] = {
    "issuer": {"iss": "https://login.evil.example"},
    "no issuer": {"iss": None},
    "audience": {"aud": "another"},
    "part of an audience": {"aud": "aboveboard-test"},
    "no audience": {"aud": None},
    "over": {"exp": NOW - 100},
    "never over": {"exp": None},
    "over in a year": {"exp": NOW + 365 * 86_400},
    "over at a text": {"exp": "tomorrow"},
    "over at true": {"exp": True},
    "not begun": {"nbf": NOW + 5_000, "exp": NOW + 9_000},
    "issued later": {"iat": NOW + 5_000, "exp": NOW + 9_000},
    "nobody": {"sub": None},
    "a strange name": {"sub": "a\nb"},
    "another type": {"header": {"typ": "logout+jwt"}},
    "an unknown key": {"header": {"kid": "three"}},
    "no key named of two": {"header": {"kid": None}},
    "an algorithm not allowed": {"key": OTHER, "header": {"alg": "RS512"}},
    "a key of the wrong kind": {"key": OTHER, "header": {"kid": "one"}},
    "a stranger's key": {"key": ECKey.generate_key("P-256", {"kid": "one"})},
    "a shared secret": {"key": OctKey.import_key("0123456789abcdef0123456789abcdef", {"kid": "one"})},
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("wrong", REFUSED.values(), ids=list(REFUSED))
def test_a_token_with_one_thing_wrong_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    tokens, _ = opened(identity(tmp_path, key_file(tmp_path, KEY, OTHER)))
    made = token(**wrong)
    with pytest.raises(NotAuthenticated):
        tokens.client(made.encode())


def test_the_public_key_is_no_shared_secret(tmp_path: Path) -> None:
    """What every library once got wrong: a token signed by HMAC with the key that everybody has."""
    tokens, _ = opened(identity(tmp_path, key_file(tmp_path, KEY)))
    _, body, _ = token().split(".")
    head = urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "one"}).encode()).rstrip(b"=").decode()
    for secret in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        signature = hmac.digest(secret, f"{head}.{body}".encode(), "sha256")
        forged = f"{head}.{body}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        with pytest.raises(NotAuthenticated):
            tokens.client(forged.encode())


def test_refuses_none_and_what_is_no_token(tmp_path: Path) -> None:
    tokens, _ = opened(identity(tmp_path, key_file(tmp_path, KEY)))
    head, body, signature = token().split(".")
    none = "eyJhbGciOiJub25lIn0"
    for wrong in (
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        "",
        "..",
        "é",
    ):
        with pytest.raises(NotAuthenticated):
            tokens.client(wrong.encode())
    with pytest.raises(NotAuthenticated):
        tokens.client(b"x" * 100_000)


def test_a_token_that_was_believed_ends_all_the_same(tmp_path: Path) -> None:
    tokens, _ = opened(identity(tmp_path, key_file(tmp_path, KEY), leeway_seconds=0))
    short = token(exp=int(time.time()) + 2).encode()
    assert tokens.client(short) is tokens.client(short)
    time.sleep(2.1)
    with pytest.raises(NotAuthenticated):
        tokens.client(short)


def test_a_new_key_is_fetched_and_an_old_one_forgotten(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aboveboard.serving.identity.ASKED_AGAIN_SECONDS", 0.1)
    tokens, keys = opened(identity(tmp_path, provider.url))
    keys.start()
    try:
        old, new = token().encode(), token(OTHER).encode()
        assert tokens.client(old).name == "loan-desk"
        provider.status = 500
        with pytest.raises(NotAuthenticated):
            tokens.client(new)
        time.sleep(0.5)
        assert provider.asked == 2
        assert tokens.client(old).name == "loan-desk"  # the provider being down for a while changes nothing
        provider.status, provider.keys = 200, [OTHER]
        ends = time.monotonic() + 10
        while True:
            try:
                assert tokens.client(new).name == "loan-desk"
                break
            except NotAuthenticated:
                assert time.monotonic() < ends
                time.sleep(0.05)
        with pytest.raises(NotAuthenticated):
            tokens.client(old)
    finally:
        keys.stop()


def test_keys_that_nobody_confirms_end(tmp_path: Path, provider: Provider) -> None:
    tokens, _ = opened(identity(tmp_path, provider.url, keys_last_seconds=1))
    good = token().encode()
    assert tokens.client(good).name == "loan-desk"
    time.sleep(1.2)
    with pytest.raises(NotAuthenticated):
        tokens.client(good)


def test_a_rate_is_kept_over_tokens(tmp_path: Path) -> None:
    tokens, _ = opened(identity(tmp_path, key_file(tmp_path, KEY), requests_per_second=1))
    access = Access(None, anonymous="me", timer=lambda: 0.0, tokens=tokens)
    assert not access.open
    for number in range(2):
        access.client(f"Bearer {token(jti=str(number))}".encode())
    with pytest.raises(TooManyRequests):
        access.client(f"Bearer {token(jti='3')}".encode())
    with pytest.raises(NotAuthenticated):
        access.client(None)


def test_keys_and_tokens_side_by_side(tmp_path: Path) -> None:
    tokens, _ = opened(identity(tmp_path, key_file(tmp_path, KEY)))
    key, digest = new_key()
    access = Access([ClientRecord("batch", digest, [Role.READ])], anonymous="me", timer=lambda: 0.0, tokens=tokens)
    assert access.client(f"Bearer {key}".encode()).name == "batch"
    assert access.client(f"bearer {token()}".encode()).name == "loan-desk"
    for wrong in (f"Basic {token()}", f"Bearer {new_key()[0]}"):
        with pytest.raises(NotAuthenticated):
            access.client(wrong.encode())


def test_what_is_set_up_carelessly_is_refused(tmp_path: Path, provider: Provider) -> None:
    with pytest.raises(Misuse):
        opened(tmp_path / "nothing.json")
    with pytest.raises(Misuse, match="https"):
        opened(identity(tmp_path, "http://login.bank.example/keys"))
    with pytest.raises(Misuse, match="no such file"):
        opened(identity(tmp_path, "missing.json"))
    for changes in (
        {"algorithms": ["none"]},
        {"algorithms": ["HS256"]},
        {"roles": {"x": ["god"]}},
        {"audiance": "x"},
    ):
        with pytest.raises(NotVerified):
            opened(identity(tmp_path, key_file(tmp_path, KEY), **changes))
    path = identity(tmp_path, key_file(tmp_path, KEY))
    path.chmod(0o622)
    with pytest.raises(NotVerified, match="others can write"):
        opened(path)
    for status in (302, 500):
        provider.status = status
        with pytest.raises(StorageFailed):
            opened(identity(tmp_path, provider.url))


def test_key_sets_with_secrets_or_without_keys_are_refused() -> None:
    public, secret = KEY.as_dict(private=False), OctKey.import_key("0123456789abcdef").as_dict()
    wrong: list[object] = [
        {"keys": []},
        {"keys": [public, public]},
        {"keys": [public, secret]},
        {"keys": [KEY.as_dict(private=True)]},
        {"keys": [{**public, "use": "enc"}]},
        {"keys": [{**public, "x": "?"}]},
        {"keys": [1]},
        {},
        [],
    ]
    for content in wrong:
        with pytest.raises(NotVerified):
            parse_keys(json.dumps(content).encode(), "test")
    with pytest.raises(NotVerified):
        parse_keys(b"\xff", "test")


def test_a_server_takes_tokens(released: Released, home: Home, tmp_path: Path, provider: Provider) -> None:
    path = identity(tmp_path, provider.url)
    request = released.clients[0]
    with running(home, release=released.digests[0], identity=str(path)) as server, server.client() as client:
        assert client.post("/v1/decisions", json=request).status_code == 401

        def ask(made: str) -> Any:
            return client.post("/v1/decisions", json=request, headers={"authorization": f"Bearer {made}"})

        answer = ask(token())
        assert answer.status_code == 200
        assert ask(token(roles=["audit"])).status_code == 403
        refused = ask(token(exp=1))
        assert (refused.status_code, refused.json()["code"]) == (401, "not-authenticated")
        assert refused.headers["www-authenticate"] == "Bearer"
        read = f"/v1/decisions/{answer.json()['decision_id']}?purpose=test"
        for roles, status in ((["audit"], 200), (["desk"], 403)):
            bearer = {"authorization": f"Bearer {token(roles=roles)}"}
            assert client.get(read, headers=bearer).status_code == status


def test_a_server_without_its_provider_does_not_start(released: Released, home: Home, tmp_path: Path) -> None:
    path = identity(tmp_path, "http://127.0.0.1:1/keys")
    process = launch(home, port=0, release=released.digests[0], identity=str(path))
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode, json.loads(err)["code"]) == ("", 3, "storage-failed")
