"""Which idempotency keys are taken, durably and for every worker of an installation: one row for each key.

A row holds the decision's id and not its answer. An answer is personal data; it is in the log once, under the
person's key, and told again from there: so erasing the person is enough, and nothing here has to be erased. Key and
body stand here as HMAC-SHA-256 under the installation's token key (see `KeyDigests`), because both can be guessed
(`application-17`; a form with few answers) and a plain hash would confirm a guess to whoever gets hold of the file.

A claim is durable before its decision goes to the journal, so not even a loss of power lets two workers decide. Which
of the two a claim whose owner is gone was left at, the log tells; see `idempotency.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, SmallInteger, Table, Text, delete, select, update

from aboveboard.db import Database

MIGRATIONS: Final = Path(__file__).parent / "migrations" / "idempotency"
HEAD: Final = "idempotency_0001"
LIFETIME_SECONDS: Final = 24 * 3600
NOBODY: Final = ""
"""The owner of a claim whose decision the journal refused: whoever comes next looks into the log first."""

_DIGEST_BYTES = 16
_PURGED_AT_ONCE = 500
_METADATA = MetaData()
_CLAIM = Table(
    "claim",
    _METADATA,
    Column("key", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary),
    Column("decision_id", Text),
    Column("owner", Text),
    Column("settled", SmallInteger),
    Column("expires", BigInteger),
)
_COLUMNS = "key, fingerprint, decision_id, owner, settled, expires"
# A statement for many rows at once; an expired claim is in nobody's way.
_INSERT = (
    f"INSERT INTO claim ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"  # noqa: S608
    " fingerprint = excluded.fingerprint, decision_id = excluded.decision_id, owner = excluded.owner,"
    " settled = excluded.settled, expires = excluded.expires WHERE claim.expires <= ?"
)


class Claim(NamedTuple):
    """One key, taken for one decision."""

    key: bytes
    fingerprint: bytes
    """Stands for the body the key first came with."""
    decision_id: str
    owner: str
    """Which process decides; see `presence.py`."""
    settled: bool
    """Whether the decision is known to be in the log."""
    expires: int
    """Seconds since 1970."""


class Mark(Enum):
    """What became of a claim."""

    SETTLED = "settled"
    """The decision is durable in the journal."""
    GIVEN_UP = "given up"
    """The journal failed: the decision may be in the log or not."""
    RELEASED = "released"
    """Nothing was handed to the journal; the key is free again."""


class KeyDigests:
    """What stands for keys and bodies: 128 bits each, and of no use to whoever lacks the token key.

    `scope` is the model's name: a client may use the same key with two models. Whoever exchanges the token key
    forgets the keys of the last day.
    """

    def __init__(self, token_key: bytes, scope: str) -> None:
        self._key = hmac.digest(token_key, b"idempotency keys of " + scope.encode(), "sha256")

    def key(self, client: str, key: str) -> bytes:
        """Return what stands for a client's key."""
        # A key has no line feed (requests.Key), so no other pair comes to the same text.
        return hmac.digest(self._key, f"{key}\n{client}".encode(), "sha256")[:_DIGEST_BYTES]

    def fingerprint(self, key: bytes, body: bytes) -> bytes:
        """Return what stands for a body that came with the key of which `key` is the digest."""
        return hmac.digest(self._key, key + body, "sha256")[:_DIGEST_BYTES]


def expiry(moment: datetime) -> int:
    """Return when a claim made at `moment` expires."""
    return int(moment.timestamp()) + LIFETIME_SECONDS


