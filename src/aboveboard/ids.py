"""Names for things: time-ordered ids, and keyed tokens that stand in for a person's identifier."""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import datetime

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)


def new_id(prefix: str, moment: datetime) -> str:
    """Return `prefix` and a 26-character ULID: 48 bits of milliseconds, 80 random bits, sortable by time."""
    number = (int(moment.timestamp() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    return f"{prefix}-" + "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -10, -10)])


def subject_token(key: bytes, identifier: str) -> str:
    """Return the pseudonym of a person: `sub-` and 32 hex digits of HMAC-SHA-256 under `key`.

    The same person gets the same token wherever the key is the same, and nobody without the key can
    test a guess (GDPR art. 4(5), pseudonymisation).
    """
    return "sub-" + hmac.digest(key, identifier.encode(), "sha256").hex()[:32]


def sha256_digest(content: bytes) -> str:
    """Return the OCI form of a SHA-256 digest, `sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
