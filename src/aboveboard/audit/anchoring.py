"""Logs that vouch for each other: a region's checkpoint becomes an entry of another region's log.

Whoever would rewrite one region's history must then rewrite the other's too. Each checkpoint must extend the one
anchored before, so two histories shown to two regions come to light when their anchors meet.
"""

from __future__ import annotations

from collections.abc import Sequence

from aboveboard.audit.committer import Acknowledgement
from aboveboard.audit.events import CheckpointAnchored
from aboveboard.audit.index import Query
from aboveboard.audit.log import AuditLog
from aboveboard.audit.merkle import verify_consistency
from aboveboard.audit.note import VerifierKey, parse_checkpoint, verify_note
from aboveboard.audit.proof import ConsistencyProof
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import Misuse, NotVerified

_ACTOR = "anchoring"


def latest_anchor(log: AuditLog, origin: str) -> CheckpointAnchored | None:
    """Return the newest checkpoint of the log `origin` that is published in `log`, if there is one."""
    log.publish()
    for entry in log.find(Query(kind="checkpoint-anchored/1", limit=100_000), actor=_ACTOR, purpose="anchoring"):
        event = log.read(entry.index, actor=_ACTOR, purpose="anchoring")
        if isinstance(event, CheckpointAnchored) and event.origin == origin:
            return event
    return None


def anchor(
    log: AuditLog,
    note: str,
    keys: Sequence[str],
    *,
    actor: str,
    clock: Clock,
    proof: ConsistencyProof | None = None,
) -> Acknowledgement | None:
    """Record another log's signed checkpoint in `log`; return None when it is there already.

    `keys` are the other log's public keys. Where an earlier checkpoint of that log is anchored, `proof` must show
    that this one extends it. Raises `NotVerified` when a signature or the proof does not hold, above all when two
    signed checkpoints contradict each other; `Misuse` when a log would vouch for itself, or the proof is missing.
    """
    text, _ = verify_note(note, [VerifierKey.parse(key) for key in keys])
    head = parse_checkpoint(text)
    if any(VerifierKey.parse(key).name != head.origin for key in keys):
        raise NotVerified(
            "the checkpoint is not of the log that the keys are of",
            hint="give the public key of the other region's log",
        )
    if head.origin == log.origin:
        raise Misuse("a log cannot vouch for itself", hint="anchor it in another region's log")
    before = latest_anchor(log, head.origin)
    if before is not None:
        if head.size == before.size and head.root.hex() == before.root:
            return None
        if head.size <= before.size:
            raise NotVerified(
                f"{head.origin} signed {head.size} leaves after {before.size}: a split view, or a log rolled back",
                hint="keep both signed checkpoints: together they are the evidence",
                known=before.note,
                offered=note,
            )
        if proof is None:
            raise Misuse(
                f"{head.origin} is anchored at size {before.size}; what follows needs a proof that it extends that",
                hint=f"ask the other region for its consistency proof from {before.size} to {head.size}",
                size=before.size,
            )
        try:
            path = [bytes.fromhex(part) for part in proof.proof]
        except ValueError as error:
            raise NotVerified("the consistency proof is not written in hex") from error
        verify_consistency(before.size, head.size, bytes.fromhex(before.root), head.root, path)
    return log.append(
        CheckpointAnchored(
            time=timestamp(clock()),
            actor=actor,
            origin=head.origin,
            size=head.size,
            root=head.root.hex(),
            note=note,
        )
    )
