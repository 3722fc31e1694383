"""Whose signatures count, for what, and when: the one file a verifying party is given.

`trust.json` holds public keys only. Whoever can change it decides what is believed, so it is refused when
others may write to it, and it belongs under the same review as code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import stat
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aboveboard.errors import NotVerified
from aboveboard.files import storage_errors
from aboveboard.release.documents import decode

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Role(StrEnum):
    """What an actor's signature counts for."""

    AUTHOR = "author"
    APPROVER = "approver"
    VALIDATOR = "validator"


class TrustedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key, whose it is, what it may sign, and from when until when."""

    actor: Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
    key_id: str
    """SHA-256 of the DER SubjectPublicKeyInfo, in hex."""
    public_key: str
    """The 32 bytes of an Ed25519 public key (RFC 8032), in base64."""
    roles: Annotated[list[Role], msgspec.Meta(min_length=1)]
    not_before: Moment
    not_after: Moment | None = None
    """No signature made at or after this moment counts. A leaked key is removed, not ended: see the documentation."""

    def covers(self, moment: datetime) -> bool:
        """Say whether a signature made at `moment` falls into the key's time."""
        return self.not_before <= moment and (self.not_after is None or moment < self.not_after)


class TrustDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of trust.json."""

    version: int
    keys: list[TrustedKey]


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that are trusted, each checked to be what its id says."""

    keys: tuple[TrustedKey, ...]

    @classmethod
    def load(cls, path: Path) -> Trust:
        """Read a trust file; one that does not exist trusts nobody. Raises `NotVerified` when it is not sound."""
        with storage_errors(path):
            try:
                content, mode = path.read_bytes(), path.stat().st_mode
            except FileNotFoundError:
                return cls(())
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NotVerified(f"{path} may be changed by others", hint=f"run: chmod go-w {path}")
        return cls.parse(content, name=path.name)

    @classmethod
    def parse(cls, content: bytes, *, name: str = "trust.json") -> Trust:
        """Return the trust that `content` declares. Raises `NotVerified` when it contradicts itself."""
        document = decode(content, TrustDocument, name)
        if document.version != 1:
            raise NotVerified(f"{name}: version {document.version} is not known here", hint="upgrade Aboveboard")
        owners: dict[str, str] = {}
        names: dict[str, str] = {}
        for key in document.keys:
            if key.key_id != key_id(public_key(key, name)):
                raise NotVerified(
                    f"{name}: a key of {key.actor} is not the key its id says",
                    key_id=key.key_id,
                    hint="restore the file as it was reviewed",
                )
            # One key under two names, or one name in two spellings, would let an author approve their own work.
            if owners.setdefault(key.public_key, key.actor) != key.actor:
                raise NotVerified(
                    f"{name}: {key.actor} and {owners[key.public_key]} have the same key",
                    hint="give each a key of their own",
                )
            if names.setdefault(folded(key.actor), key.actor) != key.actor:
                raise NotVerified(
                    f"{name}: {key.actor!r} and {names[folded(key.actor)]!r} are too alike to tell apart"
                )
        return cls(tuple(document.keys))

    def verify(self, message: bytes, signature: bytes, key_id_hint: str) -> TrustedKey | None:
        """Return the trusted key that made the signature, or None. The hint only narrows the choice (DSSE)."""
        candidates = [key for key in self.keys if key.key_id == key_id_hint] if key_id_hint else self.keys
        for key in candidates:
            try:
                public_key(key, "trust.json").verify(signature, message)
            except InvalidSignature:
                continue
            return key
        return None

    def to_bytes(self) -> bytes:
        """Return the content of a trust file, indented for review."""
        document = msgspec.json.encode(TrustDocument(version=1, keys=list(self.keys)))
        return msgspec.json.format(document, indent=2) + b"\n"


def public_key(key: TrustedKey, name: str) -> Ed25519PublicKey:
    """Return the key itself. Raises `NotVerified` when it is not one."""
    try:
        raw = base64.b64decode(key.public_key, validate=True)
        if base64.b64encode(raw).decode() != key.public_key:
            raise ValueError("not in its one base64 form")
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error) as error:
        raise NotVerified(
            f"{name}: the key of {key.actor} is not an Ed25519 public key", hint="restore the file as it was reviewed"
        ) from error


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id of a public key: SHA-256 of its DER SubjectPublicKeyInfo, in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def folded(actor: str) -> str:
    """Return an actor's name without case and compatibility forms: two names that fold alike are one person."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", actor).casefold()).strip()
