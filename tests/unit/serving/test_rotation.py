"""What changes on disk is taken up when it holds, and only then."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from aboveboard.errors import StorageFailed
from aboveboard.serving.access import (
    Access,
    ClientRecord,
    NotAuthenticated,
    Role,
    TooManyRequests,
    load_clients,
    new_key,
)
from aboveboard.serving.rotation import PATIENCE, Rotating, Rotation


def record(digest: str, name: str = "front", rate: float | None = None) -> ClientRecord:
    return ClientRecord(name, digest, [Role.DECIDE], rate)


def bearer(key: str) -> bytes:
    return f"Bearer {key}".encode()


def test_clients_are_renewed_and_who_stays_keeps_what_they_spent() -> None:
    (old, old_digest), (new, new_digest), (kept, kept_digest) = new_key(), new_key(), new_key()
    access = Access([record(old_digest), record(kept_digest, "kept", 0.5)], anonymous="a", timer=lambda: 0.0)
    assert access.client(bearer(old)).name == "front"
    assert access.client(bearer(kept)).name == "kept"
    access.renew([record(new_digest), record(kept_digest, "kept", 0.5)])
    assert access.client(bearer(new)).name == "front"
    with pytest.raises(NotAuthenticated):
        access.client(bearer(old))
    with pytest.raises(TooManyRequests):
        access.client(bearer(kept))
    access.renew([record(kept_digest, "kept")])
    assert access.client(bearer(kept)).name == "kept", "another limit begins anew"
    access.renew([])
    assert not access.open
    with pytest.raises(NotAuthenticated):
        access.client(bearer(kept))


def write(path: Path, digest: str) -> None:
    entry = {"name": "front", "key_sha256": digest, "roles": ["decide"]}
    path.write_text(json.dumps({"clients": [entry]}), encoding="utf-8")
    path.chmod(0o600)


def test_what_holds_is_taken_and_what_does_not_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "clients.json"
    (old, old_digest), (new, new_digest) = new_key(), new_key()
    write(path, old_digest)
    access = Access(load_clients(path), anonymous="a", timer=lambda: 0.0)
    rotation = Rotation([Rotating("clients", (path,), lambda: access.renew(load_clients(path)))])
    rotation.look()
    assert caplog.records == []
    path.write_text("{", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "aboveboard.serving"):
        for _ in range(3):
            rotation.look()
        path.unlink()
        rotation.look()
    assert [entry.levelname for entry in caplog.records] == ["ERROR", "ERROR"]
    assert access.client(bearer(old)).name == "front"
    write(path, new_digest)
    rotation.look()
    assert access.client(bearer(new)).name == "front"
    with pytest.raises(NotAuthenticated):
        access.client(bearer(old))
    assert old not in caplog.text
    assert new_digest not in caplog.text


def test_what_could_not_be_had_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    path.write_text("1", encoding="utf-8")
    tried: list[int] = []

    def take() -> None:
        tried.append(len(tried))
        if len(tried) < 3:
            raise StorageFailed("the provider is away")

    rotation = Rotation([Rotating("identity", (path,), take)])
    path.write_text("22", encoding="utf-8")
    for _ in range(1 + 4 * PATIENCE):
        rotation.look()
    assert len(tried) == 3


def test_links_that_are_swapped_are_changes(tmp_path: Path) -> None:
    taken: list[str] = []
    for name in ("..1", "..2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clients.json").write_text("same", encoding="utf-8")
    (tmp_path / "..data").symlink_to("..1")
    path = tmp_path / "clients.json"
    path.symlink_to("..data/clients.json")
    rotation = Rotation([Rotating("clients", (path,), lambda: taken.append("x"))])
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    rotation.look()
    rotation.look()
    assert taken == ["x"]
