"""Private keys on a volume that Kubernetes mounted."""

from __future__ import annotations

from pathlib import Path

from aboveboard.files import close_to_group


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_a_mount_opened_is_closed_again(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    (keys / "log").mkdir(parents=True)
    (keys / "log" / "origin.key").write_text("k", encoding="utf-8")
    (keys / "trust.json").write_text("{}", encoding="utf-8")
    (keys / "subject.key").write_text("k", encoding="utf-8")
    (keys / "log").chmod(0o2770)
    (keys / "log" / "origin.key").chmod(0o660)
    (keys / "subject.key").chmod(0o640)
    (keys / "trust.json").chmod(0o644)
    close_to_group(keys)
    assert mode(keys / "log") == 0o700
    assert mode(keys / "log" / "origin.key") == mode(keys / "subject.key") == 0o600
    assert mode(keys / "trust.json") == 0o644, "what everybody may read was no mount's doing"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    outside = tmp_path / "outside"
    outside.write_text("x", encoding="utf-8")
    outside.chmod(0o660)
    (tmp_path / "keys" / "link").symlink_to(outside)
    close_to_group(tmp_path / "keys")
    assert mode(outside) == 0o660
