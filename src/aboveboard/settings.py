"""Where things are and how this process is set up: read from the environment once, at the edge (12-factor)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aboveboard.errors import Misuse


@dataclass(frozen=True, slots=True)
class Home:
    """The directory in which one installation keeps its state; every path below it is named here."""

    root: Path

    @property
    def keys(self) -> Path:
        """Private keys, mode 0600 in a directory of mode 0700."""
        return self.root / "keys"

    @property
    def subject_key(self) -> Path:
        """The 32-byte key that turns a person's identifier into a token (`ids.subject_token`)."""
        return self.keys / "subject.key"

    @property
    def runs(self) -> Path:
        """One directory per pipeline run, whole or absent."""
        return self.root / "runs"

    @property
    def releases(self) -> Path:
        """An OCI image layout holding every release, its signatures and approvals."""
        return self.root / "releases"

    @property
    def audit(self) -> Path:
        """Journals, tiles, checkpoints and the vault."""
        return self.root / "audit"

    @property
    def serving(self) -> Path:
        """What was last put in service over HTTP, one file for each model."""
        return self.root / "serving"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where the audit log is, as far as it is not just in the home; `aboveboard.audit.location` opens it."""

    database: str | None = field(default=None, repr=False)
    """The URL of a PostgreSQL database for journals, vault, index and, unless `tiles` says otherwise, tiles; or
    `file:` and the path of a file that holds it, as secrets are mounted. It may hold a password."""
    tiles: str | None = None
    """`s3://bucket/prefix`, or `file:` and the path of a directory."""
    kek: str | None = None
    """The key-encryption key: `file:PATH`, `awskms:KEY` or `vault:[MOUNT/]KEY`."""
    keys: Path | None = None
    """The directory of the log's signing keys, which are the same for every process that publishes it."""
    witnesses: Path | None = None
    """The directory of the `witnesses.json` that every process that publishes heeds."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> LogSettings:
        """Read `ABOVEBOARD_LOG_DATABASE`, `_TILES`, `_KEK`, `_KEYS` and `_WITNESSES`; empty ones count as not set."""

        def path(name: str) -> Path | None:
            return Path(given).absolute() if (given := environment.get(name)) else None

        return cls(
            database=environment.get("ABOVEBOARD_LOG_DATABASE") or None,
            tiles=environment.get("ABOVEBOARD_LOG_TILES") or None,
            kek=environment.get("ABOVEBOARD_LOG_KEK") or None,
            keys=path("ABOVEBOARD_LOG_KEYS"),
            witnesses=path("ABOVEBOARD_LOG_WITNESSES"),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says about this process."""

    home: Home
    actor: str
    """Who is acting, as recorded in the log: an e-mail address or a service account."""
    log: LogSettings = field(default_factory=LogSettings)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read `ABOVEBOARD_HOME` (else XDG data home), `ABOVEBOARD_ACTOR` (else the login name), and the log's."""
        if explicit := environment.get("ABOVEBOARD_HOME"):
            root = Path(explicit)
        elif data_home := environment.get("XDG_DATA_HOME"):
            root = Path(data_home) / "aboveboard"
        elif user_home := environment.get("HOME"):
            root = Path(user_home) / ".local" / "share" / "aboveboard"
        else:
            raise Misuse("no home directory is known", hint="set ABOVEBOARD_HOME to a writable directory")
        actor = environment.get("ABOVEBOARD_ACTOR") or environment.get("USER") or "local-user"
        return cls(Home(root.absolute()), actor, LogSettings.from_environment(environment))
