"""Signed notes and their keys, as the C2SP documents signed-note, tlog-checkpoint and tlog-cosignature define them.

A note is a text, an empty line, and signature lines `— name base64(key id ‖ signature)`. A key is known by its
name and a four-byte id; unknown signatures are ignored, a bad signature by a known key spoils the note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from aboveboard.errors import Misuse, NotVerified

ED25519 = 0x01
COSIGNATURE_ED25519 = 0x04
COSIGNATURE_MLDSA44 = 0x06
_PUBLIC_KEY_BYTES = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_MLDSA44: 1312}
_SIGNATURE_BYTES = {ED25519: 64, COSIGNATURE_ED25519: 8 + 64, COSIGNATURE_MLDSA44: 8 + 2420}
_MAX_NOTE_BYTES = 1 << 20
_MAX_SIGNATURES = 64
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, not yet verified."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """Return the line as it stands in a note, newline included."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a tree: how many leaves it has and what their root is, as stated in a note."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the text that is signed: origin, size, root, one line each."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key: `name+id+base64(type ‖ key)`, the vkey of the signed-note document."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a vkey. Raises `NotVerified` when it is not one, or when its id is not its key's."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
            raise NotVerified("not a verifier key: it is written name+id+base64", hint="copy the whole line")
        material = decode_base64(parts[2], "the verifier key")
        if not material or _PUBLIC_KEY_BYTES.get(material[0]) != len(material) - 1:
            raise NotVerified("a verifier key of an unknown type or the wrong length")
        key = cls(parts[0], material[0], material[1:])
        if parts[1] != key.key_id.hex():
            raise NotVerified("the id of the verifier key is not that of its key: a copying mistake, or worse")
        return key

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in a signature line."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def verify(self, text: str, signature: bytes) -> int:
        """Check a signature over a note's text and return its time in seconds (0 where the type has none).

        Raises `NotVerified`.
        """
        if len(signature) != _SIGNATURE_BYTES[self.kind]:
            raise NotVerified(f"the signature of {self.name} has the wrong length")
        time = 0
        try:
            if self.kind == ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
                return 0
            time = int.from_bytes(signature[:8], "big")
            if self.kind == COSIGNATURE_ED25519:
                message = f"cosignature/v1\ntime {time}\n{text}".encode()
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature[8:], message)
            else:
                message = mldsa_message(self.name, time, parse_checkpoint(text))
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature[8:], message)
        except (InvalidSignature, ValueError) as error:
            raise NotVerified(f"the signature of {self.name} does not hold", key=self.name) from error
        if time >= 1 << 63:
            raise NotVerified(f"the time of {self.name}'s signature is out of range")
        return time


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private half, from a 32-byte seed: `PRIVATE+KEY+name+id+base64(type ‖ seed)`. Its repr hides the seed."""

    name: str
    kind: int
    seed: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, kind={self.kind})"

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read a private key file. Raises `NotVerified` when it is not one."""
        prefix, rest = text.strip()[:12], text.strip()[12:]
        parts = rest.split("+", 2)
        if prefix != "PRIVATE+KEY+" or len(parts) != 3 or not _NAME.fullmatch(parts[0]):
            raise NotVerified("not a signing key: it is written PRIVATE+KEY+name+id+base64")
        material = decode_base64(parts[2], "the signing key")
        if len(material) != 33 or material[0] not in _PUBLIC_KEY_BYTES:
            raise NotVerified("a signing key of an unknown type or the wrong length")
        key = cls(parts[0], material[0], material[1:])
        if parts[1] != key.verifier().key_id.hex():
            raise NotVerified("the id of the signing key is not that of its key")
        return key

    def secret_text(self) -> str:
        """Return the key as it is stored in its file."""
        material = base64.b64encode(bytes([self.kind]) + self.seed).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier().key_id.hex()}+{material}\n"

    def verifier(self) -> VerifierKey:
        """Return the public half."""
        if self.kind == COSIGNATURE_MLDSA44:
            public = MLDSA44PrivateKey.from_seed_bytes(self.seed).public_key().public_bytes_raw()
        else:
            public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, self.kind, public)

    def sign(self, text: str, time: int = 0) -> Signature:
        """Sign a note's text; a cosignature states `time`, in seconds since the epoch."""
        if self.kind == ED25519:
            value = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        elif self.kind == COSIGNATURE_ED25519:
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
            value = struct.pack(">Q", time) + Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)
        else:
            message = mldsa_message(self.name, time, parse_checkpoint(text))
            value = struct.pack(">Q", time) + MLDSA44PrivateKey.from_seed_bytes(self.seed).sign(message)
        return Signature(self.name, self.verifier().key_id, value)


