"""From many journals to one tree: order, integrate, publish, sign.

1. *Order*: new batches of every journal are given their places in one database transaction, which also moves each
   journal's cursor. That transaction is the only source of the order, so nothing is sequenced twice or left out.
2. *Integrate*: leaves in order become tiles, written to storage; then the database notes the new size and edge.
   Stopped in between, the same tiles are computed and written again.
3. *Publish*: partial tiles, then the signed checkpoint. A checkpoint is only signed over tiles that are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from aboveboard.audit import tables
from aboveboard.audit.edge import Edge
from aboveboard.audit.journal import JournalReader, Place
from aboveboard.audit.note import (
    Checkpoint,
    Signature,
    SigningKey,
    VerifierKey,
    format_note,
    parse_checkpoint,
    parse_note,
)
from aboveboard.audit.storage import TileStorage
from aboveboard.clock import Clock, timestamp
from aboveboard.db import Database
from aboveboard.errors import Conflict, NotFound, NotVerified

_ROUND = 65_536
"""How many leaves are ordered and integrated in one go."""

Cosign = Callable[[str, "Checkpoint"], Sequence[Signature]]
"""Collects signatures of witnesses on a checkpoint's note; raises when there are too few."""


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A tree head the log has signed."""

    origin: str
    size: int
    root: bytes
    time: str
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Return the checkpoint as a JSON-ready document."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "time": self.time,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Location:
    """Where a leaf's sealed entry is."""

    leaf: int
    journal: str
    place: Place
    position: int
    """Which entry of the batch."""
    first_leaf: int
    """The leaf of the batch's first entry."""
    chain: bytes


