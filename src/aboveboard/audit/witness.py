"""A witness: it cosigns a log's checkpoints, each after proof that it extends the one before (C2SP tlog-witness).

The rules are here, with the state in a small database; HTTP is `witness_http`. A witness run by somebody else is what
makes a split view impossible: a log cannot show two histories to two people if both ask for the same witness's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text, insert, select, update

from aboveboard.audit.keyfiles import signing_key
from aboveboard.audit.merkle import EMPTY_ROOT, verify_consistency
from aboveboard.audit.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_MLDSA44,
    ED25519,
    Signature,
    SigningKey,
    VerifierKey,
    decode_base64,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from aboveboard.audit.tables import MIGRATIONS
from aboveboard.clock import Clock
from aboveboard.db import Database
from aboveboard.errors import AboveboardError, Misuse, NotVerified, RequestRefused

WITNESS_HEAD = "witness_0001"
_MAX_PROOF = 63
_SIZE = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)

_metadata = MetaData()
_seen = Table(
    "seen",
    _metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger),
    Column("root", LargeBinary),
    Column("note", Text),
)


class UnknownLog(AboveboardError):
    """The witness does not know a log of this origin (HTTP 404)."""

    code = "unknown-log"


class UntrustedSignature(AboveboardError):
    """No signature of the checkpoint is by a key of its log (HTTP 403)."""

    code = "untrusted-signature"


class OtherSize(AboveboardError):
    """The witness has last cosigned another size, `size` (HTTP 409)."""

    code = "other-size"

    def __init__(self, size: int) -> None:
        super().__init__(f"the checkpoint last cosigned has size {size}", size=size)
        self.size = size


class SplitView(AboveboardError):
    """Two checkpoints of one size have different roots: proof that the log misbehaves (HTTP 409)."""

    code = "split-view"

    def __init__(self, size: int, known: str, offered: str) -> None:
        super().__init__(f"two signed checkpoints of size {size} differ", known=known, offered=offered)
        self.size = size


class InconsistentTree(AboveboardError):
    """The proof does not show that the checkpoint extends the one last cosigned (HTTP 422)."""

    code = "inconsistent-tree"


class Witness:
    """Cosigns for the logs it knows. Safe to call from several threads and processes."""

    def __init__(
        self,
        database: Database,
        signers: Sequence[SigningKey],
        logs: Mapping[str, Sequence[VerifierKey]],
        clock: Clock,
    ) -> None:
        if not signers or any(signer.kind == ED25519 for signer in signers):
            raise Misuse("a witness signs with cosignature keys (types 0x04 and 0x06)")
        self._database = database
        self._signers = signers
        self._logs = logs
        self._clock = clock

    @classmethod
    def open(cls, path: Path, *, signers: Sequence[SigningKey], logs: Sequence[VerifierKey], clock: Clock) -> Witness:
        """Open the witness whose memory is the SQLite file at `path`; `logs` are the keys of the logs it cosigns."""
        database = Database.sqlite(path, migrations=MIGRATIONS / "witness", head=WITNESS_HEAD)
        by_origin: dict[str, list[VerifierKey]] = {}
        for key in logs:
            by_origin.setdefault(key.name, []).append(key)
        return cls(database, signers, by_origin, clock)

    @classmethod
    def in_directory(cls, directory: Path, *, name: str, logs: Sequence[VerifierKey], clock: Clock) -> Witness:
        """Open the witness `name` that lives in a directory, making it, and its keys of both types, if it is new."""
        kinds = {COSIGNATURE_ED25519: "witness.key", COSIGNATURE_MLDSA44: "witness-mldsa44.key"}
        signers = [signing_key(directory / "keys" / file, name, kind) for kind, file in kinds.items()]
        return cls.open(directory / "witness.sqlite", signers=signers, logs=logs, clock=clock)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def name(self) -> str:
        """The witness's name."""
        return self._signers[0].name

    @property
    def vkeys(self) -> list[str]:
        """The witness's public keys, for the logs and verifiers that trust it."""
        return [str(signer.verifier()) for signer in self._signers]

    def add_checkpoint(self, old: int, proof: Sequence[bytes], note: str) -> list[Signature]:
        """Check a checkpoint against the last one, remember it durably, and return the cosignatures.

        Raises `RequestRefused` (HTTP 400), `UnknownLog`, `UntrustedSignature`, `OtherSize`, `SplitView` and
        `InconsistentTree`, in the order the specification gives.
        """
        try:
            head = parse_checkpoint(parse_note(note)[0])
        except NotVerified as error:
            raise RequestRefused(f"not a checkpoint: {error.message}") from error
        if head.origin not in self._logs:
            raise UnknownLog("this witness does not know the log", hint="have its operator add the log's key")
        try:
            text, _ = verify_note(note, self._logs[head.origin])
        except NotVerified as error:
            raise UntrustedSignature(error.message) from error
        if old > head.size:
            raise RequestRefused("the old size is larger than the checkpoint's")
        # One write transaction from reading the last size to storing the new one: no race can roll a log back.
        with self._database.writing() as connection:
            known = connection.execute(select(_seen).where(_seen.c.origin == head.origin)).first()
            last, root = (0, EMPTY_ROOT) if known is None else (known.size, bytes(known.root))
            if old != last:
                raise OtherSize(last)
            if old == head.size and known is not None and root != head.root:
                raise SplitView(old, known.note, note)
            try:
                verify_consistency(old, head.size, root, head.root, proof)
            except NotVerified as error:
                raise InconsistentTree(error.message) from error
            values = {"size": head.size, "root": head.root, "note": note}
            if known is None:
                connection.execute(insert(_seen).values(origin=head.origin, **values))
            else:
                connection.execute(update(_seen).where(_seen.c.origin == head.origin).values(values))
        now = int(self._clock().timestamp())
        return [signer.sign(text, now) for signer in self._signers]

    def latest(self, origin: str) -> tuple[int, str] | None:
        """Return size and note of the checkpoint last cosigned for a log."""
        with self._database.reading() as connection:
            row = connection.execute(select(_seen.c.size, _seen.c.note).where(_seen.c.origin == origin)).first()
        return None if row is None else (row.size, row.note)


def parse_request(body: bytes) -> tuple[int, list[bytes], str]:
    """Read the body of add-checkpoint: old size, proof, checkpoint. Raises `RequestRefused`."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestRefused("the request is not UTF-8") from error
    head, empty, note = text.partition("\n\n")
    lines = head.split("\n")
    match = _SIZE.fullmatch(lines[0])
    if not empty or match is None or int(match[1]) >= 1 << 63:
        raise RequestRefused("the request does not begin with an old size and a proof")
    if len(lines) - 1 > _MAX_PROOF:
        raise RequestRefused(f"a consistency proof has at most {_MAX_PROOF} hashes")
    try:
        proof = [decode_base64(line, "a hash of the proof") for line in lines[1:]]
    except NotVerified as error:
        raise RequestRefused(error.message) from error
    if any(len(part) != 32 for part in proof):
        raise RequestRefused("a hash of the proof is not 32 bytes long")
    return int(match[1]), proof, note
