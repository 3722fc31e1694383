"""Signing keys, one file each, and the trust file beside them. Key material never leaves this module.

The directory is private (0700) and so is each key (0600, PKCS #8 PEM); a key that others may read is refused.
A key is created by an explicit call, never on the way. Rotation: end the old key with `retire`, create another;
what the old one signed in its time stays valid.
"""

from __future__ import annotations

import base64
import fcntl
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from aboveboard.errors import Misuse, NotAuthorised, NotFound
from aboveboard.files import storage_errors, write_atomically
from aboveboard.release.trust import Role, Trust, TrustedKey, folded, key_id


class Keyring:
    """The keys in one directory; or, with `verifying`, a trust file and no key at all."""

    def __init__(self, directory: Path) -> None:
        self._directory: Path | None = directory
        self._trust_file = directory / "trust.json"

    @classmethod
    def verifying(cls, trust_file: Path) -> Keyring:
        """Return a keyring that can check signatures and cannot make any."""
        keyring = cls(trust_file.parent)
        keyring._directory = None
        keyring._trust_file = trust_file
        return keyring

    @property
    def trust_file(self) -> Path:
        """Where the public keys are; this file, and nothing else here, is given to others."""
        return self._trust_file

    def trust(self) -> Trust:
        """Return whom to trust, as the file says now."""
        return Trust.load(self._trust_file)

    def ensure(self, actor: str, roles: Collection[Role], *, at: datetime) -> TrustedKey:
        """Return the actor's key that may sign in all of `roles` at `at`, creating one when there is none."""
        with self._changing() as (directory, trust):
            for key in reversed(trust.keys):
                held = (directory / f"{key.key_id}.pem").exists()
                if held and key.actor == actor and set(roles) <= set(key.roles) and key.covers(at):
                    return key
            return self._create(directory, trust, actor, roles, not_before=at, not_after=None)

    def create(
        self, actor: str, roles: Collection[Role], *, not_before: datetime, not_after: datetime | None = None
    ) -> TrustedKey:
        """Create a key for `actor` and trust it. Several keys of one actor are kept side by side."""
        with self._changing() as (directory, trust):
            return self._create(directory, trust, actor, roles, not_before=not_before, not_after=not_after)

    def retire(self, key_id: str, *, at: datetime) -> TrustedKey:
        """End a key's time at `at`. Raises `NotFound` when no such key is trusted."""
        with self._changing() as (_, trust):
            for position, key in enumerate(trust.keys):
                if key.key_id == key_id:
                    retired = msgspec.structs.replace(key, not_after=_milliseconds(at))
                    self._write_trust((*trust.keys[:position], retired, *trust.keys[position + 1 :]))
                    return retired
        raise NotFound(f"no key {key_id[:16]} is trusted here", hint=f"see the ids in {self._trust_file}")

    def sign(self, actor: str, role: Role, message: bytes, *, at: datetime) -> tuple[str, bytes]:
        """Return the key id and the Ed25519 signature of `message` by the actor's newest key for that role.

        Raises `NotAuthorised` when the actor has no such key, or the key may be read by others.
        """
        directory = self._private_directory()
        for key in sorted(self.trust().keys, key=lambda key: key.not_before, reverse=True):
            path = directory / f"{key.key_id}.pem"
            if key.actor == actor and role in key.roles and key.covers(at) and path.exists():
                return key.key_id, _private_key(path, key).sign(message)
        raise NotAuthorised(
            f"{actor} has no signing key here for the role {role.value}",
            hint="create one for this actor and role, or act as somebody who has one",
            actor=actor,
            role=role.value,
        )

    @contextmanager
    def _changing(self) -> Iterator[tuple[Path, Trust]]:
        """Hold the directory for one change to it."""
        directory = self._private_directory()
        with storage_errors(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with storage_errors(directory):
                fcntl.flock(lock, fcntl.LOCK_EX)
                mode = directory.stat().st_mode
            if mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise NotAuthorised(f"{directory} may be changed by others", hint=f"run: chmod 700 {directory}")
            yield directory, self.trust()
        finally:
            os.close(lock)

    def _create(
        self,
        directory: Path,
        trust: Trust,
        actor: str,
        roles: Collection[Role],
        *,
        not_before: datetime,
        not_after: datetime | None,
    ) -> TrustedKey:
        if not roles or not actor or actor != actor.strip() or len(actor) > 320 or not actor.isprintable():
            raise Misuse(
                "a key needs an actor's name and at least one role", hint="name the actor as an e-mail address"
            )
        for other in trust.keys:
            if other.actor != actor and folded(other.actor) == folded(actor):
                raise Misuse(
                    f"{actor!r} is too like {other.actor!r}, who has a key", hint="use the name as it is known"
                )
        private = Ed25519PrivateKey.generate()
        public = private.public_key()
        key = TrustedKey(
            actor=actor,
            key_id=key_id(public),
            public_key=base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode(),
            roles=sorted(set(roles)),
            not_before=_milliseconds(not_before),
            not_after=None if not_after is None else _milliseconds(not_after),
        )
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # mkstemp creates the file 0600, so the key is at no moment readable by others.
        write_atomically(directory / f"{key.key_id}.pem", pem, mode=0o600)
        self._write_trust((*trust.keys, key))
        return key

    def _write_trust(self, keys: tuple[TrustedKey, ...]) -> None:
        write_atomically(self._trust_file, Trust(keys).to_bytes())

    def _private_directory(self) -> Path:
        if self._directory is None:
            raise NotAuthorised(
                "this process can verify signatures but has no keys to sign with",
                hint="sign where the keys are: aboveboard --home HOME release …",
            )
        return self._directory


def _private_key(path: Path, key: TrustedKey) -> Ed25519PrivateKey:
    """Read a private key that only its owner can read and that is the one the trust file names."""
    with storage_errors(path), path.open("rb") as file:
        status = os.fstat(file.fileno())
        content = file.read(4096)
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotAuthorised(
            f"the private key {path.name} may be read by others",
            hint=f"run: chmod 600 {path}; if others use this machine, replace the key",
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise NotAuthorised(f"the private key {path.name} belongs to another user", hint=f"see who owns {path}")
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None  # the cause is not chained: it may quote the key
    if not isinstance(private, Ed25519PrivateKey) or key_id(private.public_key()) != key.key_id:
        raise NotAuthorised(
            f"{path.name} is not the private key of its name", hint="restore it, or create another key"
        )
    return private


def _milliseconds(moment: datetime) -> datetime:
    """Cut a moment to the milliseconds that timestamps carry, so that a key covers what it signs at once."""
    utc = moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
