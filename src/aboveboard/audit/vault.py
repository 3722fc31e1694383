"""The keys of persons: made, wrapped, looked up and destroyed. Nothing else can tell which entries are whose.

Three layers: a key-encryption key from a provider wraps a few *vault keys*; a vault key wraps *subject keys*, one
per person, month and retention period; a subject key seals that person's records. Destroying the subject keys
erases the person from every copy of the journals at once. Months and retention periods get keys of their own so
that what the law no longer protects can go while the rest stays.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, delete, func, insert, select, update

from aboveboard.audit.kek import KEY_BYTES, KeyEncryptionKey
from aboveboard.audit.key_cache import KeyCache
from aboveboard.audit.tables import MIGRATIONS, VAULT_HEAD, erasure_key, generation, subject_key, vault_key
from aboveboard.clock import Clock, timestamp
from aboveboard.db import Database
from aboveboard.errors import NotVerified

LOG = "@log"
"""Stands in for a subject where an event is about nobody."""

_KEY_ID_BYTES = 16
_CHUNK = 400
_REMEMBERED = 16_384
# Fixed statements for the commit path: building and compiling them anew took longer than all the rest of a group.
_GENERATION = "SELECT value FROM generation"
_FIND = "SELECT key_id, vault_key, wrapped FROM subject_key WHERE subject = ? AND epoch = ? AND retention = ?"
_FIND_ALL = (
    "SELECT subject, epoch, retention, key_id, vault_key, wrapped"
    " FROM unnest(?::text[], ?::text[], ?::text[]) AS wanted (subject, epoch, retention)"
    " JOIN subject_key USING (subject, epoch, retention)"
)
_FIND_ID = "SELECT key_id, vault_key, wrapped FROM subject_key WHERE key_id = ?"
_FIND_IDS = "SELECT key_id, vault_key, wrapped FROM subject_key WHERE key_id = ANY(?::bytea[])"
_INSERT = (
    "INSERT INTO subject_key (key_id, subject, epoch, retention, vault_key, wrapped) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
T = TypeVar("T")


class Name(NamedTuple):
    """What a subject key is for."""

    subject: str
    epoch: str
    """Year and month, `2026-11`."""
    retention: str


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A key that is there to be used. Its repr hides it."""

    key_id: bytes
    cipher: AESGCM

    def __repr__(self) -> str:
        return f"SubjectKey({self.key_id.hex()})"


