"""The audit log, its witnesses and its keeping, run as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, verifier
from aboveboard.audit.witnesses import Asked, Witnesses, read_witnesses, write_witnesses
from aboveboard.errors import Misuse
from tests.audit_cases import decision
from tests.integration.road.shell import Shell

EU, US = "bank.example/eu", "bank.example/us"


def region(root: Path, origin: str) -> Shell:
    """Return a home whose log is named `origin` and holds a few decisions about two people."""
    shell = Shell(root / "home", root)
    root.mkdir()
    assert shell.json("audit", "key", "--origin", origin)["key"].startswith(f"{origin}+")
    add(shell, origin, 0, 4)
    return shell


def add(shell: Shell, origin: str, start: int, end: int) -> None:
    with AuditLog.open(shell.home / "audit", keys=shell.home / "keys", origin=origin) as log:
        log.append_all([decision(n, f"sub-{n % 2:032x}") for n in range(start, end)])


@contextmanager
def witness(directory: Path, log: Path, name: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """Run a witness until the block ends, and yield its address and keys."""
    named = ["--name", name] if name else []
    process = subprocess.Popen(
        [
            sys.executable,
            "-u",
            "-m",
            "aboveboard",
            "witness",
            "serve",
            directory,
            *named,
            "--log",
            log,
            "--port",
            "0",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert "http" in line, process.stderr.read()
        keys = [process.stdout.readline().strip() for _ in range(2)]
        yield line.partition(" at ")[2].split()[0], keys
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_a_witness_cosigns_and_without_it_nothing_is_published(tmp_path: Path) -> None:
    shell = region(tmp_path / "eu", EU)
    place, log_key = tmp_path / "witness", shell.home / "keys" / "audit-log.vkey"
    assert shell.run("witness", "key", place).returncode == 64
    keys = shell.json("witness", "key", place, "--name", "witness.example")["keys"]
    assert shell.json("witness", "key", place)["keys"] == keys
    key_file = place / "keys" / "witness.vkey"
    assert shell.json("audit", "witnesses") is None
    with witness(place, log_key) as (url, printed):
        assert printed == keys
        taken = shell.run("witness", "serve", place, "--log", log_key, "--port", url.rsplit(":", 1)[1])
        assert (taken.returncode, "in use" in taken.stderr) == (69, True)
        assert shell.run("audit", "witnesses", f"{url}={key_file}", "--quorum", "2").returncode == 64
        chosen = shell.json("audit", "witnesses", f"{url}={key_file}")
        assert chosen == {"quorum": 1, "witnesses": [{"url": url, "keys": [keys[0]]}]}
        assert shell.json("audit", "checkpoint")["cosigned_by"] == ["witness.example"]
        receipt = tmp_path / "receipt.json"
        assert shell.run("audit", "receipt", "dec-000001", "-o", receipt).returncode == 0
        found = shell.json("audit", "verify", receipt, "--witness", key_file)
        assert found["witnesses"] == ["witness.example"]
        assert shell.run("audit", "verify", receipt, "--witness", key_file, "--quorum", "2").returncode == 1
        assert shell.run("audit", "verify", receipt, "--witness", "nonsense").returncode == 64
    add(shell, EU, 4, 6)
    refused = shell.run("audit", "checkpoint")
    assert (refused.returncode, "0 of 1 witnesses" in refused.stderr) == (1, True)
    # Search and erasure do not wait for witnesses, and what is durable is cosigned later.
    assert len(shell.json("audit", "find", "--kind", "decision")["entries"]) == 6
    erased = shell.json("subject", "erase", f"sub-{0:032x}", "--yes", "--override", "court order")
    assert len(erased["erased_entries"]) == 3
    with witness(place, log_key) as (again, _):
        shell.json("audit", "witnesses", f"{again}={key_file}")
        head = shell.json("audit", "checkpoint")
        assert (head["size"], head["cosigned_by"]) == (9, ["witness.example"])
    assert shell.json("audit", "fsck")["findings"] == []


def test_regions_anchor_each_other(tmp_path: Path) -> None:
    eu, us = region(tmp_path / "eu", EU), region(tmp_path / "us", US)
    key, published = us.home / "keys" / "audit-log.vkey", us.home / "audit" / "tiles" / "checkpoint"
    first = us.json("audit", "checkpoint")
    assert eu.json("audit", "anchor", published, "--key", key)["anchored"]
    assert not eu.json("audit", "anchor", published, "--key", key)["anchored"]
    add(us, US, 4, 7)
    us.json("audit", "checkpoint")
    unproved = eu.run("audit", "anchor", published, "--key", key)
    assert (unproved.returncode, "needs a proof" in unproved.stderr) == (64, True)
    proof = tmp_path / "proof.json"
    for spoilt, code in [("{}", 65), ("[", 65)]:
        proof.write_text(spoilt)
        assert eu.run("audit", "anchor", published, "--key", key, "--proof", proof).returncode == code
    good = us.run("audit", "consistency", str(first["size"])).stdout
    proof.write_text(json.dumps({**json.loads(good), "proof": ["not hex"]}))
    assert eu.run("audit", "anchor", published, "--key", key, "--proof", proof).returncode == 1
    proof.write_text(good)
    assert eu.json("audit", "anchor", published, "--key", key, "--proof", proof)["anchored"]
    assert eu.run("audit", "anchor", published, "--key", eu.home / "keys" / "audit-log.vkey").returncode == 1
    assert eu.run("audit", "anchor", tmp_path / "none", "--key", key).returncode == 66
    assert len(eu.json("audit", "find", "--kind", "checkpoint-anchored")["entries"]) == 2
    other = eu.run("audit", "key", "--origin", US)
    assert (other.returncode, "bank.example/eu" in other.stderr) == (64, True)


def test_keys_rotate_holds_bar_and_the_order_is_found_again(tmp_path: Path) -> None:
    shell = region(tmp_path / "eu", EU)
    person = f"sub-{1:032x}"
    shell.json("audit", "checkpoint")
    assert shell.json("audit", "rotate-key")["rewrapped"] >= 2
    held = shell.json("subject", "hold", person, "--until", "2099-12-31", "--basis", "lawsuit 7 C 12/26")
    assert held["until"] == "2099-12-31"
    refused = shell.run("subject", "erase", person, "--yes")
    assert (refused.returncode, "2099-12-31" in refused.stderr) == (75, True)
    assert shell.run("subject", "release-hold", "hold-none", "--reason", "settled").returncode == 66
    shell.json("subject", "release-hold", held["hold_id"], "--reason", "settled")
    assert "2099" not in shell.run("subject", "erase", person, "--yes").stderr
    assert shell.run("subject", "hold", "nobody", "--until", "2099-12-31", "--basis", "x").returncode == 66
    size = shell.json("audit", "checkpoint")["size"]
    assert shell.run("audit", "restore-order").returncode == 69
    for path in (shell.home / "audit").glob("log.sqlite*"):
        path.rename(tmp_path / path.name)
    assert "does not know" in shell.run("audit", "checkpoint").stderr
    assert shell.json("audit", "restore-order") == {"restored": size, "size": size}
    assert shell.json("audit", "fsck")["findings"] == []
    facts = verifier.verify_log(shell.home / "audit" / "tiles", [shell.json("audit", "key")["key"]])
    assert facts["size"] == size


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"quorum": 0}',
        b'{"quorum": 1, "witnesses": []}',
        b'{"quorum": -1, "witnesses": []}',
        b'{"quorum": 0, "witnesses": [], "policy": "any"}',
        b'{"quorum": 0, "witnesses": [{"url": "https://w.example", "keys": []}]}',
        b'{"quorum": 0, "witnesses": [{"url": "file:///w", "keys": ["k"]}]}',
        b'{"quorum": 0, "witnesses": [{"url": "https://w.example", "keys": ["w+1+2"]}]}',
    ],
)
def test_a_log_with_impossible_witnesses_does_not_open(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "witnesses.json").write_bytes(content)
    with pytest.raises(Misuse, match=r"witnesses\.json"):
        read_witnesses(tmp_path)
    with pytest.raises(Misuse, match=r"witnesses\.json"):
        AuditLog.open(tmp_path, keys=tmp_path / "keys", origin=EU)


def test_one_witness_does_not_count_twice(tmp_path: Path) -> None:
    from aboveboard.audit.note import COSIGNATURE_ED25519, ED25519, SigningKey

    key = str(SigningKey("w.example", COSIGNATURE_ED25519, bytes(32)).verifier())
    other = str(SigningKey("w2.example", COSIGNATURE_ED25519, bytes(32)).verifier())
    log_key = str(SigningKey("w3.example", ED25519, bytes(32)).verifier())
    for wrong in (
        [Asked("https://a.example", [key]), Asked("https://b.example", [key])],
        [Asked("https://a.example", [key, other])],
        [Asked("https://a.example", [log_key])],
    ):
        with pytest.raises(Misuse):
            write_witnesses(tmp_path, Witnesses(1, wrong))
    write_witnesses(tmp_path, Witnesses(1, [Asked("https://a.example", [key]), Asked("https://b.example", [other])]))
    found = read_witnesses(tmp_path)
    assert found is not None
    assert len(found.addresses()) == 2
