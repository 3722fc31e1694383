"""The order of the log, found again from what was published, after the loss of its database.

The signed checkpoint says what the root is, the entry bundles say which commitment stands where, and the journals say
which batch a commitment came from. The search index follows from these; the vault has to be restored by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update

from aboveboard.audit import tables
from aboveboard.audit.edge import Edge
from aboveboard.audit.journal import JournalReader, Place
from aboveboard.audit.note import VerifierKey, parse_checkpoint, verify_note
from aboveboard.audit.segment import Batch
from aboveboard.audit.storage import TileStorage
from aboveboard.audit.tiles import WIDTH, bundle_path, parse_bundle
from aboveboard.clock import Clock, timestamp
from aboveboard.db import Database
from aboveboard.errors import Conflict, NotVerified

_CHUNK = 5000


def restore_order(
    database: Database, journals: JournalReader, storage: TileStorage, keys: Sequence[VerifierKey], clock: Clock
) -> int:
    """Put the published order back into an empty log database, and return the size of the tree.

    Raises `Conflict` when the database has an order already, `NotVerified` when checkpoint, bundles and journals do
    not belong together, and `NotFound` when nothing was published.
    """
    note = storage.get("checkpoint").decode(errors="replace")
    head = parse_checkpoint(verify_note(note, keys)[0])
    with database.lock("sequencer"):
        with database.reading() as connection:
            tree = connection.execute(select(tables.tree)).one()
        if tree.sequenced:
            raise Conflict("this log's database has an order already", hint="move log.sqlite away, then try again")
        if tree.origin != head.origin:
            raise NotVerified(
                f"what is published is the log {head.origin}, not {tree.origin}",
                hint="say where this log is published",
            )
        leaves, edge = _published(storage, head.size)
        if edge.root() != head.root:
            raise NotVerified(
                "the published entries do not lead to the signed root",
                hint="restore the tiles, and see the runbook on disk loss",
            )
        spans, cursors = _spans(journals, leaves)
        with database.writing() as connection:
            ids = {}
            for name, (place, next_batch) in cursors.items():
                values = {"name": name, "segment": place.segment, "offset": place.offset, "next_batch": next_batch}
                statement = insert(tables.journal).values(values).returning(tables.journal.c.id)
                ids[name] = connection.execute(statement).scalar_one()
            for row in spans:
                row["journal"] = ids[row.pop("name")]
            for start in range(0, len(spans), _CHUNK):
                connection.execute(insert(tables.span), spans[start : start + _CHUNK])
            connection.execute(
                update(tables.tree).values(sequenced=head.size, size=head.size, root=head.root, edge=edge.encode())
            )
            connection.execute(insert(tables.checkpoint).values(size=head.size, time=timestamp(clock()), note=note))
    return head.size


def _published(storage: TileStorage, size: int) -> tuple[list[bytes], Edge]:
    """Return all leaves from the entry bundles, and the edge of their tree."""
    leaves: list[bytes] = []
    edge = Edge()
    for number in range((size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, size - number * WIDTH)
        entries = parse_bundle(storage.get(bundle_path(number, width)), width)
        edge.extend(entries)
        leaves += entries
    return leaves, edge


def _spans(
    journals: JournalReader, leaves: Sequence[bytes]
) -> tuple[list[dict[str, Any]], dict[str, tuple[Place, int]]]:
    """Find the batch that each run of leaves came from, and up to where each journal was taken in."""
    batches: dict[bytes, tuple[str, Place, Place, Batch]] = {}
    for name in journals.names():
        for here, there, batch in journals.batches(name, None):
            batches[batch.commitments()[0]] = (name, here, there, batch)
    spans: list[dict[str, Any]] = []
    cursors: dict[str, tuple[Place, int]] = {}
    leaf = 0
    while leaf < len(leaves):
        found = batches.get(leaves[leaf])
        if found is None or found[3].commitments() != list(leaves[leaf : leaf + found[3].count]):
            raise NotVerified(
                f"no journal holds the batch of leaf {leaf}", hint="restore the journals first", leaf=leaf
            )
        name, here, there, batch = found
        spans.append(
            {
                "name": name,
                "first_leaf": leaf,
                "leaves": batch.count,
                "batch": batch.number,
                "first_ordinal": batch.first_ordinal,
                "segment": here.segment,
                "offset": here.offset,
                "chain": batch.chain,
            }
        )
        cursors[name] = (there, batch.number + 1)
        leaf += batch.count
    return spans, cursors
