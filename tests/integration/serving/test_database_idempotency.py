"""Idempotency keys of servers that share a PostgreSQL database, as pods of one service do."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from aboveboard.audit import events
from tests.fault.serving.test_idempotency_faults import in_background
from tests.integration.serving.process import Released, ask_all, running
from tests.integration.serving.test_server_database import WHO, auditor, decisions_in, pod, where
from tests.integration.serving.test_server_idempotency import afresh, keyed
from tests.postgres_server import PostgresServer, running_postgres

pytest.importorskip("psycopg")
__all__ = ["where"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


def one_decision_each(log: Any, answers: dict[str, dict[str, Any]]) -> None:
    """Check that the log holds one decision for each key, the one that was answered."""
    found: dict[str | None, list[str]] = {}
    decisions_in(log)
    for decision_id in decisions_in(log):
        decision, _ = log.decision(decision_id, **WHO)
        assert isinstance(decision, events.Decision)
        found.setdefault(decision.idempotency_key, []).append(decision_id)
    for key, answer in answers.items():
        assert found[key] == [answer["decision_id"]]


def test_any_server_gives_the_one_decision(
    released: Released, where: dict[str, str], postgres: PostgresServer, tmp_path: Path
) -> None:
    homes = [pod(released, tmp_path / name) for name in ("a", "b")]
    options: dict[str, Any] = {"release": released.digests[0], "log": where}
    requests = [keyed(released, number % 10) for number in range(100)]

    async def both(ports: list[int]) -> list[list[dict[str, Any]]]:
        return list(await asyncio.gather(*(ask_all(port, requests, connections=8) for port in ports)))

    with running(homes[0], **options) as first, running(homes[1], **options) as second:
        answers = asyncio.run(both([first.port, second.port]))
    with running(homes[1], **options) as third:
        answers.append(asyncio.run(ask_all(third.port, requests[:10], connections=1)))
    for several in answers:
        for number, answer in enumerate(several):
            assert answer == answers[0][number % 10]
    with auditor(homes[0], where) as log:
        one_decision_each(log, {f"application-{number}": answers[0][number] for number in range(10)})


def test_what_a_killed_server_had_claimed_another_decides(
    released: Released, where: dict[str, str], postgres: PostgresServer, tmp_path: Path
) -> None:
    homes = [pod(released, tmp_path / name) for name in ("a", "b")]
    options: dict[str, Any] = {"release": released.digests[0], "log": where}
    engine = create_engine(where["ABOVEBOARD_LOG_DATABASE"])
    with running(homes[0], **options) as first, running(homes[1], **options) as second:
        assert afresh(first, released.clients[0]).status_code == 200
        with engine.connect() as connection, connection.begin():
            # Until this ends no record is sealed, as during an erasure.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('audit_vault vault', 0))"))
            in_background(lambda: afresh(first, keyed(released, 7)))
            with engine.connect() as other:
                while not other.execute(text("SELECT count(*) FROM idempotency.claim")).scalar():
                    other.rollback()
                    time.sleep(0.01)
            first.stop(signal.SIGKILL)
        response = afresh(second, keyed(released, 7))
        assert response.status_code == 200, response.text
        assert afresh(second, keyed(released, 7)).content == response.content
    engine.dispose()
    with auditor(homes[1], where) as log:
        one_decision_each(log, {"application-7": response.json()})


def test_a_database_that_restarts_leaves_one_decision_for_each_key(
    released: Released, where: dict[str, str], postgres: PostgresServer, tmp_path: Path
) -> None:
    home = pod(released, tmp_path / "pod")
    heard: dict[str, dict[str, Any]] = {}
    ends = time.monotonic() + 120

    def restart() -> None:
        time.sleep(0.5)
        postgres.stop()
        time.sleep(1)
        postgres.start()

    with running(home, release=released.digests[0], log=where, workers=2) as server:

        def answer(number: int) -> dict[str, Any]:
            """Ask as a client does that wants to know."""
            while True:
                response = afresh(server, keyed(released, number, f"k-{number}"))
                if response.status_code == 200:
                    return dict(response.json())
                assert response.status_code == 503, response.text
                assert time.monotonic() < ends
                time.sleep(0.1)

        answer(0)
        restarted = in_background(restart)
        number = after = 0
        while after < 20:
            number += 1
            heard[f"k-{number}"] = answer(number)
            assert answer(number) == heard[f"k-{number}"]
            after += bool(restarted)
    with auditor(home, where) as log:
        one_decision_each(log, heard)
