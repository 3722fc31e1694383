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
class VaultIdentity:
    """Who a process is to HashiCorp Vault: its service account, by a token that the platform renews in a file."""

    role: str
    """Vault's role that is logged in to."""
    token: Path
    """The file with the account's token (a JWT), read anew for each login."""
    mount: str = "kubernetes"
    """Where Vault's Kubernetes or JWT method is mounted, below `auth/`."""
    namespace: str | None = None
    """A namespace of Vault's own, where it has any."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> VaultIdentity | None:
        """Read `ABOVEBOARD_VAULT_ROLE`, `_TOKEN_FILE`, `_AUTH` and `VAULT_NAMESPACE`; None where no role is named.

        Raises `Misuse` when one of role and file is missing.
        """
        role, token = environment.get("ABOVEBOARD_VAULT_ROLE"), environment.get("ABOVEBOARD_VAULT_TOKEN_FILE")
        if not role and not token:
            return None
        if not role or not token:
            raise Misuse(
                "ABOVEBOARD_VAULT_ROLE and ABOVEBOARD_VAULT_TOKEN_FILE go together",
                hint="name the role of Vault's and the file of the service account's token; or neither",
            )
        return cls(
            role,
            Path(token).absolute(),
            mount=environment.get("ABOVEBOARD_VAULT_AUTH") or "kubernetes",
            namespace=environment.get("VAULT_NAMESPACE") or None,
        )


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
    vault: VaultIdentity | None = None
    """Who this process is to Vault; without it Vault's own tools' token counts (`VAULT_TOKEN`, `~/.vault-token`)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> LogSettings:
        """Read `ABOVEBOARD_LOG_DATABASE`, `_TILES`, `_KEK`, `_KEYS` and `_WITNESSES`, and who we are to Vault.

        Empty ones count as not set.
        """

        def path(name: str) -> Path | None:
            return Path(given).absolute() if (given := environment.get(name)) else None

        return cls(
            database=environment.get("ABOVEBOARD_LOG_DATABASE") or None,
            tiles=environment.get("ABOVEBOARD_LOG_TILES") or None,
            kek=environment.get("ABOVEBOARD_LOG_KEK") or None,
            keys=path("ABOVEBOARD_LOG_KEYS"),
            witnesses=path("ABOVEBOARD_LOG_WITNESSES"),
            vault=VaultIdentity.from_environment(environment),
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