class Vault:
    """The key database, and the lock that keeps a key from being destroyed while a record is sealed under it."""

    def __init__(self, database: Database, kek: KeyEncryptionKey, clock: Clock) -> None:
        """Use a database, with a first vault key if it is new.

        Raises `NotVerified` when the key-encryption key is not the one the vault was made with.
        """
        self.database = database
        self._kek = kek
        self._clock = clock
        self._wrapping: dict[int, AESGCM] = {}
        self._current = 0
        self._remembered: KeyCache[Name] = KeyCache(_REMEMBERED)
        self._generation: int | None = None
        self._checking = threading.Lock()
        try:
            self._load_vault_keys()
        except BaseException:
            database.close()
            raise

    @classmethod
    def sqlite(cls, directory: Path, kek: KeyEncryptionKey, clock: Clock) -> Vault:
        """Open `vault.sqlite` in `directory`, creating it when there is none; see `__init__`."""
        path = directory / "vault.sqlite"
        database = Database.sqlite(path, migrations=MIGRATIONS / "vault", head=VAULT_HEAD, secure_delete=True)
        return cls(database, kek, clock)

    @classmethod
    def postgresql(cls, url: str, kek: KeyEncryptionKey, clock: Clock) -> Vault:
        """Open the schema `audit_vault`, creating it when there is none; see `__init__`."""
        database = Database.postgresql(url, migrations=MIGRATIONS / "vault", head=VAULT_HEAD, schema="audit_vault")
        return cls(database, kek, clock)

    def close(self) -> None:
        """Close the database and let go of all keys."""
        self._remembered.clear()
        self.database.close()

    @contextmanager
    def sealing(self) -> Iterator[None]:
        """Hold off erasures while keys are looked up and what they seal is made durable.

        Keys remembered from before are forgotten first if any was destroyed meanwhile; see `check_remembered`.
        """
        with self.database.lock("vault", shared=True):
            self.check_remembered()
            yield

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """Wait until nobody is sealing, and let nobody begin until the block ends."""
        with self.database.lock("vault"):
            yield

    # -- using keys

    def keys_for(self, names: Iterable[Name]) -> dict[Name, SubjectKey]:
        """Return the key of every name, making the missing ones durably first; call it while `sealing`.

        Keys seen before come from memory: nobody can be erased while we are `sealing`, and that nobody was since
        they were put there, `sealing` has made sure.
        """
        found: dict[Name, SubjectKey] = {}
        missing: list[Name] = []
        for name in dict.fromkeys(names):
            if (known := self._remembered.get(name)) is not None:
                found[name] = SubjectKey(known[0], AESGCM(known[1]))
            else:
                missing.append(name)
        if missing:
            stored = self._find(missing)
            unseen = [name for name in missing if name not in stored]
            if unseen:
                stored.update(self._make(unseen))
            for name, (key_id, key) in stored.items():
                self._remembered.put(name, key_id, key)
                found[name] = SubjectKey(key_id, AESGCM(key))
        return found

    def check_remembered(self) -> None:
        """Forget all keys in memory if any key was destroyed or wrapped anew since they came there.

        Raises `NotVerified` when another process has rotated to a key-encryption key that we do not have.
        """
        with self._checking, self.database.driver() as connection:
            present = int(connection.execute(_GENERATION).fetchone()[0])
            if present != self._generation:
                self._generation = None
                self._remembered.clear()
                self._load_vault_keys()
                self._generation = present

    def keys_by_id(self, key_ids: Iterable[bytes]) -> dict[bytes, SubjectKey]:
        """Return the keys that still exist among `key_ids`."""
        wanted = list(dict.fromkeys(key_ids))
        with self.database.driver() as connection:
            if self.database.dialect == "postgresql":
                rows = connection.execute(self.database.sql(_FIND_IDS), [wanted]).fetchall()
            else:
                every = (connection.execute(_FIND_ID, (key_id,)).fetchone() for key_id in wanted)
                rows = [row for row in every if row is not None]
        return {row[0]: self._unwrap(*row) for row in rows}

    def ids_of(self, subject: str) -> list[bytes]:
        """Return the ids of the keys a person has, oldest month first."""
        query = select(subject_key.c.key_id).where(subject_key.c.subject == subject).order_by(subject_key.c.epoch)
        with self.database.reading() as connection:
            return list(connection.execute(query).scalars())

    def names_of(self, key_ids: Iterable[bytes]) -> dict[bytes, Name]:
        """Return whose the keys are, for those that still exist."""
        found: dict[bytes, Name] = {}
        columns = subject_key.c
        with self.database.reading() as connection:
            for chunk in _chunks(list(dict.fromkeys(key_ids))):
                query = select(columns.key_id, columns.subject, columns.epoch, columns.retention)
                for key_id, *name in connection.execute(query.where(columns.key_id.in_(chunk))):
                    found[key_id] = Name(*name)
        return found

    def destroyed(self, key_ids: Iterable[bytes]) -> dict[bytes, str]:
        """Return which of `key_ids` were destroyed, and by which erasure."""
        found: dict[bytes, str] = {}
        columns = erasure_key.c
        with self.database.reading() as connection:
            for chunk in _chunks(list(dict.fromkeys(key_ids))):
                query = select(columns.key_id, columns.erasure_id)
                query = query.where(columns.key_id.in_(chunk), columns.destroyed.is_not(None))
                found.update((key_id, erasure_id) for key_id, erasure_id in connection.execute(query))
        return found

    def destroy(self, connection: Connection, key_ids: Sequence[bytes]) -> None:
        """Delete keys for good, inside the caller's transaction and while `erasing`."""
        self._begin_generation(connection)
        for chunk in _chunks(key_ids):
            connection.execute(delete(subject_key).where(subject_key.c.key_id.in_(chunk)))

    # -- rotation

    def rotate(self, kek: KeyEncryptionKey | None = None) -> tuple[str, str, int]:
        """Wrap everything anew: a fresh vault key, under `kek` or the present key-encryption key.

        Returns the references of the old and the new vault key, and how many subject keys were re-wrapped. The old
        vault keys are deleted, so copies of the vault made before are of no use without the old wrapped keys in them.
        """
        new = kek or self._kek
        with self.erasing(), self._checking:
            with self.database.writing() as connection:
                self._begin_generation(connection)
                old_id = self._current
                fresh = os.urandom(KEY_BYTES)
                new_id = (connection.execute(select(func.max(vault_key.c.id))).scalar() or 0) + 1
                connection.execute(insert(vault_key).values(self._vault_row(new_id, new, fresh)))
                cipher, count = AESGCM(fresh), 0
                columns = subject_key.c
                while rows := connection.execute(
                    select(columns.key_id, columns.vault_key, columns.wrapped)
                    .where(columns.vault_key != new_id)
                    .limit(1000)
                ).all():
                    for key_id, wrapping, wrapped in rows:
                        plain = self._open_key(key_id, wrapping, wrapped)
                        connection.execute(
                            update(subject_key)
                            .where(columns.key_id == key_id)
                            .values(vault_key=new_id, wrapped=_wrap(cipher, key_id, plain))
                        )
                    count += len(rows)
                connection.execute(delete(vault_key).where(vault_key.c.id != new_id))
            # Still alone: nobody may take the new vault keys for those of a stranger in between.
            self._kek = new
            self._load_vault_keys()
        self.database.forget_deleted()
        return f"vault-key-{old_id}", f"vault-key-{new_id} ({new.provider} {new.reference})", count

    # -- inside

    def _load_vault_keys(self) -> None:
        query = select(vault_key.c.id, vault_key.c.provider, vault_key.c.reference, vault_key.c.wrapped)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(vault_key.c.id)).all()
        if not rows:
            self._make_first_vault_key()
            return self._load_vault_keys()
        for number, provider, reference, wrapped in rows:
            if number not in self._wrapping:
                if (provider, reference) != (self._kek.provider, self._kek.reference):
                    raise NotVerified(
                        f"the vault is under key {reference} of provider {provider}, not {self._kek.reference}"
                        f" of {self._kek.provider}",
                        hint="open it with the key-encryption key it was last rotated to",
                    )
                self._wrapping[number] = AESGCM(self._kek.unwrap(wrapped))
        self._wrapping = {number: self._wrapping[number] for number, *_ in rows}
        self._current = rows[-1][0]
        return None

    def _make_first_vault_key(self) -> None:
        row = self._vault_row(1, self._kek, os.urandom(KEY_BYTES))
        with self.erasing(), self.database.writing() as connection:
            if connection.execute(select(func.count()).select_from(vault_key)).scalar() == 0:
                connection.execute(insert(vault_key).values(row))

    def _vault_row(self, number: int, kek: KeyEncryptionKey, key: bytes) -> Mapping[str, object]:
        return {
            "id": number,
            "provider": kek.provider,
            "reference": kek.reference,
            "wrapped": kek.wrap(key),
            "created": timestamp(self._clock()),
        }

    def _begin_generation(self, connection: Connection) -> None:
        """Make every process forget the keys it remembers, once the caller's transaction is committed."""
        self._remembered.clear()
        connection.execute(update(generation).values(value=generation.c.value + 1))

    def _find(self, names: Sequence[Name]) -> dict[Name, tuple[bytes, bytes]]:
        """Return id and key of those names that have one."""
        with self.database.driver() as connection:
            if self.database.dialect == "postgresql":
                statement, columns = (
                    self.database.sql(_FIND_ALL),
                    [list(column) for column in zip(*names, strict=True)],
                )
                rows = connection.execute(statement, columns).fetchall()
                stored = {Name(*row[:3]): row[3:] for row in rows}
            else:
                every = ((name, connection.execute(_FIND, name).fetchone()) for name in names)
                stored = {name: row for name, row in every if row is not None}
        return {name: (row[0], self._open_key(*row)) for name, row in stored.items()}

    def _make(self, names: Sequence[Name]) -> dict[Name, tuple[bytes, bytes]]:
        """Insert keys for `names` in one transaction; where another process was first, use its key."""
        # Ids begin with the time, so that new ones go to the end of every index, and end in 80 random bits.
        born = int(self._clock().timestamp() * 1000).to_bytes(6, "big")
        width = _KEY_ID_BYTES - len(born)
        wrapping, cipher = self._current, self._wrapping[self._current]
        random = os.urandom(len(names) * (width + KEY_BYTES))
        made, rows = {}, []
        for position, name in enumerate(names):
            start = position * (width + KEY_BYTES)
            key_id = born + random[start : start + width]
            key = random[start + width : start + width + KEY_BYTES]
            made[name] = (key_id, key)
            rows.append((key_id, *name, wrapping, _wrap(cipher, key_id, key)))
        with self.database.writing() as connection:
            inserted = connection.exec_driver_sql(self.database.sql(_INSERT), rows).rowcount
        return made if inserted == len(names) else self._find(names)

    def _unwrap(self, key_id: bytes, wrapping: int, wrapped: bytes) -> SubjectKey:
        return SubjectKey(key_id, AESGCM(self._open_key(key_id, wrapping, wrapped)))

    def _open_key(self, key_id: bytes, wrapping: int, wrapped: bytes) -> bytes:
        if wrapping not in self._wrapping:  # another process has rotated
            self._load_vault_keys()
        try:
            return self._wrapping[wrapping].decrypt(wrapped[:12], wrapped[12:], key_id)
        except (KeyError, InvalidTag) as error:
            raise NotVerified(
                f"subject key {key_id.hex()} is not wrapped by a key of this vault", key_id=key_id.hex()
            ) from error


def _wrap(cipher: AESGCM, key_id: bytes, key: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + cipher.encrypt(nonce, key, key_id)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
