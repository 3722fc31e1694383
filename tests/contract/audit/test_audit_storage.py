"""What every tile storage must do, held against a directory, an S3 API and a real PostgreSQL server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit import verifier
from aboveboard.audit.s3 import S3Storage
from aboveboard.audit.storage import DirectoryStorage, TileStorage
from aboveboard.audit.tiles_postgres import PostgresStorage
from aboveboard.errors import Conflict, NotFound, NotVerified, StorageFailed
from tests.audit_cases import ManualClock, decision, open_log
from tests.postgres_server import new_database, postgres_server

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto")


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of moto's S3 server, over HTTP."""
    from botocore.config import Config
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(max_pool_connections=16),
    )
    yield client
    client.close()
    server.stop()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["directory", "s3", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TileStorage]:
    if request.param == "directory":
        yield DirectoryStorage(tmp_path / "tiles")
        return
    if request.param == "postgresql":
        in_database = PostgresStorage(new_database(request.getfixturevalue("postgres")))
        yield in_database
        in_database.close()
        return
    client = request.getfixturevalue("s3")
    bucket = f"bucket-{abs(hash(str(tmp_path)))}"
    client.create_bucket(Bucket=bucket)
    yield S3Storage(client, bucket, "logs/main")


def test_what_is_put_is_there(storage: TileStorage) -> None:
    files = {"tile/0/x001/x234/067": b"a" * 8192, "tile/entries/000.p/7": b"b", "tile/0/x001/000": b""}
    storage.put(files)
    assert {path: storage.get(path) for path in files} == files
    storage.put({})
    with pytest.raises(NotFound):
        storage.get("tile/0/999")
    with pytest.raises(NotFound):
        storage.get("tile/0/x001/000/deeper")


def test_a_tile_is_put_again_only_with_the_same_content(storage: TileStorage) -> None:
    storage.put({"tile/0/000": b"one"})
    storage.put({"tile/0/000": b"one", "tile/0/001": b"two"})
    with pytest.raises(NotVerified):
        storage.put({"tile/0/000": b"other"})
    assert storage.get("tile/0/000") == b"one"


def test_the_checkpoint_is_replaced(storage: TileStorage) -> None:
    with pytest.raises(NotFound):
        storage.get("checkpoint")
    for note in ("first\n", "second\n", "second\n", "third — with a dash\n"):
        storage.put_checkpoint(note)
        assert storage.get("checkpoint").decode() == note


def test_a_whole_log_lives_in_it(storage: TileStorage, tmp_path: Path) -> None:
    with open_log(tmp_path, storage=storage) as log:
        log.append_all([decision(n, f"sub-{n}") for n in range(300)])
        first = log.publish()
        log.append_all([decision(n, f"sub-{n}") for n in range(300, 530)])
        log.publish()
        receipt = json.loads(log.receipt("dec-000400", actor="a", purpose="test").to_json())
        assert verifier.verify_receipt(receipt, log.vkeys)["index"] == 400
        log.prove_consistency(first.size)
        assert log.fsck().as_dict()["findings"] == []


def test_partial_tiles_go_when_the_full_one_comes(postgres: str) -> None:
    storage = PostgresStorage(new_database(postgres))
    storage.put({"tile/0/x001/000.p/7": b"7", "tile/0/x001/000.p/200": b"200", "tile/0/x001/001.p/3": b"3"})
    storage.put({"tile/0/x001/000": b"256"})
    for gone in ("tile/0/x001/000.p/7", "tile/0/x001/000.p/200"):
        with pytest.raises(NotFound):
            storage.get(gone)
    assert storage.get("tile/0/x001/001.p/3") == b"3"
    storage.close()


def test_two_processes_publish_one_log_in_one_bucket(s3: Any, postgres: str, tmp_path: Path) -> None:
    s3.create_bucket(Bucket="shared")
    database = new_database(postgres)
    with (
        open_log(tmp_path, database=database, storage=S3Storage(s3, "shared"), writer="one") as one,
        open_log(tmp_path, database=database, storage=S3Storage(s3, "shared"), writer="two") as two,
    ):
        for number, log in enumerate([one, two, one, two, two, one], start=1):
            log.append(decision(number))
            assert log.publish().size == number
        assert one.fsck().as_dict()["findings"] == []


def test_of_two_publishers_one_loses(s3: Any) -> None:
    s3.create_bucket(Bucket="contended")
    one, two = (S3Storage(s3, "contended") for _ in range(2))
    one.put_checkpoint("one\n")
    two.put_checkpoint("two\n")
    with pytest.raises(Conflict):
        one.put_checkpoint("three\n")
    assert two.get("checkpoint") == b"two\n"


def test_full_tiles_can_be_locked(s3: Any) -> None:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    clock = ManualClock()
    S3Storage(s3, "locked", lock_days=3650, clock=clock).put({"tile/0/000": b"x", "tile/0/001.p/3": b"y"})
    held = s3.head_object(Bucket="locked", Key="tile/0/000")
    assert held["ObjectLockMode"] == "COMPLIANCE"
    assert (held["ObjectLockRetainUntilDate"] - clock()).days == 3650
    assert "ObjectLockMode" not in s3.head_object(Bucket="locked", Key="tile/0/001.p/3")
    with pytest.raises(s3.exceptions.ClientError):
        s3.delete_object(Bucket="locked", Key="tile/0/000", VersionId=held["VersionId"])


def test_a_store_that_is_not_there_is_an_error_of_ours() -> None:
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, connect_timeout=1),
    )
    storage = S3Storage(client, "nowhere")
    with pytest.raises(StorageFailed):
        storage.get("checkpoint")
    with pytest.raises(StorageFailed):
        storage.put({"tile/0/000": b""})
    client.close()
