"""Laws of notes, checkpoints, receipts and journals: they survive a round trip, and no single changed bit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aboveboard.audit import note, verifier
from aboveboard.audit.segment import (
    GENESIS,
    SEGMENT_HEADER_BYTES,
    Sealed,
    SegmentHeader,
    batch_after,
    decode_batch,
    encode_batch,
)
from aboveboard.errors import NotVerified
from tests.audit_cases import decision, open_log

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=20)
good_names = names.filter(lambda name: "+" not in name and not any(c.isspace() for c in name))
kinds = st.sampled_from([note.ED25519, note.COSIGNATURE_ED25519, note.COSIGNATURE_MLDSA44])
seeds = st.binary(min_size=32, max_size=32)


@given(good_names, kinds, seeds)
@settings(max_examples=30)
def test_keys_survive_a_round_trip(name: str, kind: int, seed: bytes) -> None:
    key = note.SigningKey(name, kind, seed)
    assert note.SigningKey.parse(key.secret_text()) == key
    assert note.VerifierKey.parse(str(key.verifier())) == key.verifier()
    assert verifier.parse_key(str(key.verifier()))[1] == key.verifier().key_id
    assert seed.hex() not in repr(key)


@given(
    good_names, kinds, seeds, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.integers(0, 2**33)
)
@settings(max_examples=40)
def test_both_implementations_verify_what_is_signed(
    name: str, kind: int, seed: bytes, size: int, root: bytes, time: int
) -> None:
    key = note.SigningKey(name, kind, seed)
    head = note.Checkpoint(name, size, root)
    signed = note.format_note(head.text(), [key.sign(head.text(), time)])
    text, signers = note.verify_note(signed, [key.verifier()])
    assert note.parse_checkpoint(text) == head
    assert signers == [(key.verifier(), 0 if kind == note.ED25519 else time)]
    assert verifier.check_note(signed, [str(key.verifier())], 1)[:3] == (name, size, root)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
def test_arbitrary_text_raises_our_errors_only(text: str) -> None:
    for parse in (
        note.parse_note,
        note.parse_checkpoint,
        note.parse_signature_lines,
        note.VerifierKey.parse,
        note.SigningKey.parse,
    ):
        with pytest.raises(NotVerified):
            parse(text)
    with pytest.raises(verifier.VerificationFailed):
        verifier.check_note(text, [], 0)
    with pytest.raises(verifier.VerificationFailed):
        verifier.parse_key(text)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """A receipt, a consistency proof, and the keys they verify with."""
    with open_log(tmp_path_factory.mktemp("log")) as log:
        log.append_all([decision(n, f"sub-{n}") for n in range(37)])
        old = log.publish()
        log.append_all([decision(n, f"sub-{n}") for n in range(37, 61)])
        log.publish()
        receipt = json.loads(log.receipt("dec-000011", actor="a", purpose="test").to_json())
        consistency = json.loads(msgspec.json.encode(log.prove_consistency(old.size)))
        return receipt, consistency, log.vkeys


@given(st.data())
@settings(max_examples=150)
def test_no_bit_of_a_receipt_can_change(
    issued: tuple[dict[str, Any], dict[str, Any], list[str]], data: st.DataObject
) -> None:
    receipt, consistency, keys = issued
    for document in (receipt, consistency):
        text = bytearray(json.dumps(document, ensure_ascii=False).encode())
        bit = data.draw(st.integers(0, len(text) * 8 - 1))
        text[bit // 8] ^= 1 << bit % 8
        try:
            changed = verifier.parse_json(bytes(text))
        except verifier.VerificationFailed:
            continue
        if changed == document:
            continue  # the change was of no meaning: white space, or one spelling of a number for another
        try:
            verifier.verify(changed, keys)
        except verifier.VerificationFailed:
            continue
        # Only signatures of other keys, or unsigned order, could change unnoticed, and there are none here but
        # the name or id of one of the two signatures: then the other one still holds.
        kept = copy.deepcopy(document)
        for name in ("checkpoint", "old_checkpoint", "new_checkpoint"):
            if name in kept:
                kept[name] = changed[name]
        assert changed == kept
        with pytest.raises(verifier.VerificationFailed):
            for key in keys:
                verifier.verify(changed, [key])


def test_the_untouched_documents_verify(issued: tuple[dict[str, Any], dict[str, Any], list[str]]) -> None:
    receipt, consistency, keys = issued
    assert verifier.verify(receipt, keys)["index"] == 11
    assert verifier.verify(consistency, keys)["old_size"] == 37


sealed = st.builds(
    Sealed,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=12, max_size=12),
    st.binary(max_size=80),
)


@given(st.lists(sealed, min_size=1, max_size=5), st.integers(0, 2**40), st.integers(0, 2**40), st.data())
def test_a_batch_survives_a_round_trip_and_no_changed_bit(
    entries: list[Sealed], number: int, ordinal: int, data: st.DataObject
) -> None:
    content, chain = encode_batch(number, ordinal, GENESIS, entries)
    batch = decode_batch(content)
    assert batch is not None
    assert (batch.number, batch.first_ordinal, batch.chain, batch.size) == (number, ordinal, chain, len(content))
    assert list(batch.entries()) == entries
    assert batch.commitments() == [item.commitment for item in entries]
    changed = bytearray(content)
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    changed[bit // 8] ^= 1 << bit % 8
    assert decode_batch(bytes(changed)) is None
    cut = data.draw(st.integers(0, len(content) - 1))
    assert decode_batch(content[:cut]) is None
    assert batch_after(b"torn" + content, 0) == 4


@given(st.binary(max_size=250))
def test_arbitrary_bytes_are_no_batch_and_no_segment(content: bytes) -> None:
    assert decode_batch(content) is None
    assert batch_after(content, 0) is None
    with pytest.raises(NotVerified):
        SegmentHeader.decode(content)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**31), st.integers(0, 2**60), st.data())
def test_a_segment_header_survives_a_round_trip_and_no_changed_bit(
    journal: bytes, number: int, first: int, data: st.DataObject
) -> None:
    header = SegmentHeader(journal, number, first, first, GENESIS, first)
    content = bytearray(header.encode())
    assert SegmentHeader.decode(bytes(content)) == header
    bit = data.draw(st.integers(0, SEGMENT_HEADER_BYTES * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotVerified):
        SegmentHeader.decode(bytes(content))


def test_no_tile_can_change_unnoticed(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n}") for n in range(300)])
        log.publish()
        key, tiles = log.vkey, tmp_path / "audit" / "tiles"
        assert verifier.verify_log(tiles, [key])["size"] == 300
        for path in sorted(item for item in tiles.rglob("*") if item.is_file()):
            content = path.read_bytes()
            for position in {0, len(content) // 2, len(content) - 1}:
                path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
                assert not log.fsck().clean, path
                # The second signature is ML-DSA's; without its key the verifier has no use for it.
                with pytest.raises(verifier.VerificationFailed):
                    verifier.verify_log(tiles, log.vkeys)
            path.write_bytes(content)
        assert log.fsck().clean
