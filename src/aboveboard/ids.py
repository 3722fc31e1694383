"""Names for things: time-ordered ids, and keyed tokens that stand in for a person's identifier."""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import datetime
from functools import lru_cache

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_CHARACTERS = bytes(ord(_CROCKFORD[byte & 31]) for byte in range(256))
"""A random byte to a character: five of its bits are used."""


def new_id(prefix: str, moment: datetime) -> str:
    """Return `prefix` and a 26-character ULID: 48 bits of milliseconds, 80 random bits, sortable by time."""
    milliseconds = int(moment.timestamp() * 1000)
    return f"{prefix}-{_time_part(milliseconds)}{os.urandom(16).translate(_CHARACTERS).decode('ascii')}"


@lru_cache(maxsize=2)
def _time_part(milliseconds: int) -> str:
    return "".join([_CROCKFORD[(milliseconds >> shift) & 31] for shift in range(45, -5, -5)])


def subject_token(key: bytes, identifier: str) -> str:
    """Return the pseudonym of a person: `sub-` and 32 hex digits of HMAC-SHA-256 under `key`.

    The same person gets the same token wherever the key is the same, and nobody without the key can
    test a guess (GDPR art. 4(5), pseudonymisation).
    """
    return "sub-" + hmac.digest(key, identifier.encode(), "sha256").hex()[:32]


def sha256_digest(content: bytes) -> str:
    """Return the OCI form of a SHA-256 digest, `sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