class Sequencer:
    """Grows one tree from all journals. Any process may run it; a lock lets one at a time."""

    def __init__(
        self,
        database: Database,
        journals: JournalReader,
        storage: TileStorage,
        signers: Sequence[SigningKey],
        *,
        origin: str,
        clock: Clock,
        cosign: Cosign | None = None,
    ) -> None:
        self._database = database
        self._journals = journals
        self._storage = storage
        self._signers = signers
        self._origin = origin
        self._clock = clock
        self._cosign = cosign
        self._published: str | None = None
        self._recognised = False
        self._begin_log()

    def publish(self) -> SignedCheckpoint:
        """Take in everything that is durable, and return the checkpoint that covers it.

        Raises `NotVerified` when a journal is damaged or storage holds something else, and `StorageFailed`.
        """
        with self._database.lock("sequencer"):
            return self._sign(self._grow())

    def integrate(self) -> int:
        """Take in everything that is durable without signing anything; return the size of the tree."""
        with self._database.lock("sequencer"):
            return self._grow().size

    def sequenced(self) -> int:
        """Return how many leaves are in order."""
        with self._database.reading() as connection:
            return int(connection.execute(select(tables.tree.c.sequenced)).scalar_one())

    def latest(self) -> SignedCheckpoint | None:
        """Return the newest checkpoint, if there is one."""
        return next(iter(self.checkpoints(1)), None)

    def checkpoints(self, limit: int) -> list[SignedCheckpoint]:
        """Return the newest checkpoints, newest first."""
        columns = tables.checkpoint.c
        query = select(columns.time, columns.note).order_by(columns.size.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_signed(time, note) for time, note in connection.execute(query)]

    def checkpoint(self, size: int) -> SignedCheckpoint:
        """Return the checkpoint of a size. Raises `NotFound`."""
        columns = tables.checkpoint.c
        with self._database.reading() as connection:
            row = connection.execute(select(columns.time, columns.note).where(columns.size == size)).first()
        if row is None:
            raise NotFound(
                f"the log has signed no checkpoint of size {size}", hint="see `aboveboard audit checkpoints`"
            )
        return _signed(row.time, row.note)

    def locate(self, leaf: int) -> Location:
        """Return where the entry of a leaf is. Raises `NotFound`."""
        columns = tables.span.c
        query = self._spans().where(columns.first_leaf <= leaf).order_by(columns.first_leaf.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None or leaf >= row.first_leaf + row.leaves:
            raise NotFound(f"the log has no entry {leaf}", index=leaf)
        return _location(row, leaf)

    def locations(self, start: int, end: int) -> Iterator[tuple[Location, int]]:
        """Yield the batches that hold leaves from `start` up to `end`, in order, each with its number of entries."""
        columns = tables.span.c
        while start < end:
            query = (
                self._spans()
                .where(columns.first_leaf + columns.leaves > start, columns.first_leaf < end)
                .where(columns.first_leaf > start - 1_000_000)
                .order_by(columns.first_leaf)
                .limit(1000)
            )
            with self._database.reading() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            for row in rows:
                yield _location(row, row.first_leaf), row.leaves
                start = row.first_leaf + row.leaves

    # -- inside

    @staticmethod
    def _spans() -> Any:
        return select(tables.span, tables.journal.c.name).join(
            tables.journal, tables.journal.c.id == tables.span.c.journal
        )

    def _begin_log(self) -> None:
        columns = tables.tree.c
        with self._database.reading() as connection:
            origin = connection.execute(select(columns.origin)).scalar()
        if origin is None:
            with self._database.lock("sequencer"), self._database.writing() as connection:
                if connection.execute(select(func.count()).select_from(tables.tree)).scalar() == 0:
                    empty = Edge()
                    connection.execute(
                        insert(tables.tree).values(
                            id=1,
                            origin=self._origin,
                            sequenced=0,
                            size=0,
                            root=empty.root(),
                            edge=empty.encode(),
                            indexed=0,
                        )
                    )
            return self._begin_log()
        if origin != self._origin:
            raise NotVerified(
                f"this log is {origin}, not {self._origin}: a log keeps its name", hint=f"open it as {origin}"
            )
        return None

    def _edge(self) -> tuple[Edge, int]:
        columns = tables.tree.c
        with self._database.reading() as connection:
            row = connection.execute(select(columns.sequenced, columns.size, columns.edge, columns.root)).one()
        edge = Edge.decode(row.size, row.edge)
        if edge.root() != row.root:
            raise NotVerified(
                "the log's database is damaged: root and edge disagree", hint="run `aboveboard audit fsck`"
            )
        return edge, row.sequenced

    def _grow(self) -> Edge:
        """Order and integrate what is new, round by round, until nothing is."""
        if self._published is None:
            self._published = self._known_checkpoint()
        edge, sequenced = self._edge()
        if edge.size < sequenced:
            self._integrate_again(edge, sequenced)
        while commitments := self._order(edge.size):
            self._integrate(edge, commitments)
        return edge

    def _known_checkpoint(self) -> str | None:
        """Return the published checkpoint, which must be one this database knows of.

        Otherwise the database was lost or replaced by an old one, and whatever it put in order now could contradict
        what has been signed: "a log MUST not sign any checkpoint which is inconsistent" (C2SP tlog-checkpoint).
        """
        try:
            note = self._storage.get("checkpoint").decode(errors="replace")
        except NotFound:
            return None
        head = parse_checkpoint(parse_note(note)[0])
        try:
            known = self.checkpoint(head.size)
        except NotFound:
            known = None
        if known is None or known.root != head.root:
            raise NotVerified(
                f"a checkpoint of size {head.size} is published that this log's database does not know",
                hint="the database was lost or is an old copy: see 'restore' in the runbook",
                size=head.size,
            )
        return note

    def _order(self, size: int) -> list[bytes]:
        """Give places to the next batches of every journal, in one transaction, and return their leaves."""
        with self._database.reading() as connection:
            cursors = {row.name: row for row in connection.execute(select(tables.journal))}
        commitments: list[bytes] = []
        spans: list[dict[str, Any]] = []
        moved: dict[str, tuple[Place, int]] = {}
        for name in self._journals.names():
            cursor = cursors.get(name)
            after = (
                Place(cursor.segment, cursor.offset) if cursor is not None and cursor.segment is not None else None
            )
            next_batch = cursor.next_batch if cursor is not None else 0
            for here, there, batch in self._journals.batches(name, after):
                if batch.number < next_batch:
                    raise NotVerified(f"journal {name}: batch {batch.number} comes again", journal=name)
                spans.append(
                    {
                        "name": name,
                        "first_leaf": size + len(commitments),
                        "leaves": batch.count,
                        "batch": batch.number,
                        "first_ordinal": batch.first_ordinal,
                        "segment": here.segment,
                        "offset": here.offset,
                        "chain": batch.chain,
                    }
                )
                commitments += batch.commitments()
                next_batch = batch.number + 1
                moved[name] = (there, next_batch)
                if len(commitments) >= _ROUND:
                    break
            if len(commitments) >= _ROUND:
                break
        if spans:
            self._commit_order(spans, moved, size + len(commitments))
        return commitments

    def _commit_order(self, spans: list[dict[str, Any]], moved: dict[str, tuple[Place, int]], sequenced: int) -> None:
        with self._database.writing() as connection:
            ids: dict[str, int] = {}
            for name, (place, next_batch) in moved.items():
                values = {"segment": place.segment, "offset": place.offset, "next_batch": next_batch}
                found = connection.execute(
                    update(tables.journal)
                    .where(tables.journal.c.name == name)
                    .values(values)
                    .returning(tables.journal.c.id)
                ).scalar()
                if found is None:
                    found = connection.execute(
                        insert(tables.journal).values(name=name, **values).returning(tables.journal.c.id)
                    ).scalar_one()
                ids[name] = found
            for row in spans:
                row["journal"] = ids[row.pop("name")]
            connection.execute(insert(tables.span), spans)
            connection.execute(update(tables.tree).values(sequenced=sequenced))

    def _integrate(self, edge: Edge, commitments: Sequence[bytes]) -> None:
        self._storage.put(edge.extend(commitments))
        with self._database.writing() as connection:
            connection.execute(update(tables.tree).values(size=edge.size, root=edge.root(), edge=edge.encode()))

    def _integrate_again(self, edge: Edge, sequenced: int) -> None:
        """Finish what an earlier run put in order but did not integrate, from the journals."""
        leaves: list[bytes] = []
        for location, count in self.locations(edge.size, sequenced):
            found = self._journals.batch(location.journal, location.place).commitments()
            if len(found) != count or location.first_leaf != edge.size + len(leaves):
                raise NotVerified(
                    f"journal {location.journal} has changed since it was sequenced",
                    hint="run aboveboard audit fsck, and see the runbook",
                )
            leaves += found
            if len(leaves) >= _ROUND:
                self._integrate(edge, leaves)
                leaves = []
        if leaves:
            self._integrate(edge, leaves)

    def _sign(self, edge: Edge) -> SignedCheckpoint:
        latest = self.latest()
        if latest is not None and not self._recognised:
            if not signed_by(latest.note, self._signers[0].verifier()):
                raise other_signing_key(self._origin)
            self._recognised = True
        if latest is None or latest.size != edge.size:
            head = Checkpoint(self._origin, edge.size, edge.root())
            if latest is not None and latest.size > head.size:
                raise NotVerified(
                    f"a checkpoint of size {latest.size} is signed, but the tree has {head.size} leaves",
                    hint="an old database was restored; see the runbook",
                )
            self._storage.put(edge.partial())
            now = self._clock()
            signatures = [key.sign(head.text(), int(now.timestamp())) for key in self._signers]
            note = format_note(head.text(), signatures)
            if self._cosign is not None:
                note += "".join(signature.line() for signature in self._cosign(note, head))
            latest = SignedCheckpoint(self._origin, head.size, head.root, timestamp(now), note)
            with self._database.writing() as connection:
                connection.execute(
                    insert(tables.checkpoint).values(size=latest.size, time=latest.time, note=latest.note)
                )
        if self._published != latest.note:
            try:
                self._storage.put_checkpoint(latest.note)
            except Conflict:
                # Another process had its turn since ours. If it publishes this log, our database knows what it put.
                self._known_checkpoint()
                self._storage.put_checkpoint(latest.note)
            self._published = latest.note
        return latest


def signed_by(note: str, key: VerifierKey) -> bool:
    """Tell whether a note names `key` as a signer, or nobody of its name; no signature is checked."""
    signers = {signature.key_id for signature in parse_note(note)[1] if signature.name == key.name}
    return not signers or key.key_id in signers


def other_signing_key(origin: str) -> NotVerified:
    """Return the error that says that this process has other signing keys than those its log is signed with."""
    return NotVerified(
        f"the checkpoints of {origin} were signed with another key than the one here",
        hint="a log has one signing key: restore it, or point ABOVEBOARD_LOG_KEYS at the directory that holds it",
    )


def _signed(time: str, note: str) -> SignedCheckpoint:
    head = parse_checkpoint(parse_note(note)[0])
    return SignedCheckpoint(head.origin, head.size, head.root, time, note)


def _location(row: Row[Any], leaf: int) -> Location:
    return Location(
        leaf, row.name, Place(row.segment, row.offset), leaf - row.first_leaf, row.first_leaf, bytes(row.chain)
    )
