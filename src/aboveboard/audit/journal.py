"""Where an event is made durable before anyone is told so: what every journal promises.

One journal has one writer at a time (an exclusive lock says so) and any number of readers. `journal_files` and
`journal_postgres` keep the promise, and the same contract tests hold both to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from aboveboard.audit.segment import Batch, Sealed


class Place(NamedTuple):
    """Where a batch begins: a segment and an offset in it (in a database, 0 and the batch's number)."""

    segment: int
    offset: int


class Written(NamedTuple):
    """What became durable: the batch and the ordinal of its first entry within the journal."""

    batch: int
    first_ordinal: int


class JournalWriter(Protocol):
    """Makes groups of sealed entries durable, one after the other. Used by one thread."""

    @property
    def name(self) -> str:
        """The journal's name."""

    def write(self, entries: Sequence[Sealed]) -> Written:
        """Return once `entries` are durable, or raise `StorageFailed`, after which `recover` must succeed first."""

    def recover(self) -> None:
        """Make the journal writable again after a failure of its own, or raise `StorageFailed`."""

    def close(self) -> None:
        """Give the journal up to the next writer."""


class JournalReader(Protocol):
    """Reads every journal there is, wherever its writer runs."""

    def names(self) -> list[str]:
        """Return the names of all journals, sorted."""

    def batches(self, name: str, after: Place | None) -> Iterator[tuple[Place, Place, Batch]]:
        """Yield durable batches from `after` on, each with where it begins and where to go on.

        Raises `NotVerified` where the journal is damaged, `StorageFailed` where it cannot be read.
        """

    def batch(self, name: str, place: Place) -> Batch:
        """Return the batch that begins at `place`. Raises `NotVerified` when it is not there unharmed."""

    def close(self) -> None:
        """Give up what reading holds on to."""
