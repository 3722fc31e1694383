"""Held against other people's work: published vectors, and an independent C2SP implementation where it is installed.

`aics-tlog` and `aics-witness` ask for Python 3.12; their tests here are skipped without them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit import merkle, verifier
from aboveboard.audit.cosigning import Answer, CosignatureCollector, WitnessAddress
from aboveboard.audit.note import (
    COSIGNATURE_ED25519,
    ED25519,
    Checkpoint,
    SigningKey,
    VerifierKey,
    format_note,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from aboveboard.audit.storage import DirectoryStorage
from aboveboard.audit.tiles import bundle_path, tile_path, tile_width
from aboveboard.audit.witness import Witness
from tests.audit_cases import ManualClock, decision, open_log

# The tree of the Certificate Transparency reference implementation's tests: eight leaves and their eight roots.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def ct_node(level: int, index: int) -> bytes:
    hashes = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES]
    return merkle.perfect_root(hashes[index << level : (index + 1) << level])


def test_the_roots_of_the_certificate_transparency_tests() -> None:
    assert hashlib.sha256(b"").digest() == merkle.EMPTY_ROOT
    for size, expected in enumerate(CT_ROOTS, 1):
        assert merkle.root(ct_node, size).hex() == expected
        for index in range(size):
            path = merkle.inclusion_proof(ct_node, index, size)
            leaf = merkle.leaf_hash(bytes.fromhex(CT_LEAVES[index]))
            merkle.verify_inclusion(leaf, index, size, path, bytes.fromhex(expected))
    # PATH(5, D[8]) as those tests list it.
    assert [part.hex()[:16] for part in merkle.inclusion_proof(ct_node, 5, 8)] == [
        "bc1a0643b12e4d2d",
        "ca854ea128ed050b",
        "d37ee418976dd957",
    ]


def test_the_note_of_the_go_checksum_database() -> None:
    """Key and note from the documentation of golang.org/x/mod/sumdb/note, where the format comes from."""
    secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    line = f"— PeterNeumann {signature}\n"
    key = SigningKey.parse(secret)
    assert str(key.verifier()) == public
    assert format_note(text, [key.sign(text)]) == f"{text}\n{line}"
    assert verify_note(f"{text}\n{line}", [VerifierKey.parse(public)])[0] == text


def test_the_checkpoint_and_the_paths_of_the_c2sp_documents() -> None:
    log_signature = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="
    cosignature = (
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    example = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        f"— example.com/behind-the-sofa {log_signature}\n"
        f"— witness.example.com/w1 {cosignature}\n"
    )
    text, signatures = parse_note(example)
    head = parse_checkpoint(text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert [item.name for item in signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(signatures[1].value[:8], "big") == 1679315147  # the time in tlog-cosignature's example
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    # "a tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width 112, one
    # full level 1 tile, one partial level 1 tile of width 17, and one partial level 2 tile of width 1."
    assert [tile_width(0, n, 70_000) for n in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tile_width(1, n, 70_000) for n in (0, 1, 2)] == [256, 17, 0]
    assert [tile_width(2, n, 70_000) for n in (0, 1)] == [1, 0]
    assert bundle_path(273, 112) == "tile/entries/273.p/112"


def aics() -> Any:
    return pytest.importorskip("aics_tlog")


def test_another_implementation_reads_our_log(tmp_path: Path) -> None:
    tlog = aics()
    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n % 50}") for n in range(300)])
        first = log.publish()
        log.append_all([decision(n, f"sub-{n % 50}") for n in range(300, 1000)])
        log.erase("sub-7", actor="dpo", reason="test", override="test")
        second = log.publish()
        proofs = [log.prove(index) for index in (0, 255, 256, 999)]
        consistency = log.prove_consistency(first.size)
        vkey = log.vkey
    result = tlog.verify_checkpoint(tlog.parse_note(second.note), tlog.parse_vkey(vkey))
    assert result.ok, result
    reader = tlog.FileSystemTileReader(tmp_path / "audit" / "tiles")
    tlog.audit_tiles(reader, second.size, second.root)
    assert tlog.tree_root_from_tiles(reader, first.size, second.size) == first.root
    for proof in proofs:
        entry = bytes.fromhex(proof.commitment)
        assert tlog.read_entry(reader, proof.index, second.size) == entry
        path = [bytes.fromhex(part) for part in proof.proof]
        assert path == tlog.inclusion_proof_from_tiles(reader, proof.index, second.size)
        assert tlog.verify_inclusion(tlog.leaf_hash(entry), proof.index, second.size, path, second.root)
    path = [bytes.fromhex(part) for part in consistency.proof]
    assert tlog.verify_consistency(first.size, second.size, first.root, second.root, path)


def test_our_verifiers_read_another_implementations_log(tmp_path: Path) -> None:
    tlog = aics()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    entries = [f"entry {n}".encode() for n in range(777)]
    tlog.tiles.write_tiles(entries, tmp_path)
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    tree = tlog.MerkleTree(entries)
    root = tlog.tree_root_from_tiles(tlog.FileSystemTileReader(tmp_path), len(entries))
    note = tlog.sign_checkpoint(
        tlog.Checkpoint("third.example/log", len(entries), root), private, "third.example/log"
    )
    (tmp_path / "checkpoint").write_text(note.serialise())
    vkey = tlog.format_vkey(tlog.vkey_from_ed25519("third.example/log", private.public_key()))
    facts = verifier.verify_log(tmp_path, [vkey])
    assert (facts["size"], facts["root"]) == (777, root.hex())
    assert len(tree) == 777
    assert str(SigningKey("third.example/log", ED25519, bytes(32)).verifier()) == vkey


def test_another_implementation_accepts_our_cosignatures(tmp_path: Path) -> None:
    tlog = aics()
    log = SigningKey("bank.example/audit", ED25519, bytes(32))
    ours = SigningKey("w.example", COSIGNATURE_ED25519, bytes(31) + b"w")
    head = Checkpoint(log.name, 0, merkle.EMPTY_ROOT)
    note = format_note(head.text(), [log.sign(head.text())])
    with contextlib.closing(
        Witness.open(tmp_path / "w.sqlite", signers=[ours], logs=[log.verifier()], clock=ManualClock())
    ) as witness:
        note += "".join(line.line() for line in witness.add_checkpoint(0, [], note))
    result = tlog.verify_checkpoint(
        tlog.parse_note(note),
        tlog.parse_vkey(str(log.verifier())),
        [tlog.parse_vkey(str(ours.verifier()))],
        1,
    )
    assert result.ok, result


def test_another_implementations_witness_cosigns_our_log(tmp_path: Path) -> None:
    tlog = aics()
    other = pytest.importorskip("aics_witness")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    with open_log(tmp_path) as log:
        vkey = log.vkey
    private = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"w")
    store = other.WitnessStore(tmp_path / "witness.db", create=True)
    witness = other.Witness(
        "w.example", private, store, [other.LogConfig("bank.example/audit", (tlog.parse_vkey(vkey),))]
    )

    def post(_url: str, body: bytes, _timeout: float) -> Answer:
        try:
            return Answer(200, "text/plain", witness.add_checkpoint(body))
        except other.WitnessError as error:
            kind = "text/x.tlog.size" if error.status == 409 else "text/plain"
            return Answer(error.status, getattr(error, "content_type", kind) or kind, error.body)

    key = SigningKey("w.example", COSIGNATURE_ED25519, bytes(31) + b"w").verifier()
    storage = DirectoryStorage(tmp_path / "audit" / "tiles")
    collector = CosignatureCollector([WitnessAddress("http://w.example", (key,))], storage, quorum=1, post=post)
    with open_log(tmp_path, storage=storage, cosign=collector) as log:
        for start in range(0, 900, 300):
            log.append_all([decision(n, f"sub-{n % 50}") for n in range(start, start + 300)])
            checkpoint = log.publish()
            _, signers = verify_note(checkpoint.note, [key])
            assert signers[0][0] == key
    assert base64.b64encode(checkpoint.root).decode() in checkpoint.note
