"""Releases over the wire: a registry keeps them, and is not believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aboveboard.cli.app import root
from aboveboard.errors import NotAuthorised, NotFound, NotVerified, StorageFailed
from aboveboard.release import Keyring, ReleaseStore
from aboveboard.release.registry import Registry, docker_credentials
from tests.registry_server import docker_registry, small_registry
from tests.release_cases import APPROVER, OTHER, Bank


@pytest.fixture(params=["small", "docker-registry"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "small":
        with small_registry() as (name, _):
            yield name
    else:
        with docker_registry(tmp_path) as name:
            yield name


def elsewhere(bank: Bank, root: Path) -> ReleaseStore:
    return ReleaseStore(root / "elsewhere", keys=Keyring.verifying(bank.keys.trust_file), clock=bank.time)


def test_what_is_pushed_is_what_is_fetched(repository: str, tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    digest = bank.approved()
    registry = Registry(repository, plain_http=True)
    assert bank.store.push(digest, registry) == (digest, 2)
    assert bank.store.push(digest, registry) == (digest, 2), "pushing again changes nothing"
    store = elsewhere(bank, tmp_path)
    assert store.take(registry.fetch(digest)) == [digest]
    assert store.verify(digest).files == bank.store.verify(digest).files


def test_an_approval_that_comes_later_is_fetched_later(repository: str, tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    digest = bank.released()
    registry = Registry(repository, plain_http=True)
    bank.store.push(digest, registry)
    store = elsewhere(bank, tmp_path)
    store.take(registry.fetch(digest))
    with pytest.raises(NotVerified, match="0 of 1 approvals"):
        store.verify(digest)
    bank.store.approve(digest, approver=APPROVER)
    bank.store.push(digest, registry)
    store.take(registry.fetch(digest))
    assert [approval.approver for approval in store.verify(digest).approvals] == [APPROVER]


def test_a_withdrawal_that_comes_later_is_fetched_without_the_blobs_that_are_here(
    repository: str, tmp_path: Path
) -> None:
    bank = Bank(tmp_path)
    digest = bank.approved()
    registry = Registry(repository, plain_http=True)
    bank.store.push(digest, registry)
    store = elsewhere(bank, tmp_path)
    store.verify_current(digest, registry.fetch)
    bank.store.withdraw(digest, withdrawer=OTHER, reason="drift")
    bank.store.push(digest, registry)
    with pytest.raises(NotVerified, match=f"withdrawn by {OTHER}"):
        store.verify_current(digest, registry.fetch)


def test_a_release_nobody_pushed(repository: str) -> None:
    with pytest.raises(NotFound):
        Registry(repository, plain_http=True).fetch("sha256:" + "0" * 64)


def test_a_registry_that_lies_is_found_out(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    digest = bank.approved()
    with small_registry() as (repository, server):
        registry = Registry(repository, plain_http=True)
        bank.store.push(digest, registry)
        for blob in list(server.blobs):
            true = server.blobs[blob]
            server.blobs[blob] = bytes([true[0] ^ 1]) + true[1:]
            with pytest.raises(NotVerified):
                registry.fetch(digest)
            server.blobs[blob] = true
        server.manifests[digest] += b" "
        with pytest.raises(NotVerified):
            registry.fetch(digest)


def test_credentials(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    digest = bank.approved()
    with small_registry() as (repository, server):
        host = repository.partition("/")[0]
        secret = base64.b64encode(b"reader:open sesame").decode()
        server.authorization = f"Basic {secret}"
        with pytest.raises(NotAuthorised):
            bank.store.push(digest, Registry(repository, plain_http=True))
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": secret}}}))
        credentials = docker_credentials({"DOCKER_CONFIG": str(tmp_path)})
        assert credentials == {host: ("reader", "open sesame")}
        bank.store.push(digest, Registry(repository, plain_http=True, credentials=credentials))


def test_nobody_there() -> None:
    with pytest.raises(StorageFailed):
        Registry("127.0.0.1:9/models/releases", plain_http=True).fetch("sha256:" + "0" * 64)


def test_what_a_pod_does_before_it_starts(tmp_path: Path) -> None:
    """`release fetch` puts the keys in place for their owner only, and stops where anything does not hold."""
    bank = Bank(tmp_path)
    digest = bank.released()
    (tmp_path / "subject.key").write_bytes(b"k" * 32)
    (tmp_path / "subject.key").chmod(0o440)
    home = tmp_path / "pod"
    with small_registry() as (repository, _):
        arguments = ["--home", str(home), "release", "fetch", digest, f"--from={repository}", "--plain-http"]
        arguments += [f"--trust={bank.keys.trust_file}", f"--subject-key={tmp_path / 'subject.key'}"]
        registry = Registry(repository, plain_http=True)
        bank.store.push(digest, registry)
        assert CliRunner().invoke(root, arguments).exception is not None, "not approved"
        bank.store.approve(digest, approver=APPROVER)
        bank.store.push(digest, registry)
        assert CliRunner().invoke(root, arguments).exit_code == 0
        assert CliRunner().invoke(root, arguments).exit_code == 0, "a restart of the pod"
        second = tmp_path / "second"
        bank.store.withdraw(digest, withdrawer=OTHER, reason="drift")
        assert CliRunner().invoke(root, arguments).exit_code == 0, "nobody has told the registry"
        bank.store.push(digest, registry)
        withdrawn = CliRunner().invoke(root, ["--home", str(second), *arguments[2:]])
        assert "withdrawn" in str(withdrawn.exception)
    # The registry is away: what is here and holds starts, with the keys closed again that a mount opened.
    (home / "keys").chmod(0o2770)
    (home / "keys" / "subject.key").chmod(0o660)
    assert CliRunner().invoke(root, arguments).exit_code == 0
    assert CliRunner().invoke(root, [*arguments, "sha256:" + "0" * 64]).exit_code != 0, "another release is not here"
    blob = next(p for p in (home / "releases" / "blobs" / "sha256").iterdir() if p.read_bytes() == b"tree\n")
    blob.write_bytes(b"tREE\n")
    assert CliRunner().invoke(root, arguments).exit_code != 0, "damaged, and nobody to fetch it from"
    assert (home / "keys" / "subject.key").stat().st_mode & 0o777 == 0o600
    assert (home / "keys").stat().st_mode & 0o777 == 0o700
