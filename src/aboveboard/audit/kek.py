"""Key-encryption keys: what wraps the vault's keys, kept by a provider outside the vault.

Here are the port and the two providers that need no service: a file of mode 0600 and an environment variable (a
Kubernetes Secret). Vault Transit and AWS KMS are in `kek_transit` and `kek_aws`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aboveboard.audit.keyfiles import read_secret
from aboveboard.errors import Misuse, NotVerified

KEY_BYTES = 32
_CONTEXT = b"aboveboard audit vault key v1"


class KeyEncryptionKey(Protocol):
    """Wraps and unwraps a few small keys; each call may go over a network."""

    @property
    def provider(self) -> str:
        """Which kind of provider, e.g. `file`."""

    @property
    def reference(self) -> str:
        """Which key of that provider, in a form that is no secret."""

    def wrap(self, key: bytes) -> bytes:
        """Encrypt `key`. Raises `StorageFailed` when the provider cannot be reached."""

    def unwrap(self, wrapped: bytes) -> bytes:
        """Decrypt what `wrap` returned. Raises `NotVerified` when it is not this key's work."""


class LocalKey:
    """A key held in memory: AES-256-GCM under 32 bytes from a file or the environment."""

    def __init__(self, provider: str, key: bytes) -> None:
        self.provider = provider
        self.reference = "sha256:" + hashlib.sha256(b"aboveboard kek fingerprint\n" + key).hexdigest()[:16]
        self._cipher = AESGCM(key)

    @classmethod
    def file(cls, path: Path) -> LocalKey:
        """Use the key in `path`, making one when there is none."""
        content = read_secret(path, lambda: base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
        return cls("file", _key(content, str(path)))

    @classmethod
    def environment(cls, environment: Mapping[str, str], name: str = "ABOVEBOARD_AUDIT_KEK") -> LocalKey:
        """Use the base64 key in a variable, as a Kubernetes Secret puts it there."""
        if name not in environment:
            raise Misuse(f"{name} is not set", hint="32 random bytes in base64: openssl rand -base64 32")
        return cls("environment", _key(environment[name], name))

    def wrap(self, key: bytes) -> bytes:
        """Encrypt `key` under a random nonce."""
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, key, _CONTEXT)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Decrypt what `wrap` returned. Raises `NotVerified`."""
        try:
            return self._cipher.decrypt(wrapped[:12], wrapped[12:], _CONTEXT)
        except (InvalidTag, ValueError) as error:
            raise NotVerified(
                "the vault's key was not wrapped by this key-encryption key",
                hint="restore the key file that belongs to this vault; see the runbook on key loss",
            ) from error


def _key(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Misuse(f"{where}: not a key of 32 bytes in base64", hint="openssl rand -base64 32")
    return key
