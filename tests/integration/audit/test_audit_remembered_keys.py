"""Keys kept in memory do not outlive an erasure or a rotation, whichever process made it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Query
from aboveboard.audit.kek import LocalKey
from aboveboard.audit.key_cache import KeyCache
from aboveboard.audit.vault import Name
from aboveboard.errors import StorageFailed
from tests.audit_cases import decision, open_log
from tests.postgres_server import postgres_server

PERSON = "sub-a"
OTHER_PROCESS = """
import sys
from pathlib import Path
from aboveboard.audit.kek import LocalKey
from tests.audit_cases import open_log

root = Path(sys.argv[1])
with open_log(root, writer="other") as log:
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "erase":
            log.erase("sub-a", actor="dpo", reason="art. 17", override="test")
        else:
            kek = LocalKey("file", bytes(range(32))) if line.strip() == "replace" else None
            log.rotate_vault_key(actor="dpo", kek=kek)
        print("done", flush=True)
"""


class Other:
    """Another process that has the same log open, and does as it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, what: str) -> None:
        """Have it do something, and return once it says that it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        self.hear("done")

    def hear(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline().strip()
        assert line == word, self._process.stderr.read()


@contextmanager
def another_process(root: Path) -> Iterator[Other]:
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        other = Other(process)
        other.hear("ready")
        yield other
    finally:
        process.communicate()
    assert process.returncode == 0


def readable(log: AuditLog, decision_id: str) -> bool:
    """Tell whether a published decision can be read: the index shows an erased one no more."""
    return bool(log.find(Query(decision_id=decision_id), actor="a", purpose="test"))


def test_an_erased_persons_key_is_never_used_again_though_another_process_erased(tmp_path: Path) -> None:
    """Were an old key used, the record would be sealed for good under a key that is gone."""
    with open_log(tmp_path) as log, another_process(tmp_path) as other:
        stop = threading.Event()

        def keep_writing() -> None:
            number = 10_000
            while not stop.is_set():
                log.append_all([decision(number + n, f"sub-{n % 3}") for n in range(20)])
                number += 20
                time.sleep(0.02)

        busy = threading.Thread(target=keep_writing)
        busy.start()
        try:
            for number in range(6):
                log.append(decision(number, PERSON))
                other.tell("erase")
                log.append(decision(100 + number, PERSON))
                log.take_in()
                assert not readable(log, f"dec-{number:06d}")
                assert readable(log, f"dec-{100 + number:06d}")
                if number % 3 == 2:
                    other.tell("rotate")
        finally:
            stop.set()
            busy.join()
        log.publish()
        report = log.fsck()
        assert report.as_dict()["findings"] == []


def test_a_process_without_the_new_key_encryption_key_does_not_seal_from_memory(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, another_process(tmp_path) as other:
        log.append(decision(1, PERSON))
        other.tell("rotate")
        log.append(decision(2, PERSON))
        other.tell("replace")
        for number in (3, 4):
            with pytest.raises(StorageFailed, match="cannot seal"):
                log.append(decision(number, PERSON))
    with open_log(tmp_path, kek=LocalKey("file", bytes(range(32)))) as log:
        log.publish()
        assert readable(log, "dec-000002")
        assert not readable(log, "dec-000003")


def test_in_postgresql_too(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with (
        postgres_server() as url,
        open_log(tmp_path, database=url) as one,
        open_log(tmp_path, database=url, writer="two") as two,
    ):
        names = [Name(f"sub-{n}", "2026-11", "P25M") for n in range(40)]
        with one._vault.sealing():
            made = {name: key.key_id for name, key in one._vault.keys_for(names[:30]).items()}
        with two._vault.sealing():
            stored = {name: key.key_id for name, key in two._vault.keys_for(names).items()}
        assert made == {name: stored[name] for name in names[:30]}
        for number in range(3):
            one.append(decision(number, PERSON))
            two.erase(PERSON, actor="dpo", reason="art. 17", override="test")
            one.append(decision(100 + number, PERSON))
            one.take_in()
            assert not readable(one, f"dec-{number:06d}")
            assert readable(one, f"dec-{100 + number:06d}")
            two.rotate_vault_key(actor="dpo")
        one.publish()
        assert one.fsck().as_dict()["findings"] == []


def test_an_idle_process_lets_go_of_an_erased_persons_key(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, another_process(tmp_path) as other:
        log.append(decision(1, PERSON))
        vault = log._vault
        held = vault._remembered
        assert len(held) == 1
        other.tell("erase")
        vault.check_remembered()
        assert len(held) == 0
        log.append(decision(2, PERSON))
        assert len(held) == 1
        log.erase(PERSON, actor="dpo", reason="art. 17", override="test")
        assert PERSON not in {name.subject for name in held._keys}


def test_the_same_key_from_memory_as_from_the_database(tmp_path: Path) -> None:
    names = [Name(f"sub-{n}", "2026-11", "P25M") for n in range(900)]
    with open_log(tmp_path) as one, open_log(tmp_path, writer="two") as two:
        with one._vault.sealing():
            made = {name: key.key_id for name, key in one._vault.keys_for(names).items()}
            remembered = {name: key.key_id for name, key in one._vault.keys_for(names).items()}
        with two._vault.sealing():
            stored = two._vault.keys_for([*names, Name("sub-new", "2026-11", "P25M")])
        assert made == remembered == {name: stored[name].key_id for name in names}
        text = b"the same key opens what the other sealed"
        with one._vault.sealing():
            sealed = one._vault.keys_for(names[:1])[names[0]].cipher.encrypt(bytes(12), text, b"")
        assert stored[names[0]].cipher.decrypt(bytes(12), sealed, b"") == text


def test_what_goes_is_overwritten() -> None:
    cache: KeyCache[str] = KeyCache(2)
    for name in ("a", "b"):
        cache.put(name, name.encode(), b"k" * 32)
    ours = {name: key for name, (_, key) in cache._keys.items()}
    assert cache.get("a") == (b"a", b"k" * 32)
    cache.put("c", b"c", b"k" * 32)
    assert cache.get("b") is None
    assert ours["b"] == bytes(32)
    assert ours["a"] == b"k" * 32
    cache.put("a", b"a2", b"l" * 32)
    assert ours["a"] == bytes(32)
    handed = cache.get("a")
    cache.clear()
    assert handed == (b"a2", b"l" * 32)
    assert len(cache) == 0
