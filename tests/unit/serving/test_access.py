from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from aboveboard.errors import Misuse, NotAuthorised, NotVerified
from aboveboard.serving.access import (
    Access,
    ClientRecord,
    NotAuthenticated,
    Role,
    TooManyRequests,
    load_clients,
    new_key,
)


class Timer:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_stands_for_its_client_and_roles() -> None:
    key, digest = new_key()
    access = Access([ClientRecord("loans", digest, [Role.DECIDE])], anonymous="me", timer=Timer())
    client = access.client(f"Bearer {key}".encode())
    assert client.name == "loans"
    client.require(Role.DECIDE)
    with pytest.raises(NotAuthorised):
        client.require(Role.READ)
    assert not access.open


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Bearer abk_wrong", b"Basic YTpi"])
def test_refuses_who_does_not_prove_it(header: bytes | None) -> None:
    access = Access([ClientRecord("loans", new_key()[1], [Role.DECIDE])], anonymous="me", timer=Timer())
    with pytest.raises(NotAuthenticated):
        access.client(header)


def test_the_scheme_must_be_bearer() -> None:
    key, digest = new_key()
    access = Access([ClientRecord("loans", digest, [Role.DECIDE])], anonymous="me", timer=Timer())
    with pytest.raises(NotAuthenticated):
        access.client(f"Basic {key}".encode())


def test_no_clients_at_all_lets_nobody_in() -> None:
    with pytest.raises(NotAuthenticated):
        Access([], anonymous="me", timer=Timer()).client(b"Bearer x")


def test_without_a_file_the_server_is_open() -> None:
    access = Access(None, anonymous="me", timer=Timer())
    assert access.open
    assert access.client(None).name == "me"


def test_a_client_is_held_to_its_rate() -> None:
    timer = Timer()
    key, digest = new_key()
    access = Access([ClientRecord("loans", digest, [Role.DECIDE], 10)], anonymous="me", timer=timer)
    header = f"Bearer {key}".encode()
    for _ in range(20):
        access.client(header)
    with pytest.raises(TooManyRequests):
        access.client(header)
    timer.now = 0.5
    for _ in range(5):
        access.client(header)
    with pytest.raises(TooManyRequests):
        access.client(header)


def test_reads_the_file_and_refuses_a_careless_one(tmp_path: Path) -> None:
    path = tmp_path / "clients.json"
    with pytest.raises(Misuse):
        load_clients(path)
    record = {"name": "loans", "key_sha256": hashlib.sha256(b"k").hexdigest(), "roles": ["decide"]}
    path.write_bytes(msgspec.json.encode({"clients": [record]}))
    path.chmod(0o600)
    assert [client.name for client in load_clients(path)] == ["loans"]
    path.chmod(0o622)
    with pytest.raises(NotVerified, match="others can write"):
        load_clients(path)
    path.chmod(0o600)
    damaged: list[object] = [
        {"clients": [record, record]},
        {"clients": [{**record, "roles": ["god"]}]},
        [],
        {"clients": 1},
    ]
    for wrong in damaged:
        path.write_bytes(msgspec.json.encode(wrong))
        with pytest.raises(NotVerified):
            load_clients(path)
    path.write_bytes(b"\xff")
    with pytest.raises(NotVerified):
        load_clients(path)
