"""Releases in a mounted folder: taken where their bytes are what the manifest says, and never believed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from aboveboard.cli.app import root
from aboveboard.errors import NotFound, NotVerified, StorageFailed
from aboveboard.release.layout import OciLayout
from aboveboard.release.manifest import Manifest, hexadecimal
from aboveboard.release.registry import Registry
from aboveboard.release.volume import Volume
from tests.registry_server import Small, small_registry
from tests.release_cases import APPROVER, Bank

TITLE = "org.opencontainers.image.title"


def mounted(bank: Bank, digest: str, folder: Path) -> Manifest:
    """Lay a release out as CRI-O mounts an artifact: a file for each layer, named by its title."""
    _, manifest = OciLayout(bank.root / "releases").manifests()[digest]
    for layer in manifest.layers:
        path = folder / (layer.annotations or {})[TITLE]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bank.root / "releases" / "blobs" / "sha256" / hexadecimal(layer.digest), path)
    return manifest


def without_layers(server: Small, manifest: Manifest) -> None:
    for layer in manifest.layers:
        del server.blobs[layer.digest]


def test_what_is_mounted_is_not_fetched(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    digest = bank.approved()
    manifest = mounted(bank, digest, tmp_path / "volume")
    with small_registry() as (repository, server):
        registry = Registry(repository, plain_http=True)
        bank.store.push(digest, registry)
        whole = registry.fetch(digest)
        without_layers(server, manifest)
        assert registry.fetch(digest, Volume(tmp_path / "volume")) == whole
        with pytest.raises(StorageFailed):
            registry.fetch(digest)


def test_a_changed_byte_in_the_volume_is_as_good_as_no_volume(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    digest = bank.approved()
    manifest = mounted(bank, digest, tmp_path / "volume")
    path = tmp_path / "volume" / "model.yaml"
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with small_registry() as (repository, server):
        registry = Registry(repository, plain_http=True)
        bank.store.push(digest, registry)
        assert registry.fetch(digest, Volume(tmp_path / "volume")) == registry.fetch(digest)
        without_layers(server, manifest)
        with pytest.raises(StorageFailed):
            registry.fetch(digest, Volume(tmp_path / "volume"))


def test_a_volume_grants_nothing_the_approvals_are_asked_for_now(tmp_path: Path) -> None:
    """What a pod does with an image volume: the mounted release is whole, and nobody approved it."""
    bank = Bank(tmp_path)
    digest = bank.released()
    folder = tmp_path / "volume" / f"release-{hexadecimal(digest)[:16]}"
    with small_registry() as (repository, _):
        bank.store.push(digest, Registry(repository, plain_http=True))
        arguments = ["release", "fetch", digest, "--from", repository, "--plain-http"]
        arguments += ["--trust", str(bank.keys.trust_file), "--volume", str(tmp_path / "volume")]
        mounted(bank, digest, folder)
        environment = {"ABOVEBOARD_HOME": str(tmp_path / "pod")}
        refused = CliRunner().invoke(root, arguments, env=environment)
        assert isinstance(refused.exception, NotVerified | SystemExit)
        assert refused.exit_code != 0
        bank.store.approve(digest, approver=APPROVER)
        bank.store.push(digest, Registry(repository, plain_http=True))
        admitted = CliRunner().invoke(root, arguments, env=environment)
        assert admitted.exit_code == 0, admitted.output


def test_a_volume_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Volume(tmp_path / "nowhere")
