"""Reading the log: proofs, receipts, search and export. Whoever looks at personal data leaves a trace of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from aboveboard.audit.committer import Acknowledgement
from aboveboard.audit.events import Decision, Event, Personal, PersonalDataAccessed
from aboveboard.audit.index import Entry, Index, Query
from aboveboard.audit.journal import JournalReader
from aboveboard.audit.proof import RECEIPT_VERSION, ConsistencyProof, InclusionProof, Prover, Receipt
from aboveboard.audit.retention import Hold
from aboveboard.audit.review import Case
from aboveboard.audit.review_queue import CaseQuery
from aboveboard.audit.sealing import Opened, unseal
from aboveboard.audit.segment import Sealed
from aboveboard.audit.sequencer import Sequencer, SignedCheckpoint
from aboveboard.audit.vault import Vault
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import Misuse, NotAuthorised, NotFound, NotVerified

_LONGEST_HISTORY = 100_000


class Erased(NotFound):
    """The entry is there and provable, but the person it was about has been erased."""

    code = "erased"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event of the log, where it stands, and the word that was given for it."""

    index: int
    event: Event
    receipt: Acknowledgement


@dataclass(frozen=True, slots=True)
class Stretch:
    """What stands in a stretch of the log, in its order."""

    events: list[tuple[int, Event]]
    """Every event that can be read, with its place."""
    end: int
    """Where the next stretch begins."""
    unreadable: int
    """Entries of persons who have been erased, and damaged ones, which are fsck's to report."""
    sequenced: int
    """How many entries are in order by now."""

    @property
    def more(self) -> bool:
        """Whether there are entries after these."""
        return self.end < self.sequenced


