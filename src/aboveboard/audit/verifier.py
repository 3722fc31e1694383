#!/usr/bin/env python3
"""Checks receipts, proofs and whole logs of an Aboveboard audit log, with no other part of Aboveboard.

    python verifier.py receipt.json --key log.vkey
    python verifier.py consistency.json --key log.vkey
    python verifier.py /var/www/audit-log/ --key log.vkey       # every tile and entry bundle of a log's directory
    options: --witness NAME+ID+KEY (repeatable), --quorum N: at least N of these witnesses must have cosigned

This one file is all an auditor needs, beside Python 3.10 or later and one Ed25519 library: `cryptography` or PyNaCl.
It was written from the published formats, not from the writer's code: RFC 6962 and RFC 9162 (Merkle trees), RFC 8785
(canonical JSON), and the C2SP documents signed-note, tlog-checkpoint, tlog-cosignature and tlog-tiles.
Copy it, read it, keep it with your receipts. Exit status: 0 verified, 1 not verified, 64 wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

RECEIPT_VERSION = "aboveboard-receipt/1"


class VerificationFailed(Exception):
    """Something does not hold; the message says what."""


# -- canonical JSON, RFC 8785


def canonical(value: Any) -> str:
    """Return `value` as RFC 8785 text."""
    try:
        return _write(value)
    except RecursionError:
        raise VerificationFailed("the JSON is nested too deeply") from None


def _write(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise VerificationFailed("a string is not valid Unicode") from None
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value) if abs(value) < 2**53 else _number(float(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_write(key)}:{_write(value[key])}" for key in keys) + "}"
    raise VerificationFailed(f"no JSON value: {type(value).__name__}")


def _number(value: float) -> str:
    """Write a number as ECMAScript does: the shortest digits that read back the same."""
    if not math.isfinite(value):
        raise VerificationFailed("a number is not finite")
    if value == 0:
        return "0"
    sign, value = ("-", -value) if value < 0 else ("", value)
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = digits[:point] + "." + digits[point:]
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        power = f"e{point - 1:+d}"
        text = digits[0] + ("." + digits[1:] if count > 1 else "") + power
    return sign + text


def parse_json(text: str | bytes) -> Any:
    """Parse JSON strictly: no double keys, no NaN."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise VerificationFailed("a key stands twice in one object")
        return found

    def refuse(name: str) -> Any:
        raise VerificationFailed(f"{name} is not JSON")

    def integer(digits: str) -> int | float:
        # RFC 8785 knows doubles only, and writes the large ones without point or exponent.
        exact = len(digits) < 17 and abs(int(digits)) < 2**53
        return int(digits) if exact else float(digits)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=refuse, parse_int=integer)
    except (ValueError, RecursionError) as error:
        raise VerificationFailed(f"not JSON: {error}") from None


# -- Merkle trees, RFC 6962 section 2.1 and RFC 9162 section 2.1