class Claims:
    """The table. Every method is one short transaction, durable when it returns, and raises `StorageFailed`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = database.sql(_INSERT)

    @classmethod
    def sqlite(cls, path: Path) -> Claims:
        """Open the file at `path`, creating it where there is none: for the workers of one machine."""
        return cls(Database.sqlite(path, migrations=MIGRATIONS, head=HEAD))

    @classmethod
    def postgresql(cls, url: str) -> Claims:
        """Open the schema `idempotency`, creating it where there is none: for workers on many machines."""
        return cls(Database.postgresql(url, migrations=MIGRATIONS, head=HEAD, schema="idempotency"))

    @property
    def database(self) -> Database:
        """Where the table is."""
        return self._database

    def claim(self, wanted: Sequence[Claim], moment: datetime) -> list[Claim | None]:
        """Take keys, each at most once in `wanted`; return for each the claim that stands in its way, or None."""
        now = int(moment.timestamp())
        # In order of the keys, as everybody does, so that two transactions cannot wait for each other.
        rows = [(*claim[:4], int(claim.settled), claim.expires, now) for claim in sorted(wanted)]
        with self._database.writing() as connection:
            if connection.exec_driver_sql(self._insert, rows).rowcount == len(rows):
                return [None] * len(rows)
            keys = [claim.key for claim in wanted]
            standing = {row.key: row for row in map(_read, connection.execute(_query(keys)))}
        return [_obstacle(claim, standing[claim.key]) for claim in wanted]

    def find(self, key: bytes, moment: datetime) -> Claim | None:
        """Return the claim of a key, unless it has expired."""
        with self._database.reading() as connection:
            row = connection.execute(_query([key])).first()
        claim = None if row is None else _read(row)
        return None if claim is None or claim.expires <= int(moment.timestamp()) else claim

    def take_over(self, found: Claim, ours: Claim) -> bool:
        """Put `ours` in place of `found`; return whether it still stood as found."""
        columns = _CLAIM.c
        statement = (
            update(_CLAIM)
            .where(
                columns.key == found.key,
                columns.decision_id == found.decision_id,
                columns.owner == found.owner,
                columns.settled == 0,
            )
            .values(decision_id=ours.decision_id, owner=ours.owner, expires=ours.expires)
        )
        with self._database.writing() as connection:
            return connection.execute(statement).rowcount == 1

    def mark(self, marks: Iterable[tuple[Mark, Claim]]) -> None:
        """Note what became of claims; one that is somebody else's by now stays as it is."""
        ordered = sorted(marks, key=lambda item: item[1].key)
        with self._database.writing() as connection:
            for mark, change in _CHANGES.items():
                rows = [(claim.key, claim.decision_id) for each, claim in ordered if each is mark]
                if rows:
                    connection.exec_driver_sql(self._database.sql(change), rows)

    def purge(self, moment: datetime) -> int:
        """Delete some of the claims that have expired; return how many."""
        expired = (
            select(_CLAIM.c.key)
            .where(_CLAIM.c.expires <= int(moment.timestamp()))
            .order_by(_CLAIM.c.expires)
            .limit(_PURGED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        with self._database.reading() as connection:
            if connection.execute(expired.limit(1)).first() is None:
                return 0
        with self._database.writing() as connection:
            return connection.execute(delete(_CLAIM).where(_CLAIM.c.key.in_(expired))).rowcount

    def tidy(self) -> None:
        """See to the database's own housekeeping."""
        self._database.tidy()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


_CHANGES: Final = {
    Mark.SETTLED: "UPDATE claim SET settled = 1 WHERE key = ? AND decision_id = ?",
    Mark.GIVEN_UP: "UPDATE claim SET owner = '' WHERE key = ? AND decision_id = ?",
    Mark.RELEASED: "DELETE FROM claim WHERE key = ? AND decision_id = ?",
}


def _query(keys: Sequence[bytes]) -> Any:
    return select(_CLAIM).where(_CLAIM.c.key.in_(keys))


def _read(row: Any) -> Claim:
    return Claim(
        bytes(row.key), bytes(row.fingerprint), row.decision_id, row.owner, bool(row.settled), int(row.expires)
    )


def _obstacle(wanted: Claim, standing: Claim) -> Claim | None:
    return None if standing.decision_id == wanted.decision_id else standing