def mldsa_message(cosigner: str, time: int, checkpoint: Checkpoint) -> bytes:
    """Return the `cosigned_message` structure that an ML-DSA-44 cosignature signs."""
    name, origin = cosigner.encode(), checkpoint.origin.encode()
    if not 1 <= len(name) <= 255 or not 1 <= len(origin) <= 255:
        raise Misuse("a cosigner's name and a log's origin are 1 to 255 bytes long")
    return b"".join(
        (
            b"subtree/v1\n\0",
            bytes([len(name)]),
            name,
            struct.pack(">Q", time),
            bytes([len(origin)]),
            origin,
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


def check_name(name: str) -> None:
    """Refuse what cannot name a key or a log: empty, with white space, a plus sign or a control character."""
    if not _NAME.fullmatch(name) or any(ord(character) < 32 for character in name) or len(name.encode()) > 255:
        raise Misuse(f"{name!r} cannot name a log", hint="use a URL without its scheme, e.g. bank.example/audit/eu")


def format_note(text: str, signatures: Sequence[Signature]) -> str:
    """Return the signed note of `text`."""
    return text + "\n" + "".join(signature.line() for signature in signatures)


def parse_note(note: str) -> tuple[str, list[Signature]]:
    """Return the text of a note and its unverified signatures. Raises `NotVerified`."""
    if len(note) > _MAX_NOTE_BYTES:
        raise NotVerified("the note is too long")
    if any(ord(character) < 32 and character != "\n" for character in note):
        raise NotVerified("the note has control characters in it")
    position = note.rfind("\n\n")
    if position < 0 or not note.endswith("\n"):
        raise NotVerified("the note has no signatures")
    text, block = note[: position + 1], note[position + 2 :]
    signatures = [_parse_signature(line) for line in block.split("\n")[:-1]]
    if not 1 <= len(signatures) <= _MAX_SIGNATURES:
        raise NotVerified(f"a note has 1 to {_MAX_SIGNATURES} signatures")
    return text, signatures


def parse_signature_lines(block: str) -> list[Signature]:
    """Return the unverified signatures of lines that stand alone, as a witness answers. Raises `NotVerified`."""
    if not block.endswith("\n") or len(block) > _MAX_NOTE_BYTES:
        raise NotVerified("not signature lines")
    return [_parse_signature(line) for line in block.split("\n")[:-1]]


def _parse_signature(line: str) -> Signature:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2 or not _NAME.fullmatch(parts[0]):
        raise NotVerified("a signature line of the note is malformed")
    material = decode_base64(parts[1], "a signature")
    if len(material) < 5:
        raise NotVerified("a signature of the note is too short")
    return Signature(parts[0], material[:4], material[4:])


def verify_note(note: str, keys: Sequence[VerifierKey]) -> tuple[str, list[tuple[VerifierKey, int]]]:
    """Return the text of a note and who signed it when, among `keys`.

    Raises `NotVerified` when no key of `keys` signed, or when the signature of one of them does not hold.
    """
    text, signatures = parse_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signed: dict[tuple[str, bytes], tuple[VerifierKey, int]] = {}
    for signature in signatures:
        if key := known.get((signature.name, signature.key_id)):
            signed[key.name, key.key_id] = (key, key.verify(text, signature.value))
    if not signed:
        names = ", ".join(sorted({key.name for key in keys})) or "nobody"
        raise NotVerified(f"the note is not signed by a key you trust ({names})", hint="check which key you pinned")
    return text, list(signed.values())


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a note's text as a checkpoint. Raises `NotVerified`."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NotVerified("not a checkpoint: it has at least three lines, none of them empty")
    origin, size, root, *extensions = lines[:-1]
    if not _SIZE.fullmatch(size) or int(size) >= 1 << 63:
        raise NotVerified("the size of the checkpoint is not a number below 2^63")
    digest = decode_base64(root, "the root of the checkpoint")
    if len(digest) != 32:
        raise NotVerified("the root of the checkpoint is not 32 bytes long")
    return Checkpoint(origin, int(size), digest, tuple(extensions))


def decode_base64(text: str, what: str) -> bytes:
    """Decode standard base64, refusing every second spelling of the same bytes. Raises `NotVerified`."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotVerified(f"{what} is not base64") from error
    if base64.b64encode(decoded).decode() != text:
        raise NotVerified(f"{what} is not canonical base64")
    return decoded
