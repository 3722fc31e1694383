"""Where the command line wires things together: the log, the keys, the releases and the runs of one home."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aboveboard.cli.app import settings_of
from aboveboard.clock import Clock, system_clock
from aboveboard.errors import Misuse, NotFound
from aboveboard.files import secret_bytes, storage_errors
from aboveboard.settings import Home, LogSettings

if TYPE_CHECKING:
    from aboveboard.audit import AuditLog
    from aboveboard.release import Keyring, ReleaseStore

ORIGIN = "aboveboard.local/log"
"""The name on the checkpoints of a log that was not given one of its own."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """One home and the person acting in it."""

    home: Home
    actor: str
    clock: Clock = system_clock
    where: LogSettings = field(default_factory=LogSettings)
    """Where the log is, if not in the home."""

    @classmethod
    def of(cls, ctx: click.Context) -> Workspace:
        """Return the workspace this command was called in."""
        settings = settings_of(ctx)
        return cls(settings.home, settings.actor, where=settings.log)

    def token_key(self) -> bytes:
        """Return the key that turns identifiers into tokens, made on first use."""
        return secret_bytes(self.home.subject_key)

    def log(self, origin: str | None = None) -> AuditLog:
        """Open the audit log for writing, under its own name unless another is given; use it in a `with` block."""
        from aboveboard.audit.location import open_log

        return open_log(self.home, self.where, origin=origin or self.origin(), writer="cli", clock=self.clock)

    def origin(self) -> str:
        """Return the name of this home's log: the one on its public key, or the default before there is any."""
        path = (self.where.keys or self.home.keys) / "audit-log.vkey"
        with storage_errors(path):
            if not path.is_file():
                return ORIGIN
            return path.read_text(encoding="utf-8", errors="replace").partition("+")[0]

    def keyring(self) -> Keyring:
        """Return the signing keys and the list of whom we trust."""
        from aboveboard.release import Keyring

        return Keyring(self.home.keys)

    def releases(self) -> ReleaseStore:
        """Return the store of releases."""
        from aboveboard.release import ReleaseStore

        return ReleaseStore(self.home.releases, keys=self.keyring(), clock=self.clock)

    def run_directory(self, reference: str) -> Path:
        """Return the directory of a run named by id, by a unique beginning of it, by path, or `latest`.

        Raises `NotFound` or, for a beginning that several runs share, `Misuse`.
        """
        if Path(reference).is_dir() and (Path(reference) / "run.json").is_file():
            return Path(reference)
        runs = self.runs()
        if reference == "latest" and runs:
            return runs[-1]
        found = [run for run in runs if run.name.startswith((reference, f"run-{reference}"))]
        if not found:
            raise NotFound(f"no run {reference!r} in {self.home.runs}", hint="list them with: aboveboard runs")
        if len(found) > 1:
            raise Misuse(f"{len(found)} runs begin with {reference!r}", hint="give more of the id")
        return found[0]

    def runs(self) -> list[Path]:
        """Return the directories of all whole runs, oldest first."""
        if not self.home.runs.is_dir():
            return []
        with storage_errors(self.home.runs):
            return sorted(path for path in self.home.runs.iterdir() if (path / "run.json").is_file())
