"""Proofs as documents: what a customer, an auditor or a regulator is handed, and what makes it.

Verification is `verifier.py`, which shares no code with this.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aboveboard.audit import merkle
from aboveboard.audit.sequencer import SignedCheckpoint
from aboveboard.audit.storage import TileStorage
from aboveboard.audit.tiles import TileReader
from aboveboard.errors import NotVerified

RECEIPT_VERSION = "aboveboard-receipt/1"


class InclusionProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That an entry is in the log: RFC 6962 audit path from leaf `index` to the root in the checkpoint.

    `commitment` and the hashes of `proof` are hex; `checkpoint` is the signed note.
    """

    origin: str
    index: int
    commitment: str
    proof: list[str]
    checkpoint: str


class ConsistencyProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a later tree contains an earlier one unchanged; both checkpoints are signed notes, hashes are hex."""

    origin: str
    proof: list[str]
    old_checkpoint: str
    new_checkpoint: str


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All it takes to check, offline and for good, that this very record is in the log.

    `record` is the event, `salt` (hex) ties it to the leaf. Whoever holds a receipt holds the record: it is the
    person's own copy, and erasing them from the log does not take it away.
    """

    version: str
    origin: str
    index: int
    record: dict[str, Any]
    salt: str
    proof: list[str]
    checkpoint: str

    def to_json(self) -> bytes:
        """Return the receipt as a JSON file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class Prover:
    """Makes proofs from the published tiles, and checks each against its checkpoint before handing it out."""

    def __init__(self, storage: TileStorage) -> None:
        self._tiles = TileReader(storage.get, 0)

    def inclusion(self, checkpoint: SignedCheckpoint, index: int, commitment: bytes) -> list[bytes]:
        """Return the audit path of a leaf. Raises `NotVerified` when tiles and checkpoint disagree."""
        path = merkle.inclusion_proof(self._tiles.at(checkpoint.size), index, checkpoint.size)
        merkle.verify_inclusion(merkle.leaf_hash(commitment), index, checkpoint.size, path, checkpoint.root)
        return path

    def consistency(self, old: SignedCheckpoint, new: SignedCheckpoint) -> list[bytes]:
        """Return the consistency proof between two checkpoints. Raises `NotVerified` when there can be none."""
        if old.origin != new.origin:
            raise NotVerified("the checkpoints are of different logs", hint="ask for two checkpoints of one log")
        path = merkle.consistency_proof(self._tiles.at(new.size), old.size, new.size)
        merkle.verify_consistency(old.size, new.size, old.root, new.root, path)
        return path
