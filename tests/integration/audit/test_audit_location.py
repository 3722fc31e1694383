"""The log where the environment says it is, as the commands find it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit.location import open_log
from aboveboard.settings import Home, LogSettings
from tests.audit_cases import decision
from tests.postgres_server import PostgresServer, new_database, running_postgres

pytest.importorskip("psycopg")
SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        server.add_user("app", SECRET)
        yield server


def run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aboveboard", "--home", home, "--actor", "ada@bank.example", *arguments, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1", **environment},
        timeout=120,
        check=False,
    )


def told(finished: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert finished.returncode == code, finished.stderr + finished.stdout
    return json.loads(finished.stdout or finished.stderr)


def test_homes_that_share_keys_and_a_database_share_a_log(postgres: PostgresServer, tmp_path: Path) -> None:
    keys = tmp_path / "mounted"
    where = {
        "ABOVEBOARD_LOG_DATABASE": new_database(postgres.url).replace("+psycopg", ""),
        "ABOVEBOARD_LOG_KEYS": str(keys),
    }
    first, second = tmp_path / "first", tmp_path / "second"
    key = told(run(first, "audit", "key", "--origin", "bank.example/eu", **where))["key"]
    assert told(run(second, "audit", "key", **where))["key"] == key
    add(first, "bank.example/eu", where, 0)
    assert told(run(second, "audit", "checkpoint", **where))["size"] == 1
    add(second, "bank.example/eu", where, 1)
    assert told(run(first, "audit", "checkpoint", **where))["size"] == 2
    assert told(run(second, "audit", "fsck", **where))["findings"] == []
    assert not (first / "audit").exists() or not list((first / "audit").rglob("*.sqlite"))

    other = run(
        tmp_path / "third", "audit", "key", "--origin", "bank.example/eu", **{**where, "ABOVEBOARD_LOG_KEYS": ""}
    )
    assert told(other, 1)["error"]["code"] == "not-verified"


def add(home: Path, origin: str, where: dict[str, str], number: int) -> None:
    settings = LogSettings.from_environment(where)
    with open_log(Home(home), settings, origin=origin, writer="test") as log:
        log.append(decision(number))


@pytest.mark.parametrize("way", ["file", "variable", "passfile"])
def test_a_password_comes_in_several_ways_and_goes_nowhere(
    postgres: PostgresServer, tmp_path: Path, way: str
) -> None:
    url = new_database(postgres.url).replace("tester@", "app@")

    def environment(password: str) -> dict[str, str]:
        if way == "variable":
            return {"ABOVEBOARD_LOG_DATABASE": url, "PGPASSWORD": password}
        path = tmp_path / "secret"
        if way == "file":
            path.write_text(url.replace("app@", f"app:{password}@"))
            return {"ABOVEBOARD_LOG_DATABASE": f"file:{path}"}
        path.write_text(f"*:*:*:app:{password}\n")
        path.chmod(0o600)
        return {"ABOVEBOARD_LOG_DATABASE": url, "PGPASSFILE": str(path)}

    assert told(run(tmp_path / "home", "audit", "checkpoint", **environment(SECRET)))["size"] == 0
    refused = run(tmp_path / "home", "audit", "checkpoint", **environment("wr0ng"))
    assert refused.returncode == 74
    assert "wr0ng" not in refused.stdout + refused.stderr
    assert "app" in refused.stdout + refused.stderr


def test_the_vault_moves_to_another_key(tmp_path: Path) -> None:
    home, new = tmp_path / "home", tmp_path / "new.key"
    new.write_text(base64.b64encode(bytes(range(32))).decode())
    new.chmod(0o600)
    add(home, "aboveboard.local/log", {}, 0)
    moved = told(run(home, "audit", "rotate-key", "--kek", f"file:{new}"))
    assert moved["rewrapped"] >= 1
    assert moved["kek"].startswith("sha256:")
    assert told(run(home, "audit", "checkpoint"), 1)["error"]["code"] == "not-verified"
    there = {"ABOVEBOARD_LOG_KEK": f"file:{new}"}
    assert told(run(home, "audit", "checkpoint", **there))["size"] == 2
    assert told(run(home, "audit", "fsck", **there))["findings"] == []
    missing = run(home, "audit", "rotate-key", "--kek", f"file:{tmp_path}/none.key", **there)
    assert missing.returncode == 66
