"""Laws of the tree: every proof there should be holds, in every implementation, and no other does."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aboveboard.audit import merkle, tiles, verifier
from aboveboard.audit.edge import Edge
from aboveboard.errors import NotFound, NotVerified

LEAVES = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(700)]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
sizes = st.integers(0, len(LEAVES))


def naive_root(hashes: list[bytes]) -> bytes:
    """MTH as RFC 6962 writes it down."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


def node(level: int, index: int) -> bytes:
    return naive_root(HASHES[index << level : (index + 1) << level])


def published(size: int) -> dict[str, bytes]:
    edge = Edge()
    return {**edge.extend(LEAVES[:size]), **edge.partial()}


ROOTS = {size: naive_root(HASHES[:size]) for size in range(len(LEAVES) + 1)}


@given(sizes, st.data())
def test_every_leaf_of_every_size_has_a_valid_inclusion_proof(size: int, data: st.DataObject) -> None:
    if size == 0:
        return
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(node, index, size)
    merkle.verify_inclusion(HASHES[index], index, size, path, ROOTS[size])
    assert verifier.inclusion_root(HASHES[index], index, size, path) == ROOTS[size]


@given(sizes, sizes)
def test_any_two_sizes_have_a_valid_consistency_proof(one: int, other: int) -> None:
    old, new = sorted((one, other))
    path = merkle.consistency_proof(node, old, new)
    assert len(path) <= 63
    merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], path)
    verifier.check_consistency(old, new, ROOTS[old], ROOTS[new], path)


@given(st.integers(1, len(LEAVES)), st.data())
def test_no_bit_of_an_inclusion_proof_can_change(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(node, index, size)
    material = bytearray(HASHES[index] + b"".join(path))
    bit = data.draw(st.integers(0, len(material) * 8 - 1))
    material[bit // 8] ^= 1 << bit % 8
    leaf, changed = bytes(material[:32]), [bytes(material[i : i + 32]) for i in range(32, len(material), 32)]
    with pytest.raises(NotVerified):
        merkle.verify_inclusion(leaf, index, size, changed, ROOTS[size])
    assert verifier.inclusion_root(leaf, index, size, changed) != ROOTS[size]


@given(st.integers(1, len(LEAVES)), st.integers(1, len(LEAVES)), st.data())
def test_no_bit_of_a_consistency_proof_can_change(one: int, other: int, data: st.DataObject) -> None:
    old, new = sorted((one, other))
    path = merkle.consistency_proof(node, old, new)
    material = bytearray(ROOTS[old] + ROOTS[new] + b"".join(path))
    bit = data.draw(st.integers(0, len(material) * 8 - 1))
    material[bit // 8] ^= 1 << bit % 8
    parts = [bytes(material[i : i + 32]) for i in range(0, len(material), 32)]
    with pytest.raises(NotVerified):
        merkle.verify_consistency(old, new, parts[0], parts[1], parts[2:])
    with pytest.raises(verifier.VerificationFailed):
        verifier.check_consistency(old, new, parts[0], parts[1], parts[2:])


@given(st.integers(1, len(LEAVES)), st.data())
def test_a_longer_or_shorter_proof_does_not_hold(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(node, index, size)
    for changed in [[*path, bytes(32)], path[:-1]]:
        if changed == path:
            continue
        with pytest.raises(NotVerified):
            merkle.verify_inclusion(HASHES[index], index, size, changed, ROOTS[size])
        with pytest.raises(verifier.VerificationFailed):
            verifier.inclusion_root(HASHES[index], index, size, changed)


@given(st.integers(0, len(LEAVES)), st.lists(st.integers(0, 300), max_size=8))
def test_a_tree_is_the_same_however_it_grew(size: int, steps: list[int]) -> None:
    grown, files = Edge(), {}
    for step in [*steps, size]:
        stop = min(size, grown.size + step)
        files.update(grown.extend(LEAVES[grown.size : stop]))
        grown = Edge.decode(grown.size, grown.encode())
    assert grown.size == size
    assert grown.root() == ROOTS[size]
    assert {**files, **grown.partial()} == published(size)


@given(st.integers(1, len(LEAVES)), st.data())
def test_tiles_hold_all_that_proofs_need(size: int, data: st.DataObject) -> None:
    files = published(size)

    def fetch(path: str) -> bytes:
        if path not in files:
            raise NotFound(path)
        return files[path]

    reader = tiles.TileReader(fetch, size)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    assert merkle.inclusion_proof(reader, index, size) == merkle.inclusion_proof(node, index, size)
    assert merkle.consistency_proof(reader, old, size) == merkle.consistency_proof(node, old, size)
    assert merkle.root(reader, size) == ROOTS[size]
    for number in range((size + 255) // 256):
        width = tiles.tile_width(0, number, size)
        entries = tiles.parse_bundle(files[tiles.bundle_path(number, width)], width)
        assert entries == LEAVES[number * 256 : number * 256 + width]
    assert len({path.split("/")[1] for path in files}) == tiles.levels(size) + 1


@given(st.binary(max_size=400), st.integers(0, 300))
def test_tiles_and_bundles_of_arbitrary_bytes_raise_our_errors_only(content: bytes, width: int) -> None:
    for parse in (tiles.parse_tile, tiles.parse_bundle):
        try:
            parts = parse(content, width)
        except NotVerified:
            continue
        assert len(parts) == width
    with suppress(NotVerified):
        assert Edge.decode(width, content).size == width
