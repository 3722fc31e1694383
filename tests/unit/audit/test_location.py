"""What the settings of a log may say, and what is said about the rest without repeating a secret."""

from __future__ import annotations

import base64
import importlib.util
import os
from pathlib import Path

import pytest

from aboveboard.audit.location import database_url, key_encryption_key, open_log, tile_storage
from aboveboard.audit.s3 import S3Storage
from aboveboard.audit.storage import DirectoryStorage
from aboveboard.errors import AboveboardError, Misuse, NotAuthorised, NotFound
from aboveboard.settings import Home, LogSettings, Settings

SECRET = "s3cr3t"
DRIVER = "postgresql+psycopg://"


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.mark.parametrize("scheme", ["postgres://", "postgresql://", DRIVER])
def test_a_database_is_named_as_other_tools_name_it(scheme: str, tmp_path: Path) -> None:
    rest = f"app:{SECRET}%2F@db.example:5433/aboveboard?sslmode=verify-full"
    assert database_url(scheme + rest) == DRIVER + rest
    path = tmp_path / "uri"
    path.write_text(f"{scheme}{rest}\n")
    assert database_url(f"file:{path}") == DRIVER + rest


@pytest.mark.parametrize(
    "given",
    [
        "",
        f"mysql://app:{SECRET}@db/x",
        f"app:{SECRET}@db",
        f"postgresql://app@db:{SECRET}/x",
        f"postgresql+asyncpg://app:{SECRET}@db/x",
    ],
)
def test_what_is_no_database_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(Misuse) as refusal:
        database_url(given)
    assert SECRET not in str(refusal.value.as_dict())
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_a_database_without_its_driver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Misuse) as refusal:
        database_url("postgresql://app@db/x")
    assert "aboveboard[postgres]" in refusal.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for read in (database_url, key_encryption_key):
        with pytest.raises(NotFound, match="no-such-file"):
            read(f"file:{tmp_path}/no-such-file")
    assert list(tmp_path.iterdir()) == []


def test_settings_hide_the_database(tmp_path: Path) -> None:
    environment = {
        "ABOVEBOARD_HOME": str(tmp_path),
        "ABOVEBOARD_LOG_DATABASE": f"postgresql://app:{SECRET}@db/x",
        "ABOVEBOARD_LOG_TILES": "s3://bucket",
        "ABOVEBOARD_LOG_KEK": "",
        "ABOVEBOARD_LOG_KEYS": "keys",
    }
    settings = Settings.from_environment(environment)
    assert SECRET not in repr(settings)
    assert settings.log == LogSettings(
        database=f"postgresql://app:{SECRET}@db/x", tiles="s3://bucket", keys=Path.cwd() / "keys"
    )


def test_tiles_are_in_a_directory_or_a_bucket(tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    assert isinstance(tile_storage(f"file:{tmp_path}"), DirectoryStorage)
    s3 = tile_storage("s3://bucket/logs/eu?region=eu-west-1&endpoint=http://127.0.0.1:9&lock_days=30")
    assert isinstance(s3, S3Storage)
    s3.close()


@pytest.mark.parametrize(
    "given",
    [
        "",
        "file:",
        "bucket/prefix",
        "s3://",
        "s3://bucket?lock_days=many",
        "s3://bucket?look_days=30",
        "https://bucket",
        "s3://bucket?endpoint=nonsense",
    ],
)
def test_what_is_no_place_for_tiles_is_refused(given: str) -> None:
    with pytest.raises(Misuse):
        tile_storage(given)


@pytest.mark.parametrize("given", ["", "file:", "awskms:", "vault:", "vault:transit/", "gcpkms:key", "/etc/kek"])
def test_what_is_no_key_encryption_key_is_refused(given: str) -> None:
    with pytest.raises(Misuse):
        key_encryption_key(given)


def test_keys_of_key_services(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    pytest.importorskip("hvac")
    arn = "arn:aws:kms:eu-west-1:123456789012:key/0b"
    assert key_encryption_key(f"awskms:{arn}").reference == arn
    assert key_encryption_key("awskms:alias/audit").provider == "aws-kms"
    assert key_encryption_key("vault:audit").reference == "transit/audit"
    assert key_encryption_key("vault:eu/transit/audit").reference == "eu/transit/audit"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(Misuse, match="NoRegion") as refusal:
        key_encryption_key("awskms:alias/audit")
    assert "ARN" in refusal.value.hint


def test_a_key_handed_over_by_a_group_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "kek.key"
    path.write_text(base64.b64encode(bytes(range(32))).decode())
    path.chmod(0o440)
    with pytest.raises(NotAuthorised):
        key_encryption_key(f"file:{path}")
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    os.chown(path, 65532, os.getegid())  # as a mounted secret belongs to root and is read by a pod's group
    assert key_encryption_key(f"file:{path}").provider == "file"
    for mode in (0o444, 0o460):
        path.chmod(mode)
        with pytest.raises(NotAuthorised):
            key_encryption_key(f"file:{path}")
    path.chmod(0o440)
    os.chown(path, 65532, 65532)
    with pytest.raises(NotAuthorised):
        key_encryption_key(f"file:{path}")


def test_witnesses_that_are_named_must_be_there(tmp_path: Path) -> None:
    def opened(settings: LogSettings) -> AboveboardError:
        with pytest.raises(AboveboardError) as refusal:
            open_log(Home(tmp_path / "home"), settings, origin="bank.example/log", writer="test")
        return refusal.value

    assert "witnesses.json" in opened(LogSettings(witnesses=tmp_path)).message
    (tmp_path / "witnesses.json").write_text("{}")
    assert opened(LogSettings(witnesses=tmp_path)).code == "misuse"
