"""Whatever is wrong with a request, its code is stable, it decides nothing, and nothing of it is in the log."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from joserfc import jwt

from aboveboard.audit import AuditLog, Query
from aboveboard.clock import system_clock
from aboveboard.files import secret_bytes
from aboveboard.release import Keyring, ReleaseStore, Role
from aboveboard.settings import Home
from aboveboard.training import run_pipeline
from tests.fault.serving.parsers import CLAIMS, KEY, tokens_of
from tests.integration.serving.process import HEAD, Released, Server, open_log, running

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default"
DATA = "credit_default_taiwan.parquet"
AUTHOR, APPROVERS = "author@bank.example", ("approver@bank.example", "validator@bank.example")
CHANNEL = """
    - {name: CHANNEL, type: category, classification: financial, categories: [branch, online], reasonGroup: balances}
"""
CARD = "4111 1111 1111 1111"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def with_category(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str]:
    """A home with a release whose model reads a category, too: the one feature that is a text."""
    home = Home(tmp_path_factory.mktemp("category") / "home")
    home.root.mkdir()
    frame = pl.read_parquet(EXAMPLE / DATA)
    channel = pl.when(pl.col("ID") % 3 == 0).then(pl.lit("branch")).otherwise(pl.lit("online")).alias("CHANNEL")
    frame.with_columns(channel).write_parquet(home.root / DATA)
    text = (EXAMPLE / "model.yaml").read_text(encoding="utf-8")
    for stated, wanted in (
        (r"n_estimators: \d+", "n_estimators: 60"),
        (r"equalOpportunityDifferenceAtMost: [\d.]+", "equalOpportunityDifferenceAtMost: 0.5"),
        (r"\n\n  reasonGroups:", CHANNEL + "\n  reasonGroups:"),
    ):
        text, found = re.subn(stated, wanted, text)
        assert found == 1, stated
    (home.root / "model.yaml").write_text(text, encoding="utf-8")
    keys, now = Keyring(home.keys), system_clock()
    keys.ensure(AUTHOR, [Role.AUTHOR], at=now)
    for approver in APPROVERS:
        keys.ensure(approver, [Role.APPROVER, Role.VALIDATOR], at=now)
    with open_log(home) as log:
        run = run_pipeline(
            home.root / "model.yaml",
            home=home,
            log=log,
            token_key=secret_bytes(home.subject_key),
            actor=AUTHOR,
            clock=system_clock,
            trials=0,
        )
    assert run.verdict.verdict == "pass", [result for result in run.verdict.results if result.verdict != "pass"]
    store = ReleaseStore(home.releases, keys=keys, clock=system_clock)
    release = store.create(run.directory, author=AUTHOR)
    for approver in APPROVERS:
        store.approve(release.digest, approver=approver)
    return home, release.digest


Request = dict[str, Any]


def features(request: Request, **changes: Any) -> Request:
    return {**request, "features": {**request["features"], **changes}}


def without(request: Request, name: str) -> Request:
    return {**request, "features": {n: value for n, value in request["features"].items() if n != name}}


DOCUMENTS: dict[str, tuple[Callable[[Request], Any], str]] = {
    "unknown category": (lambda r: features(r, CHANNEL="by post"), "request-refused"),
    "number for a category": (lambda r: features(r, CHANNEL=1), "request-refused"),
    "missing feature": (lambda r: without(r, "LIMIT_BAL"), "request-refused"),
    "null for a feature": (lambda r: features(r, LIMIT_BAL=None), "request-refused"),
    "unknown feature": (lambda r: features(r, SHOE_SIZE=43), "request-refused"),
    "text for a number": (lambda r: features(r, PAY_0="0"), "request-refused"),
    "list for a number": (lambda r: features(r, PAY_0=[0]), "request-refused"),
    "number for the subject": (lambda r: {**r, "subject": 7}, "request-refused"),
    "beyond the contract": (lambda r: features(r, LIMIT_BAL=-1), "request-refused"),
    "list for the document": (lambda r: [r], "request-refused"),
    "card number in a category": (lambda r: features(r, CHANNEL=CARD), "card-number"),
    "card number as subject": (lambda r: {**r, "subject": f"client {CARD}"}, "card-number"),
    "card number in the cohort": (lambda r: {**r, "cohort": {"sex": CARD.replace(" ", "-")}}, "card-number"),
    "card number as key": (lambda r: {**r, "idempotency_key": CARD.replace(" ", "")}, "card-number"),
    "unknown jurisdiction": (lambda r: {**r, "jurisdiction": "sg"}, "request-refused"),
    "no locale": (lambda r: {**r, "locale": "../../etc"}, "request-refused"),
    "NaN": (lambda r: features(r, PAY_0=float("nan")), "not-json"),
    "infinity": (lambda r: features(r, PAY_0=float("inf")), "not-json"),
    "minus infinity": (lambda r: features(r, PAY_0=float("-inf")), "not-json"),
}
"""What a document says, that no decision can be made of."""
BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "duplicate key": (lambda b: b.replace(b'{"subject"', b'{"subject": "b", "subject"', 1), "duplicate-key"),
    "duplicate feature": (lambda b: b.replace(b'"PAY_0"', b'"PAY_0": 2, "PAY_0"', 1), "duplicate-key"),
    "duplicate key in disguise": (
        lambda b: b.replace(b'{"subject"', b'{"\\u0073ubject": "b", "subject"', 1),
        "duplicate-key",
    ),
    "deep": (lambda b: b[:-1] + b', "cohort":' + b'{"a":' * 100_000, "too-deep"),
    "invalid UTF-8": (lambda b: b.replace(b'"branch"', b'"br\xe4nch"'), "invalid-utf8"),
    "lone surrogate": (lambda b: b.replace(b'"branch"', b'"\\ud800"'), "not-json"),
    "cut off": (lambda b: b[:-2], "not-json"),
    "something behind": (lambda b: b + b"{}", "not-json"),
    "too large": (lambda b: b + b" " * (1 << 20), "too-large"),
    "infinite number": (lambda b: b.replace(b'"PAY_0": 0', b'"PAY_0": 1e999'), "request-refused"),
}
"""What is wrong with the bytes."""


def good(released: Released, number: int) -> Request:
    request = released.clients[number]
    return {**request, "features": {**request["features"], "PAY_0": 0, "CHANNEL": "branch"}}


def logged(log: AuditLog, kind: str) -> set[str | None]:
    return {entry.decision_id for entry in log.find(Query(kind=kind), actor="me", purpose="test")}


def test_nothing_is_decided_and_nothing_logged(released: Released, with_category: tuple[Home, str]) -> None:
    home, digest = with_category
    request = good(released, 0)
    body = json.dumps(request).encode()
    with running(home, release=digest) as server, server.client(**JSON) as client:

        def refused(response: httpx.Response, name: str, code: str) -> None:
            assert 400 <= response.status_code < 500, name
            problem = response.json()
            assert (problem["code"], problem["status"]) == (code, response.status_code), name
            assert "decision_id" not in problem

        first = client.post("/v1/decisions", json=request).json()["decision_id"]
        batch = []
        for name, (change, code) in DOCUMENTS.items():
            spoiled = json.dumps(change(request)).encode()
            refused(client.post("/v1/decisions", content=spoiled), name, code)
            if code != "not-json":  # then the whole batch is none
                batch.append((name, change(request), code))
        for name, (spoil, code) in BYTES.items():
            assert spoil(body) != body, name
            refused(client.post("/v1/decisions", content=spoil(body)), name, code)
        answers = client.post("/v1/decisions/batch", json={"requests": [r for _, r, _ in batch]}).json()["answers"]
        assert [(name, answer["code"]) for (name, _, _), answer in zip(batch, answers, strict=True)] == [
            (name, code) for name, _, code in batch
        ]
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"):
            response = client.post("/v1/decisions", content=body, headers={"content-type": kind})
            refused(response, kind, "unsupported-media-type")
        hold_release_and_day(client, first, refused)
        hundred_megabytes(server)
        last = client.post("/v1/decisions", json=good(released, 1)).json()["decision_id"]
    with open_log(home) as log:
        log.publish()
        assert logged(log, "decision/1") == {first, last}
        assert logged(log, "outcome-recorded/1") == set()
        assert logged(log, "release-promoted/1") == set()
        assert log.fsck().clean
    for path in home.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert CARD.encode() not in content
            assert CARD.replace(" ", "").encode() not in content


def hold_release_and_day(client: httpx.Client, decision_id: str, refused: Callable[..., None]) -> None:
    """A release that is not there, and a day that has not come."""
    unknown = "sha256:" + "0" * 64
    for champion in (unknown, "another-model"):
        change = {"tracks": {"champion": champion}, "reason": "a mistake"}
        refused(client.put("/v1/tracks", json=change), champion, "not-found")
    for path in (f"/v2/models/credit-default/versions/{unknown}/infer", "/v2/models/another/infer"):
        assert client.post(path, json={"inputs": []}).status_code == 404
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    for observed, decided, code in (
        (f"{tomorrow:%Y-%m-%d}", decision_id, "request-refused"),
        ("1999-12-31", decision_id, "request-refused"),
        ("2026-02-30", decision_id, "request-refused"),
        (f"{datetime.now(UTC):%Y-%m-%d}", "dec-" + "0" * 26, "not-found"),
    ):
        report = {"decision_id": decided, "label": "repaid", "observed": observed}
        refused(client.post("/v1/outcomes", json=report), observed, code)


def hundred_megabytes(server: Server) -> None:
    """A body of 100 MB, declared or not, is refused without being kept."""
    resident = memory(server)
    for head in (HEAD + b"Content-Length: 104857600\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head)
            chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
            try:
                for _ in range(100):
                    connection.sendall(chunk)
            except (BrokenPipeError, ConnectionResetError):
                pass
            else:
                pytest.fail("it was taken")
    assert memory(server) < resident + 10e6


def memory(server: Server) -> float:
    text = httpx.get(f"{server.url}/metrics").text
    line = next(line for line in text.splitlines() if line.startswith("process_resident_memory_bytes "))
    return float(line.split()[1])


@pytest.mark.parametrize(
    "times",
    [{"nbf": 3_000, "exp": 3_400}, {"iat": 3_000, "exp": 3_400}, {"exp": -100}, {"iat": -90_000, "exp": 90_000}],
    ids=["not begun", "issued later", "over", "too long"],
)
def test_a_token_at_the_wrong_time_decides_nothing(
    released: Released, home: Home, tmp_path: Path, times: dict[str, int]
) -> None:
    now = int(time.time())

    def bearer(**claims: int) -> dict[str, str]:
        everything = {**CLAIMS, "roles": ["desk"], "exp": now + 600, **{n: now + t for n, t in claims.items()}}
        return {"authorization": "Bearer " + jwt.encode({"alg": "ES256", "kid": "one"}, everything, KEY)}

    tokens_of(tmp_path, desk=["decide"])
    with (
        running(home, release=released.digests[0], identity=str(tmp_path / "identity.json")) as server,
        server.client() as client,
    ):
        for path in ("/v1/decisions", "/v1/decisions/batch"):
            response = client.post(path, json=released.clients[0], headers=bearer(**times))
            assert (response.status_code, response.json()["code"]) == (401, "not-authenticated")
        assert client.post("/v1/decisions", json=released.clients[0], headers=bearer()).status_code == 200
    with open_log(home) as log:
        log.publish()
        assert len(logged(log, "decision/1")) == 1
