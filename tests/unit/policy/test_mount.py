"""Packs mounted from a ConfigMap: the kubelet's links are followed, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from aboveboard.errors import SpecInvalid
from aboveboard.policy import load_pack
from tests.unit.policy.test_pack import MANIFEST, REGO

FIRST = "..2026_11_22_01_00_00.123456789"
SECOND = "..2026_11_22_02_00_00.987654321"


def generation(folder: Path, name: str, manifest: str = MANIFEST) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "pack.yaml").write_text(manifest, encoding="utf-8")
    (folder / name / "br.rego").write_text(REGO, encoding="utf-8")


def swap(folder: Path, name: str) -> None:
    """What the kubelet does: a new link beside the old one, and one rename."""
    (folder / "..data_tmp").symlink_to(name)
    (folder / "..data_tmp").rename(folder / "..data")


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    folder = tmp_path / "br"
    generation(folder, FIRST)
    swap(folder, FIRST)
    for name in ("pack.yaml", "br.rego"):
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def test_a_mounted_pack_is_the_pack_itself(mount: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain" / "br"
    plain.mkdir(parents=True)
    for name in ("pack.yaml", "br.rego"):
        (plain / name).write_bytes((mount / name).read_bytes())
    assert load_pack(mount) == load_pack(plain)


def test_an_update_is_read_whole(mount: Path) -> None:
    before = load_pack(mount)
    generation(mount, SECOND, MANIFEST.replace("1.0.0", "1.1.0"))
    assert load_pack(mount) == before, "not before the swap"
    swap(mount, SECOND)
    assert load_pack(mount).manifest.version == "1.1.0"


@pytest.mark.parametrize("target", ["../elsewhere", "/etc", "..", "..data", "plain", "..missing"])
def test_data_that_points_elsewhere(mount: Path, target: str) -> None:
    generation(mount.parent, "elsewhere")
    generation(mount, "plain")
    (mount / "..data").unlink()
    (mount / "..data").symlink_to(target)
    for name in ("pack.yaml", "br.rego"):
        (mount / name).unlink()
        (mount / name).write_bytes((mount / FIRST / name).read_bytes())
    with pytest.raises(SpecInvalid, match="not a valid policy pack") as caught:
        load_pack(mount)
    assert "does not point to a folder beside it" in str(caught.value.problems[0])


def test_a_generation_that_is_itself_a_link(mount: Path) -> None:
    generation(mount.parent, "elsewhere")
    (mount / SECOND).symlink_to("../elsewhere")
    swap(mount, SECOND)
    with pytest.raises(SpecInvalid) as caught:
        load_pack(mount)
    assert any("does not point to a folder beside it" in str(problem) for problem in caught.value.problems)


@pytest.mark.parametrize("target", ["/etc/hostname", f"{FIRST}/br.rego", "..data/pack.yaml"])
def test_a_file_that_is_another_link(mount: Path, target: str) -> None:
    (mount / "br.rego").unlink()
    (mount / "br.rego").symlink_to(target)
    with pytest.raises(SpecInvalid) as caught:
        load_pack(mount)
    assert "br.rego" in str(caught.value.problems[0])


def test_a_link_inside_the_generation(mount: Path) -> None:
    (mount / FIRST / "br.rego").unlink()
    (mount / FIRST / "br.rego").symlink_to("/etc/hostname")
    with pytest.raises(SpecInvalid) as caught:
        load_pack(mount)
    assert "does not belong in a pack" in str(caught.value.problems[0])


def test_a_plain_file_beside_the_links(mount: Path) -> None:
    (mount / "more.rego").write_text(REGO, encoding="utf-8")
    with pytest.raises(SpecInvalid) as caught:
        load_pack(mount)
    assert "more.rego" in str(caught.value.problems[0])
