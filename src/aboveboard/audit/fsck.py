"""The log checked against itself: everything is recomputed from journals and vault, and every difference is named.

A finding is an *error* when something that was acknowledged cannot be had or proved any more, or does not agree with
what was signed; a *note* is what a crash leaves behind and the next run puts right by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from aboveboard.audit import tables
from aboveboard.audit.edge import Edge
from aboveboard.audit.events import SubjectErased
from aboveboard.audit.journal import JournalReader, Place
from aboveboard.audit.note import VerifierKey, parse_checkpoint, verify_note
from aboveboard.audit.sealing import unseal
from aboveboard.audit.segment import GENESIS, Batch, Sealed
from aboveboard.audit.sequencer import Location, Sequencer
from aboveboard.audit.storage import TileStorage
from aboveboard.audit.vault import Vault
from aboveboard.db import Database
from aboveboard.errors import AboveboardError, NotFound, NotVerified

_ROUND = 4096
_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit."""

    code: str
    severity: str
    """`error` or `note`."""
    message: str
    where: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as a JSON-ready document."""
        return {"code": self.code, "severity": self.severity, "message": self.message, "where": self.where}


@dataclass(slots=True)
class FsckReport:
    """What a check looked at, and what it found."""

    journals: int = 0
    batches: int = 0
    entries: int = 0
    unsequenced: int = 0
    """Durable entries that the next publishing will put in order."""
    tiles: int = 0
    checkpoints: int = 0
    readable: int = 0
    erased: int = 0
    root: str = ""
    findings: list[Finding] = field(default_factory=list)
    suppressed: int = 0
    """Findings beyond the first thousand."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.severity == "error" for finding in self.findings)

    def add(self, code: str, message: str, where: str, severity: str = "error") -> None:
        """Note a finding."""
        if len(self.findings) < _SHOWN or (severity == "error" and self.clean):
            self.findings.append(Finding(code, severity, message, where))
        else:
            self.suppressed += 1

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-ready document."""
        counts = ("journals", "batches", "entries", "unsequenced", "tiles", "checkpoints", "readable", "erased")
        return {
            "clean": self.clean,
            **{name: getattr(self, name) for name in counts},
            "root": self.root,
            "findings": [finding.as_dict() for finding in self.findings],
            "suppressed": self.suppressed,
        }


def check(
    *,
    database: Database,
    journals: JournalReader,
    sequencer: Sequencer,
    storage: TileStorage,
    vault: Vault,
    keys: Sequence[VerifierKey],
) -> FsckReport:
    """Check a whole log; a log that is being written to is checked up to where it stood at the beginning."""
    report = FsckReport()
    checker = _Checker(report, database, journals, sequencer, storage, vault, keys)
    checker.tree()
    checker.journals_whole()
    checker.erasures()
    return report


class _Checker:
    def __init__(
        self,
        report: FsckReport,
        database: Database,
        journals: JournalReader,
        sequencer: Sequencer,
        storage: TileStorage,
        vault: Vault,
        keys: Sequence[VerifierKey],
    ) -> None:
        self._report = report
        self._database = database
        self._journals = journals
        self._sequencer = sequencer
        self._storage = storage
        self._vault = vault
        self._keys = keys
        with database.reading() as connection:
            self._tree = connection.execute(select(tables.tree)).one()
            self._cursors = {row.name: row for row in connection.execute(select(tables.journal))}
            rows = connection.execute(select(tables.checkpoint).order_by(tables.checkpoint.c.size)).all()
            self._checkpoints = [(row.size, row.note) for row in rows]
        self._logged: set[str] = set()
        self._destroyed: set[bytes] = set()

    # -- the order, the tree, the tiles, the checkpoints, the records: one pass over all leaves

    def tree(self) -> None:
        """Recompute the tree leaf by leaf, stopping at every signed size to compare."""
        report, edge = self._report, Edge()
        signed = iter(self._checkpoints)
        size, note = next(signed, (None, ""))
        if size == 0:
            self._compare_checkpoint(edge, note)
            size, note = next(signed, (None, ""))
        for sealed in self._rounds(self._tree.size):
            with self._vault.sealing():  # nobody is erased between two questions about them
                self._records(edge.size, sealed)
            position = 0
            while position < len(sealed):
                stop = len(sealed)
                if size is not None:
                    stop = min(stop, position + size - edge.size)
                complete = edge.extend(item.commitment for item in sealed[position:stop])
                self._compare(complete)
                position = stop
                if edge.size == size:
                    self._compare_checkpoint(edge, note)
                    size, note = next(signed, (None, ""))
        report.entries, report.root = edge.size, edge.root().hex()
        if edge.size != self._tree.size:
            report.add("leaves-missing", f"{self._tree.size - edge.size} leaves are not to be had", "log.sqlite")
        elif edge.root() != self._tree.root or edge.encode() != self._tree.edge:
            report.add("tree-differs", "the database's root or edge is not that of the journals", "log.sqlite")
        while size is not None:
            report.add(
                "checkpoint-beyond", f"signed for {size} leaves, but there are {edge.size}", f"checkpoint {size}"
            )
            size, note = next(signed, (None, ""))
        if self._checkpoints:
            self._compare_published(edge)
        if self._tree.sequenced > self._tree.size:
            behind = self._tree.sequenced - self._tree.size
            report.add("not-integrated", f"{behind} ordered leaves are not in tiles yet", "log.sqlite", "note")

    def _rounds(self, end: int) -> Iterator[list[Sealed]]:
        """Yield the sealed entries of all leaves in order, checking the order itself."""
        gathered: list[Sealed] = []
        leaf = 0
        for location, count in self._sequencer.locations(0, end):
            if location.first_leaf != leaf:
                self._report.add("order-gap", f"leaf {leaf} is nowhere", f"leaf {leaf}")
                return
            batch = self._fetch(location)
            if batch is None:
                if gathered:
                    yield gathered
                return
            gathered += batch.entries()
            leaf += count
            if len(gathered) >= _ROUND:
                yield gathered
                gathered = []
        if gathered:
            yield gathered

    def _fetch(self, location: Location) -> Batch | None:
        where = f"journal {location.journal} segment {location.place.segment} byte {location.place.offset}"
        try:
            batch = self._journals.batch(location.journal, location.place)
        except AboveboardError as error:
            self._report.add("batch-missing", error.message, where)
            return None
        if batch.chain != location.chain:
            self._report.add("batch-differs", "not the batch that was put in order", where)
            return None
        return batch

    def _records(self, first: int, sealed: Sequence[Sealed]) -> None:
        """Open what can be opened, and ask why the rest cannot."""
        report = self._report
        key_ids = {item.key_id for item in sealed}
        keys = {}
        try:
            keys = self._vault.keys_by_id(key_ids)
        except NotVerified as error:
            report.add("vault-damaged", error.message, "vault.sqlite")
        gone = self._vault.destroyed(key_ids - keys.keys())
        self._destroyed |= gone.keys()
        for leaf, item in enumerate(sealed, first):
            if key := keys.get(item.key_id):
                try:
                    event = unseal(item, key).event()
                except NotVerified as error:
                    report.add("record-damaged", error.message, f"leaf {leaf}")
                    continue
                report.readable += 1
                if isinstance(event, SubjectErased):
                    self._logged.update(event.subject_keys)
            elif item.key_id in gone:
                report.erased += 1
            else:
                report.add("key-lost", f"key {item.key_id.hex()} is gone and was never erased", f"leaf {leaf}")
        self._index(first, sealed, gone)

    def _index(self, first: int, sealed: Sequence[Sealed], gone: dict[bytes, str]) -> None:
        end = min(first + len(sealed), self._tree.indexed)
        columns = tables.entry.c
        query = select(columns.leaf, columns.key_id, columns.kind, columns.decision_id)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(columns.leaf >= first, columns.leaf < end)).all()
        known = {row.leaf: row for row in rows}
        for leaf in range(first, end):
            row, item = known.get(leaf), sealed[leaf - first]
            if row is None or bytes(row.key_id) != item.key_id:
                self._report.add("index-differs", "the index is wrong; rebuild it", f"leaf {leaf}")
            elif item.key_id in gone and (row.kind is not None or row.decision_id is not None):
                self._report.add("index-remembers", "the index still knows an erased entry", f"leaf {leaf}")

    def _compare(self, files: dict[str, bytes]) -> None:
        for path, content in files.items():
            self._report.tiles += 1
            try:
                if self._storage.get(path) != content:
                    self._report.add("tile-differs", "not what the journals say", path)
            except NotFound:
                self._report.add("tile-missing", "not in storage", path)

    def _compare_checkpoint(self, edge: Edge, note: str) -> None:
        self._report.checkpoints += 1
        where = f"checkpoint {edge.size}"
        try:
            head = parse_checkpoint(verify_note(note, self._keys)[0])
        except NotVerified as error:
            self._report.add("checkpoint-unsigned", error.message, where)
            return
        if (head.origin, head.size, head.root) != (self._tree.origin, edge.size, edge.root()):
            self._report.add("checkpoint-differs", "what was signed is not what the journals say", where)

    def _compare_published(self, edge: Edge) -> None:
        size, note = self._checkpoints[-1]
        if size == edge.size:
            self._compare(edge.partial())
        try:
            published = self._storage.get("checkpoint").decode(errors="replace")
        except NotFound:
            self._report.add("checkpoint-missing", "storage has no checkpoint", "checkpoint")
            return
        if published != note:
            with self._database.reading() as connection:
                known = set(connection.execute(select(tables.checkpoint.c.note)).scalars())
            # One of ours all the same: an older one is replaced at the next publishing, a newer one came meanwhile.
            severity = "note" if published in known else "error"
            self._report.add(
                "checkpoint-stale", "storage has another checkpoint than the database", "checkpoint", severity
            )

    # -- journals from end to end: chains, gaps, what is not in order yet

    def journals_whole(self) -> None:
        """Follow every journal from its first batch."""
        names = self._journals.names()
        for name in self._cursors.keys() - set(names):
            self._report.add("journal-missing", "was sequenced from, and is gone", f"journal {name}")
        for name in names:
            self._report.journals += 1
            try:
                self._journal(name)
            except AboveboardError as error:
                self._report.add("journal-damaged", error.message, f"journal {name}")

    def _journal(self, name: str) -> None:
        with self._database.reading() as connection:
            columns = tables.span.c
            query = select(columns.batch).join(tables.journal, tables.journal.c.id == columns.journal)
            ordered = set(connection.execute(query.where(tables.journal.c.name == name)).scalars())
        cursor = self._cursors.get(name)
        after = None if cursor is None or cursor.segment is None else Place(cursor.segment, cursor.offset)
        chain, number, segment = GENESIS, -1, 0
        for here, _, batch in self._journals.batches(name, None):
            where = f"journal {name} segment {here.segment} byte {here.offset}"
            self._report.batches += 1
            if batch.previous != chain:
                self._report.add("chain-broken", "does not continue the batch before", where)
            # A number is skipped only where a failed batch was given up, which begins a new segment.
            if batch.number != number + 1 and here.segment == segment:
                self._report.add("batch-gap", f"batch {batch.number} follows batch {number}", where)
            chain, number, segment = batch.chain, batch.number, here.segment
            if after is None or here >= after:
                self._report.unsequenced += batch.count
            elif batch.number not in ordered:
                self._report.add("batch-orphaned", "was passed over when the log was put in order", where)

    # -- erasures: every destroyed key has been said in the log

    def erasures(self) -> None:
        """Compare the vault's notes with the log's events."""
        columns = tables.erasure_key.c
        with self._vault.database.reading() as connection:
            query = select(columns.key_id).where(columns.destroyed.is_not(None), columns.logged.is_not(None))
            told = {bytes(key_id) for key_id in connection.execute(query).scalars()}
            open_count = connection.execute(
                select(func.count())
                .select_from(tables.erasure_key)
                .where(columns.destroyed.is_not(None), columns.logged.is_(None))
            ).scalar_one()
        if open_count:
            self._report.add(
                "erasure-unfinished", f"{open_count} keys destroyed, not yet in the log", "vault.sqlite", "note"
            )
        with self._database.reading() as connection:
            waiting = connection.execute(select(tables.review_case.c.decision_id, tables.review_case.c.key_id))
            for decision_id, key_id in waiting:
                if bytes(key_id) in self._destroyed:
                    self._report.add("index-remembers", "an erased decision still waits for a person", decision_id)
        if self._report.unsequenced == 0:
            for key_id in sorted(told & self._destroyed):
                if key_id.hex() not in self._logged:
                    self._report.add("erasure-unlogged", "destroyed without a word in the log", f"key {key_id.hex()}")
