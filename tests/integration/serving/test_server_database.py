"""Decision servers on one PostgreSQL database, as pods of one service are: one log, whoever is asked."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from aboveboard.audit import AuditLog, Query, verifier
from aboveboard.audit.location import open_log
from aboveboard.files import secret_bytes
from aboveboard.ids import subject_token
from aboveboard.settings import Home, LogSettings
from tests.integration.serving.process import Released, ask_all, running
from tests.integration.serving.test_server_operation import refused
from tests.postgres_server import PostgresServer, new_database, running_postgres

pytest.importorskip("psycopg")
ORIGIN = "aboveboard.local/log"
WHO: dict[str, Any] = {"actor": "me", "purpose": "test"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def where(postgres: PostgresServer, released: Released, tmp_path: Path) -> dict[str, str]:
    """The environment of a pod: a fresh database, and keys that are mounted for every pod alike."""
    keys = tmp_path / "mounted"
    keys.mkdir(mode=0o700)
    for path in released.home.keys.glob("audit-*"):
        shutil.copy(path, keys)
    return {
        "ABOVEBOARD_LOG_DATABASE": new_database(postgres.url),
        "ABOVEBOARD_LOG_KEYS": str(keys),
        "ABOVEBOARD_LOG_KEK": f"file:{keys}/audit-kek.key",
    }


def pod(released: Released, root: Path) -> Home:
    """Return the home of one pod: releases, the keys to verify them with, and none of the log's."""
    for name in ("keys", "releases"):
        shutil.copytree(released.home.root / name, root / name, ignore=shutil.ignore_patterns("audit-*"))
    return Home(root)


def auditor(home: Home, where: dict[str, str]) -> AuditLog:
    return open_log(home, LogSettings.from_environment(where), origin=ORIGIN, writer="auditor")


def decisions_in(log: AuditLog) -> list[str]:
    log.publish()
    return [entry.decision_id or "" for entry in log.find(Query(kind="decision/1", limit=100_000), **WHO)]


def test_two_servers_write_one_log(released: Released, where: dict[str, str], tmp_path: Path) -> None:
    homes = [pod(released, tmp_path / name) for name in ("a", "b")]
    options: dict[str, Any] = {"release": released.digests[0], "log": where}
    with (
        running(homes[0], **options) as first,
        running(homes[1], **options) as second,
        first.client() as a,
        second.client() as b,
    ):
        with ThreadPoolExecutor() as pool:
            halves = [
                pool.submit(asyncio.run, ask_all(server.port, released.clients[part], connections=8))
                for server, part in ((first, slice(0, 400)), (second, slice(400, 800)))
            ]
            answers = [answer for half in halves for answer in half.result()]
        made_by_a, path = answers[0], f"/v1/decisions/{answers[0]['decision_id']}"
        receipt = b.get(f"/v1/receipts/{made_by_a['decision_id']}").json()
        assert receipt["record"]["outcome"] == made_by_a["outcome"]
        record = b.get(path, params=WHO).json()
        assert record["features"] == released.clients[0]["features"]
        outcome = {"decision_id": made_by_a["decision_id"], "label": "repaid", "observed": "2026-11-21"}
        assert b.post("/v1/outcomes", json=outcome).status_code == 201
        assert a.post(f"{path}/contest", json={"statement": "the late payment was the bank's"}).status_code == 201
        assert made_by_a["decision_id"] in {case["decision_id"] for case in b.get("/v1/reviews").json()["cases"]}

        with auditor(homes[0], where) as log:
            assert sorted(decisions_in(log)) == sorted(answer["decision_id"] for answer in answers)
            verifier.verify_receipt(receipt, [log.vkey])
            token = subject_token(secret_bytes(homes[0].subject_key), released.clients[0]["subject"])
            log.erase(token, actor="dpo", reason="test", override="test")
        for client in (a, b):
            assert client.get(path, params=WHO).status_code == 404
        again = a.post("/v1/decisions", json=released.clients[0])
        assert again.status_code == 200
        assert b.get(f"/v1/decisions/{again.json()['decision_id']}", params=WHO).status_code == 200
    for home in homes:
        assert not list(home.audit.rglob("*.sqlite"))
        assert not (home.audit / "tiles").exists()
    with auditor(homes[1], where) as log:
        log.publish()
        report = log.fsck()
        assert report.as_dict()["findings"] == []
        assert report.entries > 800