def _leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def inclusion_root(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that an audit path leads to, by walking down from the root and folding back up."""
    if not 0 <= index < size:
        raise VerificationFailed(f"entry {index} is not in a tree of {size}")
    turns: list[bool] = []  # True: the sibling is on the left
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        turns.append(index >= middle)
        start, end = (middle, end) if index >= middle else (start, middle)
    if len(turns) != len(path):
        raise VerificationFailed(f"the inclusion proof has {len(path)} hashes, not {len(turns)}")
    value = leaf
    for left, sibling in zip(reversed(turns), path, strict=True):
        value = _node(sibling, value) if left else _node(value, sibling)
    return value


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> None:
    """Check that a tree extends another, by rebuilding both roots from the proof (RFC 6962, 2.1.2)."""
    if not 0 <= old <= new:
        raise VerificationFailed("the old tree is larger than the new one")
    if old == new or old == 0:
        if path:
            raise VerificationFailed("the consistency proof should be empty")
        if old == new and old_root != new_root:
            raise VerificationFailed("SPLIT VIEW: two signed trees of one size have different roots")
        if old == 0 and old_root != hashlib.sha256(b"").digest():
            raise VerificationFailed("the empty tree has another root")
        return
    rest = list(path)

    def take() -> bytes:
        if not rest:
            raise VerificationFailed("the consistency proof is too short")
        return rest.pop()

    def rebuild(part: int, size: int, whole: bool) -> tuple[bytes, bytes]:
        if part == size:
            value = old_root if whole else take()
            return value, value
        half = 1 << (size - 1).bit_length() - 1
        if part <= half:
            right = take()
            before, after = rebuild(part, half, whole)
            return before, _node(after, right)
        left = take()
        before, after = rebuild(part - half, size - half, False)
        return _node(left, before), _node(left, after)

    before, after = rebuild(old, new, True)
    if rest:
        raise VerificationFailed("the consistency proof is too long")
    if before != old_root or after != new_root:
        raise VerificationFailed("the new tree does not contain the old one: history was changed")


# -- signed notes and checkpoints


def _unbase64(text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        raise VerificationFailed("not base64") from None
    if base64.b64encode(value).decode() != text:
        raise VerificationFailed("not canonical base64")
    return value


def _unhex(value: Any, size: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or value.strip("0123456789abcdef"):
        raise VerificationFailed(f"not {size} bytes in lower-case hex")
    return bytes.fromhex(value)


def parse_key(vkey: str) -> tuple[str, bytes, int, bytes]:
    """Return name, id, type and public key of a vkey."""
    parts = vkey.strip().split("+", 2)
    if len(parts) != 3:
        raise VerificationFailed("a key is written name+id+base64")
    material = _unbase64(parts[2])
    key_id = hashlib.sha256(parts[0].encode() + b"\n" + material).digest()[:4]
    if parts[1] != key_id.hex():
        raise VerificationFailed("the id of a key is not that of its bytes")
    if len(material) != {1: 33, 4: 33, 6: 1313}.get(material[0]):
        raise VerificationFailed("a key of an unknown type or the wrong length")
    return parts[0], key_id, material[0], material[1:]


def _ed25519(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        from nacl.exceptions import BadSignatureError
        from nacl.signing import VerifyKey

        try:
            VerifyKey(public).verify(message, signature)
        except (BadSignatureError, ValueError):
            return False
        return True
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _mldsa44(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
    except ImportError:
        raise VerificationFailed("an ML-DSA-44 key needs a newer `cryptography`; use the Ed25519 key") from None
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def check_note(note: Any, vkeys: list[str], quorum: int) -> tuple[str, int, bytes, list[str]]:
    """Return origin, size, root and signers of a checkpoint that at least `quorum` of `vkeys` have signed."""
    if not isinstance(note, str) or len(note) > 1 << 20 or any(ord(c) < 32 and c != "\n" for c in note):
        raise VerificationFailed("not a signed note")
    split = note.rfind("\n\n")
    if split < 0 or not note.endswith("\n"):
        raise VerificationFailed("not a signed note")
    text, lines = note[: split + 1], note[split + 2 : -1].split("\n")
    body = text.split("\n")[:-1]
    if len(body) < 3 or not all(body):
        raise VerificationFailed("not a checkpoint")
    origin, number, root = body[0], body[1], _unbase64(body[2])
    if (
        len(number) > 19
        or not number.isascii()
        or not number.isdigit()
        or str(int(number)) != number
        or len(root) != 32
    ):
        raise VerificationFailed("not a checkpoint")
    size = int(number)
    keys = {(name, key_id): (kind, public) for name, key_id, kind, public in map(parse_key, vkeys)}
    signers: set[tuple[str, bytes]] = set()
    for line in lines:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise VerificationFailed("a signature line is malformed")
        value = _unbase64(parts[2])
        identity = (parts[1], value[:4])
        if identity not in keys:
            continue
        kind, public = keys[identity]
        signature = value[4:]
        if kind == 1:
            good = len(signature) == 64 and _ed25519(public, signature, text.encode())
        else:
            stamp, signature = signature[:8], signature[8:]
            time = int.from_bytes(stamp, "big")
            if kind == 4:
                message = f"cosignature/v1\ntime {time}\n{text}".encode()
                good = len(signature) == 64 and _ed25519(public, signature, message)
            else:
                name, log = parts[1].encode(), origin.encode()
                message = b"subtree/v1\n\0" + bytes([len(name)]) + name + stamp + bytes([len(log)]) + log
                message += (0).to_bytes(8, "big") + size.to_bytes(8, "big") + root
                good = len(signature) == 2420 and _mldsa44(public, signature, message)
        if not good:
            raise VerificationFailed(f"the signature of {parts[1]} does not hold")
        signers.add(identity)
    if len({name for name, _ in signers}) < quorum:
        raise VerificationFailed(f"signed by {len(signers)} of the keys you trust, not by {quorum}")
    return origin, size, root, sorted({name for name, _ in signers})


def _check_signed(
    note: Any, origin: Any, vkeys: list[str], witnesses: list[str], quorum: int
) -> tuple[int, bytes, list[str]]:
    """Check a log's signature and its witnesses' on a checkpoint; return size, root and witnesses."""
    for vkey in vkeys:
        if parse_key(vkey)[0] != origin:
            raise VerificationFailed(f"this is of the log {origin!r}, and the key is of {parse_key(vkey)[0]!r}")
    named, size, root, _ = check_note(note, vkeys, 1)
    if named != origin:
        raise VerificationFailed("the checkpoint is of another log")
    cosigned: list[str] = []
    if witnesses or quorum:
        _, _, _, cosigned = check_note(note, witnesses, quorum)
    return size, root, cosigned


# -- the documents


def _fields(document: Any, names: set[str]) -> None:
    if not isinstance(document, dict) or set(document) != names:
        raise VerificationFailed(f"the document has not exactly the fields {', '.join(sorted(names))}")


def _path(value: Any) -> list[bytes]:
    if not isinstance(value, list):
        raise VerificationFailed("the proof is not a list")
    return [_unhex(part, 32) for part in value]


def _index(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise VerificationFailed("the index is not a number")
    return value


def verify_receipt(
    receipt: Any, vkeys: list[str], witnesses: list[str] | None = None, quorum: int = 0
) -> dict[str, Any]:
    """Check a receipt: this record, salted, is this entry of the log whose key signed this tree head."""
    _fields(receipt, {"version", "origin", "index", "record", "salt", "proof", "checkpoint"})
    if receipt["version"] != RECEIPT_VERSION:
        raise VerificationFailed(f"a receipt of version {receipt['version']!r} is not known here")
    size, root, cosigned = _check_signed(receipt["checkpoint"], receipt["origin"], vkeys, witnesses or [], quorum)
    if not isinstance(receipt["record"], dict):
        raise VerificationFailed("the record is not an object")
    committed = hashlib.sha256(_unhex(receipt["salt"], 32) + canonical(receipt["record"]).encode()).digest()
    index = _index(receipt["index"])
    if inclusion_root(_leaf(committed), index, size, _path(receipt["proof"])) != root:
        raise VerificationFailed("the record is not what the log holds at this place")
    said = {name: receipt["record"].get(name) for name in ("type", "time")}
    return {"origin": receipt["origin"], "index": index, "size": size, **said, "witnesses": cosigned}


def verify_inclusion(
    proof: Any, vkeys: list[str], witnesses: list[str] | None = None, quorum: int = 0
) -> dict[str, Any]:
    """Check that a commitment is this entry of the log."""
    _fields(proof, {"origin", "index", "commitment", "proof", "checkpoint"})
    size, root, cosigned = _check_signed(proof["checkpoint"], proof["origin"], vkeys, witnesses or [], quorum)
    index = _index(proof["index"])
    if inclusion_root(_leaf(_unhex(proof["commitment"], 32)), index, size, _path(proof["proof"])) != root:
        raise VerificationFailed("the commitment is not what the log holds at this place")
    return {"origin": proof["origin"], "index": index, "size": size, "witnesses": cosigned}


def verify_consistency(
    proof: Any, vkeys: list[str], witnesses: list[str] | None = None, quorum: int = 0
) -> dict[str, Any]:
    """Check that the newer of two signed tree heads contains the older one unchanged."""
    _fields(proof, {"origin", "proof", "old_checkpoint", "new_checkpoint"})
    old, old_root, _ = _check_signed(proof["old_checkpoint"], proof["origin"], vkeys, [], 0)
    new, new_root, cosigned = _check_signed(proof["new_checkpoint"], proof["origin"], vkeys, witnesses or [], quorum)
    check_consistency(old, new, old_root, new_root, _path(proof["proof"]))
    return {"origin": proof["origin"], "old_size": old, "size": new, "witnesses": cosigned}


def verify_log(
    directory: Path, vkeys: list[str], witnesses: list[str] | None = None, quorum: int = 0
) -> dict[str, Any]:
    """Recompute a log's whole tree from its entry bundles, and compare every tile and the signed root."""
    try:
        note = (directory / "checkpoint").read_bytes().decode()
        origin = note.split("\n", 1)[0]
        size, root, cosigned = _check_signed(note, origin, vkeys, witnesses or [], quorum)
        row: list[bytes] = []
        for number in range((size + 255) // 256):
            width = min(256, size - number * 256)
            content, position = _resource(directory / "tile" / "entries", number, width).read_bytes(), 0
            for _ in range(width):
                length = int.from_bytes(content[position : position + 2], "big")
                entry = content[position + 2 : position + 2 + length]
                position += 2 + length
                row.append(_leaf(entry))
            if position != len(content):
                raise VerificationFailed(f"entry bundle {number} does not hold {width} entries")
        level, right, tiles = 0, None, 0
        while row or right:
            full = len(row) // 256
            for number in range((len(row) + 255) // 256):
                hashes = row[number * 256 : number * 256 + 256]
                if _resource(directory / "tile" / str(level), number, len(hashes)).read_bytes() != b"".join(hashes):
                    raise VerificationFailed(f"tile {number} of level {level} is not what the entries say")
                tiles += 1
            rest = row[full * 256 :] + ([right] if right else [])
            right = _fold(rest) if rest else None
            row = [_fold(row[number * 256 : number * 256 + 256]) for number in range(full)]
            level += 1
            if not row:
                break
        if (right or hashlib.sha256(b"").digest()) != root:
            raise VerificationFailed("the entries do not lead to the signed root")
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationFailed(f"the log's directory is not complete: {error}") from None
    return {"origin": origin, "size": size, "tiles": tiles, "root": root.hex(), "witnesses": cosigned}


def _fold(parts: list[bytes]) -> bytes:
    if len(parts) == 1:
        return parts[0]
    half = 1 << (len(parts) - 1).bit_length() - 1
    return _node(_fold(parts[:half]), _fold(parts[half:]))


def _resource(base: Path, number: int, width: int) -> Path:
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03d}")
    path = base.joinpath(*groups)
    return path if width == 256 else path.with_name(f"{path.name}.p") / str(width)


def verify(document: Any, vkeys: list[str], witnesses: list[str] | None = None, quorum: int = 0) -> dict[str, Any]:
    """Check whatever kind of document this is."""
    if isinstance(document, dict) and "salt" in document:
        return verify_receipt(document, vkeys, witnesses, quorum)
    if isinstance(document, dict) and "new_checkpoint" in document:
        return verify_consistency(document, vkeys, witnesses, quorum)
    return verify_inclusion(document, vkeys, witnesses, quorum)


def _key_text(given: str) -> str:
    """Return the key itself, which may be given by the name of a file."""
    try:
        return Path(given).read_text()
    except OSError:
        if given.count("+") < 2:
            raise
        return given


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="verifier.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("document", help="a receipt, a proof, or a log's directory")
    parser.add_argument("--key", action="append", required=True, help="the log's vkey, or a file with it")
    parser.add_argument("--witness", action="append", default=[], help="a witness's vkey, or a file with it")
    parser.add_argument("--quorum", type=int, default=0, help="how many witnesses must have cosigned")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return 64 if stop.code else 0
    try:
        keys, witnesses = ([_key_text(key) for key in given] for given in (options.key, options.witness))
        path = Path(options.document)
        if path.is_dir():
            facts = verify_log(path, keys, witnesses, options.quorum)
        else:
            facts = verify(parse_json(path.read_bytes()), keys, witnesses, options.quorum)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 64
    except VerificationFailed as failure:
        sys.stderr.write(f"NOT VERIFIED: {failure}\n")
        return 1
    sys.stdout.write("verified: " + ", ".join(f"{name} {value}" for name, value in facts.items() if value) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
