"""Starting, refusing to start, changing releases, draining and stopping, as an operator meets it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest

from aboveboard.audit import Query
from aboveboard.settings import Home
from tests.integration.serving.process import HEAD, Released, ask_all, launch, open_log, running


def refused(home: Home, **options: Any) -> dict[str, Any]:
    """Start a server that must refuse to start, and return its error."""
    process = launch(home, **{"port": 0, **options})
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert out == ""
    assert process.returncode == 3, err
    error: dict[str, Any] = json.loads(err)
    return error


def test_a_port_in_use_is_found_before_anything_is_loaded(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = refused(home, release="no such release", port=taken.getsockname()[1])
    assert error["code"] == "conflict"
    assert "--port" in error["hint"]
    assert not home.audit.exists()


def test_an_unknown_release_is_refused(home: Home) -> None:
    assert refused(home, release="sha256:" + "0" * 64)["code"] == "not-found"


def test_a_release_with_one_byte_changed_is_refused(released: Released, home: Home) -> None:
    trees = max(released.models[0].files().values(), key=len)
    blob = home.releases / "blobs" / "sha256" / hashlib.sha256(trees).hexdigest()
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(bytes(content))
    error = refused(home, release=released.digests[0])
    assert error["code"] == "not-verified"
    assert not home.audit.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_journal_is_found_before_anybody_asks(released: Released, home: Home, workers: int) -> None:
    with running(home, release=released.digests[0]) as server, server.client() as client:
        for request in released.clients[:3]:
            assert client.post("/v1/decisions", json=request).status_code == 200
    [journal] = home.audit.glob("journals/server/*.journal")
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(bytes(content))
    error = refused(home, release=released.digests[0], workers=workers)
    assert error["code"] == "storage-failed"
    assert "fsck" in error["hint"]


def test_other_machines_are_answered_only_if_clients_are_named(released: Released, home: Home) -> None:
    error = refused(home, release=released.digests[0], host="0.0.0.0")  # noqa: S104  what is tested
    assert error["code"] == "misuse"
    assert "--clients" in error["hint"]
    assert refused(home, release=released.digests[0], host="no.such.host.invalid")["code"] == "misuse"


def test_clients_prove_who_they_are_and_keep_to_their_roles(released: Released, home: Home) -> None:
    keys = {"loans": ["decide"], "auditor": ["read"], "sre": ["operate"], "scores": ["predict"]}
    records = [
        {"name": name, "key_sha256": hashlib.sha256(f"abk_{name}".encode()).hexdigest(), "roles": roles}
        for name, roles in keys.items()
    ]
    path = home.root / "clients.json"
    path.write_text(json.dumps({"clients": [*records, {**records[0], "key_sha256": "0" * 64, "name": "other"}]}))
    path.chmod(0o600)
    plan = {"tracks": {"champion": released.digests[0]}, "reason": "test"}

    row = released.clients[0]["features"]
    prediction = {"inputs": [{"name": n, "shape": [1], "datatype": "INT64", "data": [row[n]]} for n in row]}

    def bearer(name: str) -> dict[str, str]:
        return {"authorization": f"Bearer abk_{name}"}

    with running(home, release=released.digests[0], clients=str(path)) as server, server.client() as client:
        request = released.clients[0]
        assert client.post("/v1/decisions", json=request).status_code == 401
        assert client.post("/v1/decisions", json=request).headers["www-authenticate"] == "Bearer"
        assert client.post("/v1/decisions", json=request, headers=bearer("nobody")).status_code == 401
        assert client.post("/v1/decisions", json=request, headers=bearer("auditor")).status_code == 403
        answer = client.post("/v1/decisions", json=request, headers=bearer("loans"))
        assert answer.status_code == 200
        read = f"/v1/decisions/{answer.json()['decision_id']}?purpose=test"
        assert client.get(read).status_code == 401
        assert client.get(read, headers=bearer("loans")).status_code == 403
        assert client.get(read, headers=bearer("auditor")).status_code == 200
        receipt = f"/v1/receipts/{answer.json()['decision_id']}"  # the record is in it
        assert client.get(receipt, headers=bearer("loans")).status_code == 403
        assert client.get(receipt, headers=bearer("auditor")).status_code == 200
        for version in ("", f"/versions/{released.digests[0]}"):
            infer = f"/v2/models/credit-default{version}/infer"
            for headers, status in (({}, 401), (bearer("loans"), 403), (bearer("scores"), 200)):
                assert client.post(infer, json=prediction, headers=headers).status_code == status
                assert client.post(infer, content=json.dumps(prediction), headers=headers).status_code == status
        assert client.put("/v1/tracks", json=plan, headers=bearer("loans")).status_code == 403
        assert client.put("/v1/tracks", json=plan, headers=bearer("sre")).status_code == 200
        assert client.get("/readyz").status_code == 200  # probes need no key


def test_stays_small(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server, server.client() as client:
        text = client.get("/metrics").text
    resident = next(line for line in text.splitlines() if line.startswith("process_resident_memory_bytes "))
    assert float(resident.split()[1]) < 200e6


def test_imports_nothing_of_the_training_side() -> None:
    probe = (
        "import sys, aboveboard.serving.server\n"
        "heavy = ('pandas', 'sklearn', 'scipy', 'polars', 'lightgbm', 'optuna', 'shap')\n"
        "ours = ('aboveboard.data', 'aboveboard.training', 'aboveboard.evaluation')\n"
        "print([name for name in sys.modules if name.split('.')[0] in heavy or name.startswith(ours)])\n"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_what_was_accepted_is_answered_before_the_server_stops(released: Released, home: Home) -> None:
    """A rolling restart under load: every request that was sent whole gets its answer, and exit is clean."""

    async def load(port: int, stop: Any) -> tuple[int, int]:
        answered = cut = 0

        async def work(number: int) -> None:
            nonlocal answered, cut
            body = json.dumps(released.clients[number]).encode()
            request = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    return  # it no longer listens: a load balancer has sent this one elsewhere
                while True:
                    try:
                        writer.write(request)
                        await writer.drain()
                        head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    except (asyncio.IncompleteReadError, ConnectionError) as error:
                        # A connection that the server closed while it was idle is retried (RFC 9110 section 9.2.2);
                        # a part of an answer would be a loss.
                        cut += bool(getattr(error, "partial", b""))
                        break
                    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    assert head.startswith(b"http/1.1 200"), head
                    answered += 1
                    if b"connection: close" in head:
                        break
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        async def end() -> None:
            await asyncio.sleep(0.7)
            stop()

        await asyncio.gather(end(), *(work(number) for number in range(16)))
        return answered, cut

    with running(home, release=released.digests[0]) as server:
        answered, cut = asyncio.run(load(server.port, lambda: server.process.send_signal(signal.SIGTERM)))
        assert server.process.wait(timeout=30) == 0
    assert answered > 50
    assert cut == 0
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="decision/1", limit=100_000), actor="me", purpose="test")
    assert len(found) >= answered


@pytest.mark.parametrize("lane", [True, False])
def test_every_answered_decision_survives_sigkill(released: Released, home: Home, lane: bool) -> None:
    answered: list[str] = []

    async def load(port: int, kill: Any) -> None:
        async def work(number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps(released.clients[number]).encode()
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                    answered.append(json.loads(await reader.readexactly(length))["decision_id"])
            writer.close()

        async def end() -> None:
            await asyncio.sleep(1.3)
            kill()

        await asyncio.gather(end(), *(work(number) for number in range(16)))

    with running(home, release=released.digests[0], lane=lane) as server:
        asyncio.run(load(server.port, server.process.kill))
        server.process.wait(timeout=30)
    assert len(answered) > 50
    with open_log(home) as log:
        log.publish()
        found = log.find(Query(kind="decision/1", limit=100_000), actor="me", purpose="test")
        logged = {entry.decision_id for entry in found}
        assert set(answered) <= logged
        assert log.fsck().clean
    # The same home serves again.
    with running(home, release=released.digests[0]) as server, server.client() as client:
        assert client.post("/v1/decisions", json=released.clients[0]).status_code == 200


def test_tracks_change_and_roll_back_while_requests_are_answered(released: Released, home: Home) -> None:
    first, second = released.digests

    def shares(client: httpx.Client, port: int) -> dict[str, int]:
        answers = asyncio.run(ask_all(port, released.clients[:200], connections=8))
        counts: dict[str, int] = {}
        for number, answer in enumerate(answers):
            model = released.models[released.digests.index(answer["release"])]
            row = model.encoding.encode(released.clients[number]["features"])
            assert answer["score"] == model.score(row.reshape(1, -1))[0]
            counts[answer["track"]] = counts.get(answer["track"], 0) + 1
        return counts

    with running(home, release=first) as server, server.client() as client:
        assert shares(client, server.port) == {"champion": 200}
        plan = {"tracks": {"champion": first, "challenger": second, "weight": 30}, "reason": "canary"}
        response = client.put("/v1/tracks", json=plan)
        assert response.status_code == 200, response.text
        counts = shares(client, server.port)
        assert counts == shares(client, server.port)  # sticky
        assert 30 <= counts["challenger"] <= 90
        # A release that does not hold is refused, and what was in service stays.
        wrong = {"tracks": {"champion": "sha256:" + "0" * 64}, "reason": "mistake"}
        assert client.put("/v1/tracks", json=wrong).status_code == 404
        itself = {"tracks": {"champion": first, "challenger": first, "weight": 5}, "reason": "mistake"}
        assert client.put("/v1/tracks", json=itself).status_code == 400
        assert shares(client, server.port) == counts
        back = client.post("/v1/tracks/rollback", json={"reason": "the canary declines one group"})
        assert back.status_code == 200
        assert shares(client, server.port) == {"champion": 200}
    with open_log(home) as log:
        log.publish()
        promoted = log.find(Query(kind="release-promoted/1"), actor="me", purpose="test")
        rolled_back = log.find(Query(kind="release-rolled-back/1"), actor="me", purpose="test")
    assert len(promoted) == 2
    assert len(rolled_back) == 1


def test_tracks_that_somebody_else_keeps_are_not_changed_over_http(released: Released, home: Home) -> None:
    first, second = released.digests
    plan = {"tracks": {"champion": second}, "reason": "by habit"}
    with running(home, release=first) as server, server.client() as client:
        assert client.put("/v1/tracks", json=plan).status_code == 200
    # Now a cluster runs it: what was put in service here once is forgotten, too.
    with running(home, release=first, tracks_by="DecisionService lending/loans") as server, server.client() as client:
        tracks = client.get("/v1/tracks").json()
        refused = client.put("/v1/tracks", json=plan)
        assert refused.status_code == 409
        assert "said by DecisionService lending/loans" in refused.text
        assert client.post("/v1/tracks/rollback", json={"reason": "by habit"}).status_code == 409
        assert client.get("/v1/tracks").json() == tracks
        answer = client.post("/v1/decisions", json=released.clients[0]).json()
        assert answer["release"] == first


def test_a_shadow_scores_and_answers_nobody(released: Released, home: Home) -> None:
    first, second = released.digests
    with running(home, release=first, shadows=[second]) as server, server.client() as client:
        answers = asyncio.run(ask_all(server.port, released.clients[:50], connections=4))
        text = client.get("/metrics").text
    assert {answer["release"] for answer in answers} == {first}
    counted = [line for line in text.splitlines() if line.startswith("aboveboard_decisions_total{")]
    by_track = {
        track: sum(float(line.split()[-1]) for line in counted if f'track="{track}"' in line)
        for track in ("champion", "shadow")
    }
    assert by_track == {"champion": 50, "shadow": 50}
    compared = [line for line in text.splitlines() if line.startswith("aboveboard_shadow_comparisons_total{")]
    assert sum(float(line.split()[-1]) for line in compared) == 50


def test_counts_add_up_by_group(released: Released, home: Home) -> None:
    with running(home, release=released.digests[0]) as server, server.client() as client:
        answers = asyncio.run(ask_all(server.port, released.clients[:100], connections=4))
        text = client.get("/metrics").text
    for value, group in ((1, "male"), (2, "female")):
        wanted = [
            a["outcome"] for a, c in zip(answers, released.clients, strict=False) if c["cohort"]["sex"] == value
        ]
        for outcome in set(wanted):
            line = next(
                line
                for line in text.splitlines()
                if line.startswith("aboveboard_group_decisions_total{")
                and f'attribute="sex",group="{group}"' in line
                and f'outcome="{outcome}"' in line
            )
            assert float(line.split()[-1]) == wanted.count(outcome)
    assert 'aboveboard_decision_duration_seconds_count{stage="total"} 100.0' in text