class Reader:
    """Answers from journals, tiles, vault and index; appends an event for every look at personal data."""

    def __init__(
        self,
        *,
        origin: str,
        vault: Vault,
        journals: JournalReader,
        sequencer: Sequencer,
        index: Index,
        prover: Prover,
        clock: Clock,
        readers: frozenset[str] | None,
        append: Callable[[Event], object],
        publish: Callable[[], SignedCheckpoint],
        holds: Callable[[str], Sequence[Hold]],
    ) -> None:
        self._origin = origin
        self._vault = vault
        self._journals = journals
        self._sequencer = sequencer
        self._index = index
        self._prover = prover
        self._clock = clock
        self._readers = readers
        self._append = append
        self._publish = publish
        self._holds = holds

    def admit(self, actor: str, purpose: str) -> None:
        """Refuse whoever does not say who they are and what for, or is not among the readers."""
        if not actor or not purpose:
            raise Misuse(
                "access to personal data names who, and what for", hint="give an actor and a purpose; both are logged"
            )
        if self._readers is not None and actor not in self._readers:
            raise NotAuthorised(f"{actor} is not among the readers of this log", hint="its keeper can add a reader")

    def prove(self, index: int, size: int | None = None) -> InclusionProof:
        """Return the proof that entry `index` is in the tree of the newest checkpoint, or of the one of `size`.

        It reveals nothing about the entry, and works for erased ones. Raises `NotFound`.
        """
        checkpoint = self._checkpoint(size)
        if not 0 <= index < checkpoint.size:
            raise NotFound(
                f"entry {index} is not in the checkpoint of size {checkpoint.size}",
                index=index,
                hint="entries are counted from 0; ask under a newer checkpoint",
            )
        sealed = self._sealed(index)
        path = self._prover.inclusion(checkpoint, index, sealed.commitment)
        return InclusionProof(
            self._origin, index, sealed.commitment.hex(), [part.hex() for part in path], checkpoint.note
        )

    def prove_consistency(self, old: int, new: int | None = None) -> ConsistencyProof:
        """Return the proof that the checkpoint of size `new` (or the newest) extends that of size `old`.

        Raises `NotFound` when no such checkpoint was signed.
        """
        before, after = self._checkpoint(old), self._checkpoint(new)
        if before.size > after.size:
            raise Misuse("the old checkpoint is larger than the new one", hint="name the smaller size first")
        path = self._prover.consistency(before, after)
        return ConsistencyProof(self._origin, [part.hex() for part in path], before.note, after.note)

    def receipt(
        self, decision_id: str | None = None, *, index: int | None = None, actor: str, purpose: str
    ) -> Receipt:
        """Return the self-contained receipt of a decision, or of any entry, publishing first where it is needed.

        Raises `NotFound` when there is no such entry, `Erased` when the person was erased.
        """
        self.admit(actor, purpose)
        leaf = self._leaf(decision_id, index)
        checkpoint = self._checkpoint(None)
        if leaf >= checkpoint.size:
            checkpoint = self._publish()
        sealed = self._sealed(leaf)
        opened = self._open(leaf, sealed)
        path = self._prover.inclusion(checkpoint, leaf, sealed.commitment)
        if isinstance(opened.event(), Personal):
            self._accessed("receipt", actor, purpose, [sealed.key_id])
        return Receipt(
            RECEIPT_VERSION,
            self._origin,
            leaf,
            msgspec.json.decode(opened.record),
            opened.salt.hex(),
            [part.hex() for part in path],
            checkpoint.note,
        )

    def find(self, query: Query, *, actor: str, purpose: str) -> list[Entry]:
        """Return what the index knows of matching entries, newest first; the search itself is logged.

        Finds what has been published. Raises `Misuse` for a malformed query.
        """
        self.admit(actor, purpose)
        found = self._index.find(query)
        personal = [bytes.fromhex(entry.key_id) for entry in found if entry.subject is not None]
        if personal or query.subject is not None:
            self._accessed("search", actor, purpose, personal, query=" ".join(query.fields()))
        return found

    def read(self, index: int, *, actor: str, purpose: str) -> Event:
        """Return the event of an entry; the access is logged. Raises `NotFound`, `Erased`."""
        self.admit(actor, purpose)
        sealed = self._sealed(index)
        event = self._open(index, sealed).event()
        if isinstance(event, Personal) or self._readers is not None:
            self._accessed("read", actor, purpose, [sealed.key_id])
        return event

    def decision(self, decision_id: str, *, actor: str, purpose: str) -> tuple[Decision, Acknowledgement]:
        """Return a decision and the word that was given for it, taking in what is durable where that is needed.

        The access is logged. Raises `NotFound`, also where the person was erased before, and `Erased`.
        """
        self.admit(actor, purpose)
        query = Query(decision_id=decision_id, kind="decision/1", limit=1)
        found = self._index.find(query)
        if not found:
            self._sequencer.integrate()
            self._index.catch_up()
            found = self._index.find(query)
        if not found:
            raise NotFound(f"the log has no decision {decision_id}", hint="was the person erased meanwhile?")
        leaf = found[0].index
        location = self._sequencer.locate(leaf)
        batch = self._journals.batch(location.journal, location.place)
        sealed = next(islice(batch.entries(), location.position, None))
        event = self._open(leaf, sealed).event()
        if not isinstance(event, Decision):  # the query asked for this kind
            raise NotVerified(f"entry {leaf} is not the decision the index says it is", hint="rebuild the index")
        self._accessed("read", actor, purpose, [sealed.key_id])
        ordinal = batch.first_ordinal + location.position
        return event, Acknowledgement(location.journal, batch.number, ordinal, sealed.commitment.hex())

    def waiting(self, query: CaseQuery, *, actor: str, purpose: str) -> list[Case]:
        """Return decisions that wait for a person; the search is logged. Raises `Misuse` for a limit that is none."""
        self.admit(actor, purpose)
        found = self._index.queue.find(query)
        if found:
            self._accessed("search", actor, purpose, [case.key_id for case in found], query="model")
        return found

    def history(self, decision_id: str, *, actor: str, purpose: str) -> list[Recorded]:
        """Return all that the log holds about one decision, in its order: the decision first; the access is logged.

        Finds what has been taken in. Empty where there is no such decision, or nobody can read it any more: then
        nothing that was said about it is told either.
        """
        self.admit(actor, purpose)
        recorded, key_ids = [], []
        for entry in reversed(self._index.find(Query(decision_id=decision_id, limit=_LONGEST_HISTORY))):
            location = self._sequencer.locate(entry.index)
            batch = self._journals.batch(location.journal, location.place)
            sealed = next(islice(batch.entries(), location.position, None))
            with suppress(Erased):  # since it was found
                event = self._open(entry.index, sealed).event()
                ordinal = batch.first_ordinal + location.position
                receipt = Acknowledgement(location.journal, batch.number, ordinal, sealed.commitment.hex())
                recorded.append(Recorded(entry.index, event, receipt))
                key_ids.append(sealed.key_id)
        if not recorded or not isinstance(recorded[0].event, Decision):
            return []
        self._accessed("read", actor, purpose, key_ids)
        return recorded

    def histories(self, decision_ids: Sequence[str], *, actor: str, purpose: str) -> dict[str, list[Recorded]]:
        """Return what the log holds about each of many decisions, as `history` does; one access is logged for all.

        Decisions that are not there, or that nobody can read any more, are left out.
        """
        self.admit(actor, purpose)
        sealed: list[tuple[str, int, Sealed, Acknowledgement]] = []
        batch: list[Sealed] = []
        first = number = ordinal = 0
        writer = ""
        for leaf, decision_id in self._index.leaves_about(list(dict.fromkeys(decision_ids))):
            if not first <= leaf < first + len(batch):
                location = self._sequencer.locate(leaf)
                read = self._journals.batch(location.journal, location.place)
                batch, first = list(read.entries()), location.first_leaf
                writer, number, ordinal = location.journal, read.number, read.first_ordinal
            item = batch[leaf - first]
            receipt = Acknowledgement(writer, number, ordinal + leaf - first, item.commitment.hex())
            sealed.append((decision_id, leaf, item, receipt))
        keys = self._vault.keys_by_id(item.key_id for _, _, item, _ in sealed)
        found: dict[str, list[Recorded]] = {}
        key_ids: list[bytes] = []
        for decision_id, leaf, item, receipt in sealed:
            if key := keys.get(item.key_id):
                with suppress(NotVerified):  # one damaged record must not hide the others; fsck reports it
                    event = unseal(item, key).event()
                    if isinstance(event, Decision) or decision_id in found:
                        found.setdefault(decision_id, []).append(Recorded(leaf, event, receipt))
                        key_ids.append(item.key_id)
        if found:
            self._accessed("read", actor, purpose, key_ids)
        return found

    def follow(self, start: int, limit: int) -> Stretch:
        """Return the next entries from `start` on, about as many as `limit`, as far as they are in order.

        For what treats every event alike and shows nobody anything about a person, as the index does: it is not
        logged as an access.
        """
        sequenced = self._sequencer.sequenced()
        end = min(sequenced, start + limit)
        sealed: list[tuple[int, Sealed]] = []
        for location, _ in self._sequencer.locations(start, end):
            batch = self._journals.batch(location.journal, location.place)
            numbered = enumerate(batch.entries(), start=location.first_leaf)
            sealed += [(leaf, item) for leaf, item in numbered if start <= leaf < end]
        keys = self._vault.keys_by_id(item.key_id for _, item in sealed)
        found: list[tuple[int, Event]] = []
        for leaf, item in sealed:
            if key := keys.get(item.key_id):
                with suppress(NotVerified):
                    found.append((leaf, unseal(item, key).event()))
        return Stretch(found, max(start, end), len(sealed) - len(found), sequenced)

    def export(self, subject: str, *, actor: str, purpose: str) -> dict[str, Any]:
        """Return everything held about a person, JSON-ready (GDPR art. 15); the access is logged.

        Events about a person, with their place in the log; what bars their erasure, and until when; and who has
        looked at their data. Raises `NotFound` when nothing is held.
        """
        self.admit(actor, purpose)
        if not (key_ids := self._vault.ids_of(subject)):
            raise NotFound("nothing is held about this person", hint="is it their token (sub-…)?")
        self._sequencer.integrate()
        self._index.catch_up()
        entries = []
        for leaf in self._index.leaves_of(key_ids):
            record = self._open(leaf, self._sealed(leaf)).record
            entries.append({"index": leaf, "event": msgspec.json.decode(record)})
        accesses = self._accesses(key_ids)
        self._accessed("export", actor, purpose, key_ids)
        return {
            "origin": self._origin,
            "subject": subject,
            "time": timestamp(self._clock()),
            "entries": entries,
            "accesses": accesses,
            "holds": [{"basis": hold.basis, "until": str(hold.until)} for hold in self._holds(subject)],
        }

    # -- inside

    def _checkpoint(self, size: int | None) -> SignedCheckpoint:
        if size is not None:
            return self._sequencer.checkpoint(size)
        return self._sequencer.latest() or self._publish()

    def _sealed(self, index: int) -> Sealed:
        location = self._sequencer.locate(index)
        batch = self._journals.batch(location.journal, location.place)
        for position, item in enumerate(batch.entries()):
            if position == location.position:
                return item
        raise NotFound(f"the log has no entry {index}", index=index)

    def _open(self, index: int, sealed: Sealed) -> Opened:
        if key := self._vault.keys_by_id([sealed.key_id]).get(sealed.key_id):
            return unseal(sealed, key)
        raise Erased(
            f"entry {index} is in the log, but the person it was about has been erased",
            hint=f"its place can still be proved: aboveboard audit prove {index}",
            index=index,
        )

    def _leaf(self, decision_id: str | None, index: int | None) -> int:
        if (decision_id is None) == (index is None):
            raise Misuse("name a decision or an index")
        if decision_id is None:
            return index or 0
        query = Query(decision_id=decision_id, kind="decision/1", limit=1)
        found = self._index.find(query)
        if not found:
            self._publish()
            found = self._index.find(query)
        if not found:
            raise NotFound(f"the log has no decision {decision_id}", hint="was the person erased meanwhile?")
        return found[0].index

    def _accesses(self, key_ids: Sequence[bytes]) -> list[dict[str, Any]]:
        """Return who has looked at data sealed under the given keys, from the log itself."""
        found = []
        for leaf in self._index.mentions_of(key_ids):
            event = self._open(leaf, self._sealed(leaf)).event()
            if isinstance(event, PersonalDataAccessed):
                said = {"time": event.time, "actor": event.actor, "purpose": event.purpose, "action": event.action}
                found.append({"index": leaf, **said})
        return found

    def _accessed(self, action: str, actor: str, purpose: str, key_ids: Sequence[bytes], query: str = "") -> None:
        self._append(
            PersonalDataAccessed(
                time=timestamp(self._clock()),
                actor=actor,
                purpose=purpose,
                action=action,
                entries=len(key_ids),
                subject_keys=sorted({key_id.hex() for key_id in key_ids}),
                query=query,
            )
        )
