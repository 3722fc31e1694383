from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest

from aboveboard.errors import StorageFailed
from aboveboard.serving.claims import (
    LIFETIME_SECONDS,
    NOBODY,
    Claim,
    Claims,
    KeyDigests,
    Mark,
    expiry,
)
from aboveboard.serving.presence import DatabasePresence, FilePresence, Presence
from tests.postgres_server import postgres_server

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def claims(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Claims]:
    if request.param == "sqlite":
        opened = Claims.sqlite(tmp_path / "idempotency.sqlite")
    else:
        opened = Claims.postgresql(request.getfixturevalue("server"))
        with opened.database.writing() as connection:
            connection.exec_driver_sql("DELETE FROM claim")
    yield opened
    opened.close()


def claim(key: str, decision_id: str = "dec-1", *, owner: str = "me", body: str = "b", at: datetime = NOON) -> Claim:
    padded = f"{key:>16}".encode(), f"{body:>16}".encode()
    return Claim(*padded, decision_id, owner, settled=False, expires=expiry(at))


def test_a_key_is_claimed_once_and_the_obstacle_is_shown(claims: Claims) -> None:
    first, other = claim("k"), claim("l", "dec-2")
    assert claims.claim([other, first], NOON) == [None, None]
    again = claim("k", "dec-3", owner="you", body="another")
    assert claims.claim([again, claim("m", "dec-4")], NOON) == [first, None]
    assert claims.find(first.key, NOON) == first
    assert claims.find(claim("n").key, NOON) is None


def test_what_became_of_a_claim_is_noted_while_it_is_ones_own(claims: Claims) -> None:
    settled, given_up, released, lost = (claim(key, f"dec-{key}") for key in "abcd")
    claims.claim([settled, given_up, released, lost], NOON)
    taken = lost._replace(decision_id="dec-e", owner="you")
    assert claims.take_over(lost, taken)
    marks = [(Mark.SETTLED, settled), (Mark.GIVEN_UP, given_up), (Mark.RELEASED, released), (Mark.RELEASED, lost)]
    claims.mark(marks)
    found = [claims.find(each.key, NOON) for each in (settled, given_up, released, lost)]
    assert found == [settled._replace(settled=True), given_up._replace(owner=NOBODY), None, taken]


