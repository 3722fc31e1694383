"""The audit log as its users see it: everything wired together, one object per process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import date
from pathlib import Path
from typing import Any, Self

from aboveboard.audit.background import Background
from aboveboard.audit.committer import Acknowledgement, Committer, Deliver
from aboveboard.audit.erasure import Eraser, Erasure
from aboveboard.audit.events import Decision, Event, KeyRotated
from aboveboard.audit.fsck import FsckReport, check
from aboveboard.audit.index import Entry, Index, Query
from aboveboard.audit.journal_files import Disk
from aboveboard.audit.kek import KeyEncryptionKey, LocalKey
from aboveboard.audit.keyfiles import signing_key
from aboveboard.audit.note import COSIGNATURE_MLDSA44, ED25519, SigningKey, check_name
from aboveboard.audit.opening import Options, Parts, open_files, open_postgresql
from aboveboard.audit.proof import ConsistencyProof, InclusionProof, Prover, Receipt
from aboveboard.audit.reading import Reader, Recorded, Stretch
from aboveboard.audit.restore import restore_order
from aboveboard.audit.review import Case
from aboveboard.audit.review_queue import CaseQuery, ReviewQueue
from aboveboard.audit.sequencer import Cosign, Sequencer, SignedCheckpoint
from aboveboard.audit.storage import DirectoryStorage, TileStorage
from aboveboard.audit.witnesses import read_witnesses
from aboveboard.audit.writing import Channel, Writer
from aboveboard.clock import Clock, system_clock, timestamp
from aboveboard.errors import AboveboardError, Misuse


class AuditLog:
    """A tamper-evident, erasable record of decisions and of the acts that govern them."""

    def __init__(
        self,
        *,
        parts: Parts,
        storage: TileStorage,
        signers: Sequence[SigningKey],
        origin: str,
        clock: Clock,
        options: Options,
        cosign: Cosign | None,
    ) -> None:
        self.origin = origin
        self._parts = parts
        self._vault = vault = parts.vault
        self._database = database = parts.database
        self._journals = journals = parts.journals
        self._storage = storage
        self._signers = tuple(signers)
        self._clock = clock
        self._writer = Writer(parts.open_journal, vault, options)
        self._sequencer = Sequencer(database, journals, storage, signers, origin=origin, clock=clock, cosign=cosign)
        self._index = Index(database, journals, self._sequencer, vault)
        self._eraser = Eraser(vault, self._index, self.append, clock)
        self._background = Background(self._keep_up, self.publish)
        self._reader = Reader(
            origin=origin,
            vault=vault,
            journals=journals,
            sequencer=self._sequencer,
            index=self._index,
            prover=Prover(storage),
            clock=clock,
            readers=options.readers,
            append=self.append,
            publish=self.publish,
            holds=self._eraser.holds,
        )

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        keys: Path,
        origin: str,
        clock: Clock = system_clock,
        writer: str = "main",
        options: Options | None = None,
        kek: KeyEncryptionKey | None = None,
        storage: TileStorage | None = None,
        cosign: Cosign | None = None,
        database: str | None = None,
        disk: Disk | None = None,
    ) -> Self:
        """Open the log in `directory`, making it, and its private keys in `keys`, when there is none.

        `origin` names the log on its checkpoints and is fixed for good. `writer` names this process's journal; a
        journal is only begun with the first event. With `database`, the URL of a PostgreSQL database, journals,
        vault and index are there and `directory` holds at most the tiles. Without `cosign`, the witnesses that
        `witnesses.json` in `directory` names are asked. Raises `NotVerified` when keys, vault and log do not belong
        together, `StorageFailed`, and `Misuse` for an impossible name or impossible witnesses.
        """
        check_name(origin)
        if not writer.replace("-", "").replace("_", "").isalnum() or not writer.isascii():
            raise Misuse(f"{writer!r} cannot name a journal", hint="use letters, digits and hyphens")
        chosen = options or Options()
        storage = storage or DirectoryStorage(directory / "tiles")
        if cosign is None and (witnesses := read_witnesses(directory)) is not None:
            cosign = witnesses.collector(storage)
        kinds = [(ED25519, "audit-log.key")]
        if chosen.post_quantum:
            kinds.append((COSIGNATURE_MLDSA44, "audit-log-mldsa44.key"))
        signers = [signing_key(keys / name, origin, kind) for kind, name in kinds]
        key = kek or LocalKey.file(keys / "audit-kek.key")
        if database is None:
            parts = open_files(directory, writer, key, clock, disk=disk, segment_bytes=chosen.segment_bytes)
        else:
            parts = open_postgresql(database, writer, key, clock)
        with ExitStack() as undo:  # what is open already is closed again when the log does not fit together
            undo.callback(parts.close)
            log = cls(
                parts=parts,
                storage=storage,
                signers=signers,
                origin=origin,
                clock=clock,
                options=chosen,
                cosign=cosign,
            )
            undo.pop_all()
        return log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Make durable what is queued, stop publishing, and close everything."""
        self.stop()
        self._writer.close()
        self._parts.close()
        self._storage.close()

    # -- writing

    @property
    def committer(self) -> Committer:
        """The thread that makes events durable, started with the first use."""
        return self._writer.committer

    def begin(self) -> None:
        """Open the journal now rather than with the first event. Raises `StorageFailed` for a damaged one."""
        _ = self._writer.committer

    def append(self, event: Event) -> Acknowledgement:
        """Return once `event` is durable.

        Raises `StorageFailed` when the disk does not take it in time, `Overloaded` when the queue stays full that
        long, `RequestRefused` when the event cannot be written as canonical JSON. After an error the event may or
        may not be in the log.
        """
        return self._writer.append_all([event])[0]

    def append_all(self, events: Sequence[Event]) -> list[Acknowledgement]:
        """Return once all `events` are durable; raises the first error there is, see `append`."""
        return self._writer.append_all(events)

    def channel(self, deliver: Deliver) -> Channel:
        """Return a channel that calls `deliver([(tag, outcome), ...])` from the commit thread, once per group."""
        return Channel(self._writer, deliver)

    def forget_erased(self) -> None:
        """Let go of keys in memory that have been destroyed, for a process that may have nothing to write for long.

        Raises `StorageFailed`.
        """
        self._vault.check_remembered()

    # -- the tree

    def publish(self) -> SignedCheckpoint:
        """Sequence everything durable, write tiles, sign, and bring the index up to date; return the tree head.

        Raises `NotVerified` when a journal is damaged, `StorageFailed`, and what the witnesses raise.
        """
        try:
            checkpoint = self._sequencer.publish()
        except AboveboardError:
            # Search and erasure need no signature: a lack of witnesses does not hold them up.
            with suppress(AboveboardError):
                self._index.catch_up()
            raise
        self._index.catch_up()
        return checkpoint

    def take_in(self) -> int:
        """Sequence and index everything durable without signing anything; return how many entries there are.

        Enough for search, export and erasure, which need no checkpoint and hence no witness.
        """
        self._sequencer.integrate()
        return self._index.catch_up()

    def start(self, interval: float = 1.0) -> None:
        """Publish every `interval` seconds in a thread, and carry out erasures that have become due."""
        self._background.start(interval)

    def stop(self) -> None:
        """Stop publishing in the background."""
        self._background.stop()

    @property
    def publish_failure(self) -> AboveboardError | None:
        """Why the background publisher failed at its last attempt, if it did."""
        return self._background.failure

    def latest(self) -> SignedCheckpoint | None:
        """Return the newest checkpoint, if the log has published one."""
        return self._sequencer.latest()

    def checkpoints(self, limit: int = 100) -> list[SignedCheckpoint]:
        """Return the newest checkpoints, newest first."""
        return self._sequencer.checkpoints(limit)

    @property
    def vkey(self) -> str:
        """The public Ed25519 key that auditors pin, as `origin+id+base64`."""
        return self.vkeys[0]

    @property
    def vkeys(self) -> list[str]:
        """All public keys that sign checkpoints: Ed25519 first, then ML-DSA-44 if it is used."""
        return [str(signer.verifier()) for signer in self._signers]

    # -- proofs

    def prove(self, index: int, size: int | None = None) -> InclusionProof:
        """Return the proof that entry `index` is in the tree of the newest checkpoint, or of the one of `size`.

        It reveals nothing about the entry, and works for erased ones. Raises `NotFound`.
        """
        return self._reader.prove(index, size)

    def prove_consistency(self, old: int, new: int | None = None) -> ConsistencyProof:
        """Return the proof that the checkpoint of size `new` (or the newest) extends that of size `old`.

        Raises `NotFound` when no such checkpoint was signed.
        """
        return self._reader.prove_consistency(old, new)

    def receipt(
        self, decision_id: str | None = None, *, index: int | None = None, actor: str, purpose: str
    ) -> Receipt:
        """Return the self-contained receipt of a decision, or of any entry, publishing first where it is needed.

        Raises `NotFound` when there is no such entry, `Erased` when the person was erased.
        """
        return self._reader.receipt(decision_id, index=index, actor=actor, purpose=purpose)

    # -- reading

    def find(self, query: Query, *, actor: str, purpose: str) -> list[Entry]:
        """Return what the index knows of matching entries, newest first; the search itself is logged.

        Finds what has been published. Raises `Misuse` for a malformed query.
        """
        return self._reader.find(query, actor=actor, purpose=purpose)

    def read(self, index: int, *, actor: str, purpose: str) -> Event:
        """Return the event of an entry; the access is logged. Raises `NotFound`, `Erased`."""
        return self._reader.read(index, actor=actor, purpose=purpose)

    def decision(self, decision_id: str, *, actor: str, purpose: str) -> tuple[Decision, Acknowledgement]:
        """Return a decision and the word that was given for it, also before it was published; the access is logged.

        Raises `NotFound`, also where the person was erased before, and `Erased`.
        """
        return self._reader.decision(decision_id, actor=actor, purpose=purpose)

    def history(self, decision_id: str, *, actor: str, purpose: str) -> list[Recorded]:
        """Return all that the log holds about one decision, in its order: the decision first; the access is logged.

        Finds what has been taken in. Empty where there is no such decision, or nobody can read it any more.
        """
        return self._reader.history(decision_id, actor=actor, purpose=purpose)

    def waiting(self, query: CaseQuery, *, actor: str, purpose: str) -> list[Case]:
        """Return decisions that wait for a person; the search is logged. Raises `Misuse` for a limit that is none."""
        return self._reader.waiting(query, actor=actor, purpose=purpose)

    @property
    def queue(self) -> ReviewQueue:
        """The decisions that wait for a person, for counting and deciding; people look with `waiting`."""
        return self._index.queue

    def turn(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock `name` among all processes that write to this log. Not re-entrant."""
        return self._database.lock(name)

    def histories(self, decision_ids: Sequence[str], *, actor: str, purpose: str) -> dict[str, list[Recorded]]:
        """Return what the log holds about each of many decisions, the decision first; one access is logged for all.

        Finds what has been taken in. Decisions that are not there, or that nobody can read any more, are left out.
        """
        return self._reader.histories(decision_ids, actor=actor, purpose=purpose)

    def follow(self, start: int, limit: int = 1000) -> Stretch:
        """Return the next entries from `start` on, about as many as `limit`, as far as they are in order.

        For what treats every event alike and shows nobody anything about a person, as the index does: it is not
        logged as an access. Raises `StorageFailed`, and `NotVerified` when a journal is damaged.
        """
        return self._reader.follow(start, limit)

    def export(self, subject: str, *, actor: str, purpose: str) -> dict[str, Any]:
        """Return everything held about a person, JSON-ready (GDPR art. 15); the access is logged.

        Events about a person, with their place in the log; what bars their erasure, and until when; and who has
        looked at their data. Raises `NotFound` when nothing is held.
        """
        return self._reader.export(subject, actor=actor, purpose=purpose)

    # -- erasure and holds

    def erase(
        self, subject: str, *, actor: str, reason: str, defer: bool = False, override: str | None = None
    ) -> Erasure:
        """Destroy the keys and salts of everything held about a person, as far as the law lets us.

        While a retention period or a hold runs, raises `Retained` with the date; with `defer`, what may go goes
        now, the rest on the day its hold ends. `override` states why it is done all the same, e.g. a court order,
        and stands in the log. Raises `NotFound` when nothing is held about the person.
        """
        self._reader.admit(actor, reason)
        self.take_in()
        return self._eraser.erase(subject, actor=actor, reason=reason, defer=defer, override=override)

    def run_due_erasures(self) -> list[str]:
        """Carry out deferred erasures whose holds have ended, and interrupted ones; return the ids of those done."""
        return self._eraser.run_due()

    def place_hold(self, subject: str, *, until: date, basis: str, actor: str) -> str:
        """Bar a person's erasure until a day, for a stated reason; returns the hold's id."""
        self._reader.admit(actor, basis)
        return self._eraser.place_hold(subject, until=until, basis=basis, actor=actor)

    def lift_hold(self, hold_id: str, *, actor: str, reason: str) -> None:
        """End a hold before its day. Raises `NotFound`."""
        self._reader.admit(actor, reason)
        self._eraser.lift_hold(hold_id, actor=actor, reason=reason)

    # -- upkeep

    def rotate_vault_key(self, *, actor: str, kek: KeyEncryptionKey | None = None) -> int:
        """Wrap every subject key anew, under `kek` if one is given; return how many. Other processes must be
        restarted with the new key-encryption key; until then they refuse to seal."""
        old, new, count = self._vault.rotate(kek)
        self.append(
            KeyRotated(
                time=timestamp(self._clock()), actor=actor, purpose="vault", from_key=old, to_key=new, rewrapped=count
            )
        )
        return count

    def restore_order(self) -> int:
        """Find the order of the log again from what was published, after its database was lost; return the size.

        Raises `Conflict` when the database is not empty, `NotVerified` when things do not belong together.
        """
        keys = [signer.verifier() for signer in self._signers]
        size = restore_order(self._database, self._journals, self._storage, keys, self._clock)
        self._index.catch_up()
        return size

    def rebuild_index(self) -> int:
        """Throw the search index away and build it again; return how many entries it has."""
        return self._index.rebuild()

    def fsck(self) -> FsckReport:
        """Recompute everything from journals and vault, and say exactly what does not fit."""
        return check(
            database=self._database,
            journals=self._journals,
            sequencer=self._sequencer,
            storage=self._storage,
            vault=self._vault,
            keys=[signer.verifier() for signer in self._signers],
        )

    # -- inside

    def _keep_up(self) -> None:
        """Publish, and see to what is due, as the background does in every round."""
        self.publish()
        self.run_due_erasures()
        self.forget_erased()
        self._vault.database.tidy()
        self._database.tidy()
