"""Witnesses over real HTTP, as C2SP tlog-witness wants them, and the quorum a log asks of them."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from aboveboard.audit import AuditLog, verifier
from aboveboard.audit.cosigning import CosignatureCollector, NoQuorum, WitnessAddress, post_http
from aboveboard.audit.merkle import consistency_proof
from aboveboard.audit.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_MLDSA44,
    ED25519,
    Checkpoint,
    SigningKey,
    VerifierKey,
    format_note,
    parse_note,
)
from aboveboard.audit.storage import DirectoryStorage
from aboveboard.audit.tiles import TileReader
from aboveboard.audit.witness import Witness
from aboveboard.audit.witness_http import witness_app
from aboveboard.errors import Misuse, NotVerified
from tests.audit_cases import ORIGIN, ManualClock, decision, open_log

LOG = SigningKey(ORIGIN, ED25519, bytes(range(32)))
Serve = Callable[[Witness], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve witnesses on free ports of this machine until the test ends."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(witness: Witness) -> str:
        server = uvicorn.Server(uvicorn.Config(witness_app(witness), port=0, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


def witness(path: Path, name: str = "w1", log_keys: list[VerifierKey] | None = None) -> Witness:
    name = f"{name}.witness.example"
    signers = [
        SigningKey(name, COSIGNATURE_ED25519, name.ljust(32).encode()),
        SigningKey(name, COSIGNATURE_MLDSA44, name.rjust(32).encode()),
    ]
    return Witness.open(path, signers=signers, logs=log_keys or [LOG.verifier()], clock=ManualClock())


class Tree:
    """A tree of a hand-made log."""

    def __init__(self, salt: bytes = b"") -> None:
        self.hashes = [salt + bytes([n]) * (32 - len(salt)) for n in range(20)]

    def node(self, level: int, index: int) -> bytes:
        from aboveboard.audit.merkle import perfect_root

        return perfect_root(self.hashes[index << level : (index + 1) << level])

    def body(self, old: int, size: int, *, key: SigningKey = LOG, proof: list[bytes] | None = None) -> bytes:
        from aboveboard.audit.merkle import root

        text = Checkpoint(key.name, size, root(self.node, size)).text()
        parts = consistency_proof(self.node, min(old, size), size) if proof is None else proof
        lines = "".join(f"{base64.b64encode(part).decode()}\n" for part in parts)
        return f"old {old}\n{lines}\n{format_note(text, [key.sign(text)])}".encode()


def test_the_status_codes_are_those_of_the_specification(tmp_path: Path, serve: Serve) -> None:
    tree, other = Tree(), Tree(b"x")
    with contextlib.closing(witness(tmp_path / "witness.sqlite")) as one:
        url = serve(one) + "/add-checkpoint"

        def send(body: bytes) -> tuple[int, str]:
            answer = post_http(url, body, 5)
            return answer.status, answer.content_type.split(";")[0]

        stranger = SigningKey("stranger.example/log", ED25519, bytes(32))
        impostor = SigningKey(ORIGIN, ED25519, bytes(32))
        assert send(b"nonsense") == (400, "text/plain")
        assert send(tree.body(0, 5, key=stranger))[0] == 404
        assert send(tree.body(0, 5, key=impostor))[0] == 403
        assert send(tree.body(3, 5)) == (409, "text/x.tlog.size")
        assert send(tree.body(0, 5, proof=[bytes(32)]))[0] == 422
        assert send(tree.body(0, 5))[0] == 200
        assert send(tree.body(6, 5))[0] == 400
        answer = post_http(url, tree.body(3, 9), 5)
        assert (answer.status, answer.content_type, answer.body) == (409, "text/x.tlog.size", b"5\n")
        assert send(other.body(5, 5, proof=[]))[0] == 409
        assert send(other.body(5, 9))[0] == 422
        assert send(tree.body(5, 9, proof=[bytes(32)] * 64))[0] == 400
        assert send(tree.body(5, 5))[0] == 200
        assert send(tree.body(5, 9))[0] == 200
        assert send(b"x" * 300_000)[0] == 413
        assert one.latest(ORIGIN) == (9, tree.body(0, 9).decode().split("\n\n", 1)[1])
    # What it has seen it knows after a restart.
    with contextlib.closing(witness(tmp_path / "witness.sqlite")) as again:
        assert again.latest(ORIGIN) is not None
        assert post_http(serve(again) + "/add-checkpoint", tree.body(5, 9), 5).body == b"9\n"


def test_no_race_rolls_a_log_back(tmp_path: Path) -> None:
    tree = Tree()
    with contextlib.closing(witness(tmp_path / "witness.sqlite")) as one:
        from aboveboard.audit.witness import OtherSize, parse_request

        one.add_checkpoint(*parse_request(tree.body(0, 2)))
        won: list[int] = []

        def extend(size: int) -> None:
            with contextlib.suppress(OtherSize):
                one.add_checkpoint(*parse_request(tree.body(2, size)))
                won.append(size)

        threads = [threading.Thread(target=extend, args=(size,)) for size in range(3, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        latest = one.latest(ORIGIN)
        assert latest is not None
        assert won == [latest[0]]


def cosigned_log(root: Path, addresses: list[WitnessAddress], quorum: int) -> AuditLog:
    storage = DirectoryStorage(root / "audit" / "tiles")
    return open_log(root, storage=storage, cosign=CosignatureCollector(addresses, storage, quorum=quorum, timeout=2))


def test_a_log_collects_a_quorum(tmp_path: Path, serve: Serve) -> None:
    with open_log(tmp_path) as log:
        keys = [VerifierKey.parse(key) for key in log.vkeys]
    witnesses = [witness(tmp_path / f"{n}.sqlite", f"w{n}", keys) for n in range(2)]
    addresses = [WitnessAddress.parse(serve(one), *one.vkeys) for one in witnesses]
    addresses.append(WitnessAddress.parse("http://127.0.0.1:9/", *witnesses[0].vkeys))  # nobody listens here
    trusted = [key for one in witnesses for key in one.vkeys]
    with cosigned_log(tmp_path, addresses, 2) as log:
        for n in range(300):
            log.committer  # noqa: B018
            if n % 100 == 0:
                log.append_all([decision(n + k, f"sub-{k}") for k in range(90)])
                checkpoint = log.publish()
        assert len(parse_note(checkpoint.note)[1]) == 2 + 4
        receipt = json.loads(log.receipt("dec-000105", actor="a", purpose="test").to_json())
        facts = verifier.verify_receipt(receipt, log.vkeys, trusted, 2)
        assert facts["witnesses"] == ["w0.witness.example", "w1.witness.example"]
        with pytest.raises(verifier.VerificationFailed, match="not by 3"):
            verifier.verify_receipt(receipt, log.vkeys, trusted, 3)
        assert log.fsck().as_dict()["findings"] == []
    for one in witnesses:
        one.close()


def test_without_a_quorum_nothing_is_published_and_nothing_is_lost(tmp_path: Path) -> None:
    key = str(SigningKey("w.example", COSIGNATURE_ED25519, bytes(32)).verifier())
    with cosigned_log(tmp_path, [WitnessAddress.parse("http://127.0.0.1:9", key)], 1) as log:
        log.append(decision(1))
        with pytest.raises(NoQuorum, match="0 of 1"):
            log.publish()
        assert log.latest() is None
        # Erasing a person does not wait for witnesses.
        assert log.erase("sub-a", actor="dpo", reason="test", override="test").erased_entries == [0]
    with open_log(tmp_path) as log:
        assert log.publish().size == 2


def test_a_witness_that_lies_is_not_believed(tmp_path: Path) -> None:
    from aboveboard.audit.cosigning import Answer, Post

    storage = DirectoryStorage(tmp_path)
    name = SigningKey("w.example", COSIGNATURE_ED25519, bytes(32))
    imposter = SigningKey("w.example", COSIGNATURE_ED25519, bytes(31) + b"x")
    head = Checkpoint(ORIGIN, 0, bytes(32))
    note = format_note(head.text(), [LOG.sign(head.text())])

    def ask(post: Post) -> Any:
        address = WitnessAddress.parse("http://w.example", str(name.verifier()))
        return CosignatureCollector([address], storage, quorum=1, post=post)(note, head)

    good = name.sign(head.text(), 7).line()
    assert len(ask(lambda *_: Answer(200, "text/plain", good.encode()))) == 1
    for status, kind, body in [
        (200, "text/plain", imposter.sign(head.text(), 7).line()),
        (200, "text/plain", name.sign(Checkpoint(ORIGIN, 1, bytes(32)).text(), 7).line()),
        (200, "text/plain", "nonsense"),
        (409, "text/x.tlog.size", "5\n"),
        (409, "text/x.tlog.size", "0\n"),
        (409, "text/plain", "split view"),
        (500, "text/plain", "oh"),
    ]:
        with pytest.raises(NoQuorum):
            ask(lambda *_, s=status, k=kind, b=body: Answer(s, k, b.encode()))


def test_a_witness_keeps_its_keys(tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        one = Witness.in_directory(tmp_path, name="w.example", logs=[LOG.verifier()], clock=ManualClock())
        keys.add(tuple(one.vkeys))
        one.close()
    assert len(keys) == 1
    assert [VerifierKey.parse(key).kind for key in keys.pop()] == [COSIGNATURE_ED25519, COSIGNATURE_MLDSA44]


def test_what_cannot_be_a_witness(tmp_path: Path) -> None:
    with pytest.raises(Misuse):
        WitnessAddress.parse("ftp://w.example", str(LOG.verifier()))
    with pytest.raises(Misuse):
        WitnessAddress.parse("https://w.example")
    with pytest.raises(NotVerified):
        WitnessAddress.parse("https://w.example", "no key")
    with pytest.raises(Misuse):
        CosignatureCollector([], DirectoryStorage(tmp_path), quorum=1)
    with pytest.raises(Misuse):
        Witness.open(tmp_path / "unused.sqlite", signers=[], logs=[], clock=ManualClock())


def test_tiles_of_an_older_size_are_read_from_the_full_tile(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n) for n in range(100)])
        old = log.publish()
        log.append_all([decision(n) for n in range(100, 300)])
        new = log.publish()
    for path in (tmp_path / "audit" / "tiles").rglob("*.p/100"):
        path.unlink()
    reader = TileReader(DirectoryStorage(tmp_path / "audit" / "tiles").get, old.size)
    from aboveboard.audit.merkle import root

    assert root(reader, old.size) == old.root
    assert root(reader.at(new.size), new.size) == new.root