def test_a_database_that_restarts_under_load_loses_nothing(
    released: Released, where: dict[str, str], postgres: PostgresServer, tmp_path: Path
) -> None:
    home = pod(released, tmp_path / "pod")
    answered: list[str] = []
    refusals: list[httpx.Response] = []
    over = asyncio.Event()

    async def load(client: httpx.AsyncClient, first: int) -> None:
        for number in range(first, 10_000_000, 8):
            if over.is_set():
                return
            request = {**released.clients[number % 2000], "subject": f"client-{number % 500}"}
            if number % 2:
                request["idempotency_key"] = f"application-{number}"
            response = await client.post("/v1/decisions", json=request)
            if response.status_code == 200:
                answered.append(response.json()["decision_id"])
            else:
                refusals.append(response)
                await asyncio.sleep(0.1)

    async def until(condition: Any) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.02)

    async def scene(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            tasks = [asyncio.create_task(load(client, first)) for first in range(8)]
            await until(lambda: len(answered) > 50)
            await asyncio.to_thread(postgres.stop)
            await until(lambda: len(refusals) > 8)
            assert (await client.get("/livez")).status_code == 200
            before = len(answered)
            await asyncio.to_thread(postgres.start)
            await until(lambda: len(answered) > before + 50)
            over.set()
            await asyncio.gather(*tasks)

    with running(home, release=released.digests[0], log=where) as server:
        asyncio.run(scene(server.url))
    for refusal in refusals:
        assert refusal.status_code == 503
        assert refusal.headers["retry-after"] == "1"
        assert refusal.json()["code"] in ("storage-failed", "overloaded", "unconfirmed")
        assert str(postgres.root) not in refusal.text
    with auditor(home, where) as log:
        logged = decisions_in(log)
        assert log.fsck().as_dict()["findings"] == []
    assert set(answered) <= set(logged)
    assert len(logged) == len(set(logged))


def test_a_pod_with_keys_of_its_own_is_refused(released: Released, where: dict[str, str], tmp_path: Path) -> None:
    home = pod(released, tmp_path / "pod")
    with auditor(home, where) as log:
        log.publish()
    other = tmp_path / "other"
    options: dict[str, Any] = {"release": released.digests[0]}
    error = refused(home, **options, log={**where, "ABOVEBOARD_LOG_KEYS": str(other)})
    assert error["code"] == "not-verified"
    assert "ABOVEBOARD_LOG_KEYS" in error["hint"]
    error = refused(home, **options, log={**where, "ABOVEBOARD_LOG_KEK": f"file:{other}/audit-log.key"})
    assert error["code"] == "misuse"
    (other / "kek.key").write_text("A" * 43 + "=")
    (other / "kek.key").chmod(0o600)
    error = refused(home, **options, log={**where, "ABOVEBOARD_LOG_KEK": f"file:{other}/kek.key"})
    assert error["code"] == "not-verified"


def test_a_password_is_given_in_a_file_and_told_nobody(
    released: Released, where: dict[str, str], postgres: PostgresServer, tmp_path: Path
) -> None:
    home = pod(released, tmp_path / "pod")
    secret = "s3cr3t/with:signs"
    postgres.add_user("app", secret)
    url = where["ABOVEBOARD_LOG_DATABASE"].replace("postgresql+psycopg://tester@", "postgresql://app:{}@")
    path = tmp_path / "url"
    path.write_text(url.format("s3cr3t%2Fwith%3Asigns"))
    options: dict[str, Any] = {"release": released.digests[0]}
    with running(home, **options, log={**where, "ABOVEBOARD_LOG_DATABASE": f"file:{path}"}) as server:
        answers = asyncio.run(ask_all(server.port, released.clients[:5], connections=1))
    with auditor(home, where) as log:
        assert sorted(decisions_in(log)) == sorted(answer["decision_id"] for answer in answers)
    path.write_text(url.format("wr0ng-s3cr3t"))
    error = refused(home, **options, log={**where, "ABOVEBOARD_LOG_DATABASE": f"file:{path}"})
    assert error["code"] == "storage-failed"
    assert "s3cr3t" not in json.dumps(error)


def test_tiles_go_to_a_bucket(
    released: Released, where: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto")
    from moto.server import ThreadedMotoServer

    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    endpoint = "http://{}:{}".format(*s3.get_host_and_port())
    client = boto3.client("s3", endpoint_url=endpoint)
    try:
        client.create_bucket(Bucket="evidence")
        where |= {"ABOVEBOARD_LOG_TILES": f"s3://evidence/logs/eu?endpoint={endpoint}"}
        homes = [pod(released, tmp_path / name) for name in ("a", "b")]
        options: dict[str, Any] = {"release": released.digests[0], "log": where}
        with running(homes[0], **options) as first, running(homes[1], **options) as second:
            for server in (first, second, first):
                asyncio.run(ask_all(server.port, released.clients[:150], connections=4))
                time.sleep(1.2)  # both publish in the background
            answer = asyncio.run(ask_all(first.port, released.clients[:1], connections=1))[0]
            receipt = httpx.get(f"{second.url}/v1/receipts/{answer['decision_id']}", timeout=30).json()
        tiles = tmp_path / "mirror"
        for found in client.list_objects_v2(Bucket="evidence", Prefix="logs/eu/")["Contents"]:
            path = tiles / found["Key"].removeprefix("logs/eu/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket="evidence", Key=found["Key"])["Body"].read())
        with auditor(homes[0], where) as log:
            verifier.verify_receipt(receipt, [log.vkey])
            assert verifier.verify_log(tiles, [log.vkey])["size"] > 450
            assert log.fsck().as_dict()["findings"] == []
    finally:
        client.close()
        s3.stop()
