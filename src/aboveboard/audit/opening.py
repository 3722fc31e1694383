"""What a log is put together from, and where each part is: in files of one directory, or in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aboveboard.audit.journal import JournalReader, JournalWriter
from aboveboard.audit.journal_files import SEGMENT_BYTES, Disk, FileJournalReader, FileJournalWriter
from aboveboard.audit.kek import KeyEncryptionKey
from aboveboard.audit.tables import LOG_HEAD, MIGRATIONS
from aboveboard.audit.vault import Vault
from aboveboard.clock import Clock
from aboveboard.db import Database


@dataclass(frozen=True, slots=True)
class Options:
    """How a log is run; the defaults suit a decision server."""

    queue_capacity: int = 20_000
    largest_group: int = 512
    segment_bytes: int = SEGMENT_BYTES
    retry_seconds: float = 0.5
    """How long to wait before a journal that failed is tried again."""
    append_timeout: float = 60.0
    post_quantum: bool = True
    """Sign checkpoints with ML-DSA-44 beside Ed25519 (C2SP tlog-checkpoint: logs SHOULD)."""
    readers: frozenset[str] | None = None
    """Who may read, search, export and erase; None leaves that to the caller. A confidential log has readers, and
    only such a log takes events that must not appear in a general one, such as suspicions."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a log keeps what it writes: the journals, the keys to them, and their order with the index."""

    vault: Vault
    database: Database
    journals: JournalReader
    open_journal: Callable[[], JournalWriter]
    """Begins the journal of this process, or goes on with it."""

    def close(self) -> None:
        """Close everything."""
        self.vault.close()
        self.database.close()
        self.journals.close()


def open_files(
    directory: Path, writer: str, key: KeyEncryptionKey, clock: Clock, *, disk: Disk | None, segment_bytes: int
) -> Parts:
    """Open the parts in `directory`, making them when there are none; `writer` names this process's journal.

    Raises `StorageFailed`, and `NotVerified` when the key is not the vault's.
    """
    with ExitStack() as undo:  # what is open already is closed again when the rest cannot be opened
        vault = Vault.sqlite(directory, key, clock)
        undo.callback(vault.close)
        database = Database.sqlite(
            directory / "log.sqlite", migrations=MIGRATIONS / "log", head=LOG_HEAD, secure_delete=True
        )
        undo.pop_all()
    root = directory / "journals"
    open_journal = partial(FileJournalWriter.open, root, writer, disk=disk, segment_bytes=segment_bytes)
    return Parts(vault, database, FileJournalReader(root), open_journal)


def open_postgresql(url: str, writer: str, key: KeyEncryptionKey, clock: Clock) -> Parts:
    """Open the parts in the database at `url`, making them when there are none. Raises as `open_files` does."""
    from aboveboard.audit.journal_postgres import PostgresJournals

    with ExitStack() as undo:
        vault = Vault.postgresql(url, key, clock)
        undo.callback(vault.close)
        database = Database.postgresql(url, migrations=MIGRATIONS / "log", head=LOG_HEAD, schema="audit_log")
        undo.callback(database.close)
        journals = PostgresJournals(url)
        undo.pop_all()
    return Parts(vault, database, journals, partial(journals.open_writer, writer))
