"""The Merkle tree of RFC 6962, section 2.1: hashes, proofs, and their verification. Pure.

A tree over n leaves is named by its root, `MTH(D[0:n])`. Everything here works on a function that returns the
hash of a complete, aligned subtree, so that the same code proves from tiles, from memory and from a test's list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from aboveboard.errors import Misuse, NotVerified

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""`node(level, index)`: the hash of leaves `[index * 2^level, (index + 1) * 2^level)`, all of which exist."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: `SHA-256(0x00 ‖ entry)`."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power-of-two number of subtree hashes."""
    row = list(hashes)
    sha256 = hashlib.sha256
    while len(row) > 1:
        row = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


def split(size: int) -> int:
    """Return the largest power of two smaller than `size` (`size` at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def subtree_root(node: Node, start: int, end: int) -> bytes:
    """Return `MTH(D[start:end])` where `start` is a multiple of the subtree's width rounded up to a power of two."""
    size = end - start
    if size == 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, start >> level)
    middle = start + split(size)
    return node_hash(subtree_root(node, start, middle), subtree_root(node, middle, end))


def root(node: Node, size: int) -> bytes:
    """Return the root of the tree over the first `size` leaves."""
    return subtree_root(node, 0, size)


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """Return `PATH(index, D[size])`, from the leaf's sibling up (RFC 6962, 2.1.1).

    Raises `Misuse` when no such leaf is in the tree.
    """
    if not 0 <= index < size:
        raise Misuse(f"leaf {index} is not in a tree of {size}", index=index, size=size)
    start, end = 0, size
    path: list[bytes] = []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(subtree_root(node, middle, end))
            end = middle
        else:
            path.append(subtree_root(node, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(node: Node, old: int, new: int) -> list[bytes]:
    """Return `PROOF(old, D[new])` (RFC 6962, 2.1.2); empty for an empty old tree and for equal sizes.

    Raises `Misuse` when `old` is larger than `new` or negative.
    """
    if not 0 <= old <= new:
        raise Misuse(f"a tree of {new} does not extend one of {old}", old=old, new=new)
    if old in (0, new):
        return []
    start, end, whole = 0, new, True
    path: list[bytes] = []
    while old != end:
        middle = start + split(end - start)
        if old <= middle:
            path.append(subtree_root(node, middle, end))
            end = middle
        else:
            path.append(subtree_root(node, start, middle))
            start = middle
            whole = False
    if not whole:
        path.append(subtree_root(node, start, end))
    return path[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that `proof` leads to from a leaf hash (RFC 9162, 2.1.3.2). Raises `NotVerified`."""
    if not 0 <= index < size:
        raise NotVerified(f"leaf {index} is not in a tree of {size}")
    position, last = index, size - 1
    value = leaf
    for sibling in proof:
        if len(sibling) != HASH_BYTES:
            raise NotVerified("a hash of the proof is not 32 bytes long")
        if last == 0:
            raise NotVerified("the inclusion proof is too long")
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            value = node_hash(value, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise NotVerified("the inclusion proof is too short")
    return value


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes) -> None:
    """Check that the leaf hash `leaf` is number `index` of the tree with that size and root. Raises `NotVerified`."""
    if root_from_inclusion(leaf, index, size, proof) != expected_root:
        raise NotVerified("the inclusion proof does not lead to the root", index=index, size=size)


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves extends the tree of `old` (RFC 9162, 2.1.4.2). Raises `NotVerified`."""
    if not 0 <= old <= new:
        raise NotVerified(f"a tree of {new} does not extend one of {old}")
    if any(len(part) != HASH_BYTES for part in proof):
        raise NotVerified("a hash of the proof is not 32 bytes long")
    if old in (0, new):
        if proof:
            raise NotVerified("the consistency proof should be empty")
        if old == new and old_root != new_root:
            raise NotVerified("two trees of one size have different roots", size=new)
        if old == 0 and old_root != EMPTY_ROOT:
            raise NotVerified("the empty tree has another root")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise NotVerified("the consistency proof is too short")
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    from_old = from_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise NotVerified("the consistency proof is too long")
        if position & 1 or position == last:
            from_old = node_hash(sibling, from_old)
            from_new = node_hash(sibling, from_new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            from_new = node_hash(from_new, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise NotVerified("the consistency proof is too short")
    if from_old != old_root or from_new != new_root:
        raise NotVerified("the consistency proof does not lead to both roots", old=old, new=new)