def test_one_of_those_who_take_over_succeeds(claims: Claims) -> None:
    found = claim("k")
    claims.claim([found], NOON)
    ours = [found._replace(decision_id=f"dec-{number}", owner=f"owner-{number}") for number in range(8)]
    won: list[Claim] = []
    threads = [
        threading.Thread(target=lambda one=one: won.append(one) if claims.take_over(found, one) else None)
        for one in ours
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert claims.find(found.key, NOON) == won[0]


def test_a_settled_claim_is_not_taken_over(claims: Claims) -> None:
    found = claim("k")
    claims.claim([found], NOON)
    claims.mark([(Mark.SETTLED, found)])
    assert not claims.take_over(found, found._replace(decision_id="dec-2"))


def test_many_who_claim_the_same_keys_at_once(claims: Claims) -> None:
    """Each in an order of their own: nobody waits for somebody who waits for them."""
    won: dict[str, list[bytes]] = {}

    def work(owner: str, numbers: list[int]) -> None:
        won[owner] = []
        for start in range(0, 120, 20):
            group = [claim(f"{n:03}", f"dec-{owner}-{n}", owner=owner) for n in numbers[start : start + 20]]
            obstacles = claims.claim(group, NOON)
            won[owner] += [one.key for one, other in zip(group, obstacles, strict=True) if other is None]

    orders = {"a": list(range(120)), "b": list(range(119, -1, -1)), "c": [(n * 7) % 120 for n in range(120)]}
    threads = [threading.Thread(target=work, args=item) for item in orders.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chain(*won.values())) == [claim(f"{n:03}").key for n in range(120)]


def test_a_claim_expires_and_is_purged(claims: Claims) -> None:
    old, young = claim("old"), claim("young", at=NOON + timedelta(hours=12))
    claims.claim([old, young], NOON)
    later = NOON + timedelta(seconds=LIFETIME_SECONDS)
    assert claims.find(old.key, later - timedelta(seconds=1)) == old
    assert claims.find(old.key, later) is None
    again = claim("old", "dec-2", at=later)
    assert claims.claim([again], later) == [None]
    assert claims.purge(later) == 0
    assert claims.purge(later + timedelta(hours=12)) == 1
    assert claims.find(again.key, later) == again
    assert claims.find(young.key, NOON) is None


def test_a_database_that_fails_says_so(tmp_path: Path) -> None:
    claims = Claims.sqlite(tmp_path / "idempotency.sqlite")
    with claims.database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE claim")
    call: Callable[[], object]
    for call in (
        lambda: claims.claim([claim("k")], NOON),
        lambda: claims.find(claim("k").key, NOON),
        lambda: claims.mark([(Mark.SETTLED, claim("k"))]),
        lambda: claims.take_over(claim("k"), claim("k")),
        lambda: claims.purge(NOON),
    ):
        with pytest.raises(StorageFailed):
            call()
    claims.close()


def test_nothing_a_client_sent_is_in_the_file(tmp_path: Path) -> None:
    digests = KeyDigests(b"\1" * 32, "credit")
    key = digests.key("loans", "application-17")
    fingerprint = digests.fingerprint(key, b'{"subject": "Jane"}')
    claims = Claims.sqlite(tmp_path / "idempotency.sqlite")
    claims.claim([Claim(key, fingerprint, "dec-1", "me", settled=False, expires=expiry(NOON))], NOON)
    claims.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key in stored
    assert not any(text in stored for text in (b"application-17", b"loans", b"Jane"))


def test_digests_tell_clients_keys_bodies_models_and_installations_apart() -> None:
    digests = KeyDigests(b"\1" * 32, "credit")
    keys = {
        digests.key("loans", "k"),
        digests.key("cards", "k"),
        digests.key("loans", "l"),
        digests.key("", "k"),
        KeyDigests(b"\2" * 32, "credit").key("loans", "k"),
        KeyDigests(b"\1" * 32, "fraud").key("loans", "k"),
    }
    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}
    assert len({digests.fingerprint(key, body) for key in keys for body in (b"", b"a", b"b")}) == 18
    assert digests.key("loans", "k") == KeyDigests(b"\1" * 32, "credit").key("loans", "k")


# -- who is alive


@pytest.fixture(params=["files", "postgresql"])
def present(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Presence]]:
    if request.param == "files":
        yield lambda: FilePresence(tmp_path)
    else:
        opened = Claims.postgresql(request.getfixturevalue("server"))
        yield lambda: DatabasePresence(opened.database)
        opened.close()


def test_who_lives_is_seen_alive_and_who_ended_is_not(present: Callable[[], Presence]) -> None:
    one, other = present(), present()
    assert one.renewed() != other.renewed()
    assert one.renewed() == one.renewed()
    assert one.alive(one.renewed())
    assert one.alive(other.renewed())
    name = other.renewed()
    other.end()
    assert not one.alive(name)
    third = present()
    assert one.alive(one.renewed())
    assert not one.alive(name)
    for presence in (one, third):
        presence.end()


@pytest.mark.parametrize("name", [NOBODY, "../present", "0" * 16, "x" * 16])
def test_who_was_never_there_is_not_alive(present: Callable[[], Presence], name: str) -> None:
    presence = present()
    assert not presence.alive(name)
    presence.end()


def test_a_killed_process_is_dead_and_its_file_is_swept(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from aboveboard.serving.presence import FilePresence\n"
    code += "print(FilePresence(Path(sys.argv[1])).renewed(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        ours = FilePresence(tmp_path)
        assert ours.alive(name)
        os.kill(process.pid, 19)  # a stopped process is alive
        assert ours.alive(name)
        process.kill()
        process.wait()
        assert not ours.alive(name)
    assert (tmp_path / name).exists()
    other = FilePresence(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ours.renewed(), other.renewed()}
    ours.end()
    other.end()


def test_a_lost_session_goes_on_under_another_name(server: str) -> None:
    opened = Claims.postgresql(server)
    presence, other = DatabasePresence(opened.database), DatabasePresence(opened.database)
    before = presence.renewed()
    with opened.database.writing() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND pid IN"
            " (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
        )
    after = presence.renewed()
    assert after != before
    assert other.alive(after)
    assert not other.alive(before)
    presence.end()
    other.end()
    opened.close()
