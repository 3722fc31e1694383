"""Opening the log where the settings say it is: in the home, or in PostgreSQL, S3 and a key service.

One database is one log, however many machines write it. They share its signing keys, its key-encryption key, its
tiles and its witnesses; whoever has others is refused, so that nobody signs a second history by mistake.
"""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aboveboard.audit.kek import KeyEncryptionKey, LocalKey
from aboveboard.audit.log import AuditLog
from aboveboard.audit.note import VerifierKey
from aboveboard.audit.sequencer import other_signing_key, signed_by
from aboveboard.audit.storage import DirectoryStorage, TileStorage
from aboveboard.audit.witnesses import FILE as WITNESSES
from aboveboard.audit.witnesses import read_witnesses
from aboveboard.clock import Clock, system_clock
from aboveboard.errors import Misuse, NotFound, NotVerified
from aboveboard.files import storage_errors
from aboveboard.settings import Home, LogSettings, VaultIdentity

_POSTGRESQL = "postgresql+psycopg"


def open_log(home: Home, settings: LogSettings, *, origin: str, writer: str, clock: Clock = system_clock) -> AuditLog:
    """Open the log of `home`, or the one that `settings` name, as `AuditLog.open` does.

    Raises what that raises; `Misuse` for a setting that cannot be read, or a package that it needs and that is not
    installed; and `NotVerified` for keys that are not those the log's checkpoints were signed with.
    """
    database = database_url(settings.database) if settings.database is not None else None
    keys = keys_directory(home, settings)
    kek = key_encryption_key(settings.kek, vault=settings.vault) if settings.kek is not None else None
    storage = _tiles(settings, home, database)
    try:
        cosign = None
        if settings.witnesses is not None:
            witnesses = read_witnesses(settings.witnesses)
            if witnesses is None:
                raise Misuse(
                    f"{settings.witnesses}: there is no {WITNESSES}",
                    hint="write it with: aboveboard audit witnesses URL=VKEY; or do not name this directory",
                )
            cosign = witnesses.collector(storage)
        log = AuditLog.open(
            home.audit,
            keys=keys,
            origin=origin,
            clock=clock,
            writer=writer,
            kek=kek,
            storage=storage,
            cosign=cosign,
            database=database,
        )
    except BaseException:
        storage.close()
        raise
    if database is not None:
        try:
            _recognise(log)
        except BaseException:
            log.close()
            raise
    return log


def keys_directory(home: Home, settings: LogSettings) -> Path:
    """Return where the log's signing keys are."""
    return settings.keys or home.keys


def database_url(given: str) -> str:
    """Return the URL of a PostgreSQL database as the driver wants it, from itself or from the file it names.

    `postgres://` and `postgresql://`, as other tools write it, are taken. A password may stand in it, or be left to
    `PGPASSWORD` and `PGPASSFILE`. Raises `Misuse`, which does not repeat what was given.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if given.startswith("file:"):
        given = _content(given.removeprefix("file:"), "the database's URL").strip()
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):  # either would repeat a part of it
        url = None
    if url is None or url.drivername not in ("postgres", "postgresql", _POSTGRESQL):
        raise Misuse(
            "that is not the URL of a PostgreSQL database",
            hint="write postgresql://user@host/database, or file: and the path of a file that holds it",
        )
    if importlib.util.find_spec("psycopg") is None:
        raise Misuse("PostgreSQL needs the package psycopg", hint="pip install 'aboveboard[postgres]'")
    return url.set(drivername=_POSTGRESQL).render_as_string(hide_password=False)


def key_encryption_key(given: str, *, vault: VaultIdentity | None = None) -> KeyEncryptionKey:
    """Return the key-encryption key that `file:PATH`, `awskms:KEY` or `vault:[MOUNT/]KEY` names.

    AWS and Vault are reached with the credentials of the environment, as their own tools read them (`AWS_…`,
    `VAULT_ADDR`, `VAULT_TOKEN`); where `vault` is given, Vault is logged in to as that. A file must be there: one
    made anew would open nothing. Raises `Misuse`.
    """
    kind, _, name = given.partition(":")
    if kind == "file" and name:
        _content(name, "the key-encryption key")
        return LocalKey.file(Path(name))
    if kind == "awskms" and name:
        from aboveboard.audit.kek_aws import KmsKey

        parts = name.split(":")  # arn:aws:kms:eu-central-1:123456789012:key/…
        return KmsKey.connect(name, region=parts[3] if len(parts) == 6 and parts[3] else None)
    if kind == "vault" and name:
        from aboveboard.audit.kek_transit import TransitKey

        mount, _, key = name.rpartition("/")
        if key:
            return TransitKey.connect(None, None, key, mount=mount or "transit", identity=vault)
    raise Misuse(
        f"{given!r} names no key-encryption key", hint="write file:PATH, awskms:KEY-ID-OR-ARN or vault:MOUNT/KEY"
    )


def tile_storage(given: str) -> TileStorage:
    """Return the storage that `s3://bucket/prefix` or `file:PATH` names.

    S3 takes `?region=`, `?endpoint=` and `?lock_days=` (object lock for full tiles). Raises `Misuse`.
    """
    if given.startswith("file:") and len(given) > len("file:"):
        return DirectoryStorage(Path(given.removeprefix("file:")).absolute())
    hint = "write s3://bucket/prefix or file:PATH"
    try:
        parts = urlsplit(given)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        wiring: dict[str, Any] = {name: options.pop(name)[-1] for name in ("region", "endpoint") if name in options}
        if "lock_days" in options:
            wiring["lock_days"] = int(options.pop("lock_days")[-1])
    except ValueError as error:
        raise Misuse(f"{given!r} names no place for tiles", hint=hint) from error
    if parts.scheme != "s3" or not parts.netloc or parts.fragment or options:
        raise Misuse(f"{given!r} names no place for tiles", hint=hint)
    from aboveboard.audit.s3 import S3Storage

    return S3Storage.connect(parts.netloc, unquote(parts.path), **wiring)


def _tiles(settings: LogSettings, home: Home, database: str | None) -> TileStorage:
    if settings.tiles is not None:
        return tile_storage(settings.tiles)
    if database is None:
        return DirectoryStorage(home.audit / "tiles")
    from aboveboard.audit.tiles_postgres import PostgresStorage

    return PostgresStorage(database)


def _recognise(log: AuditLog) -> None:
    """Refuse to go on with other signing keys than those the newest checkpoint was signed with."""
    ours = True
    with suppress(NotVerified):  # a damaged checkpoint is fsck's to report, and for that the log must open
        latest = log.latest()
        ours = latest is None or signed_by(latest.note, VerifierKey.parse(log.vkey))
    if not ours:
        raise other_signing_key(log.origin)


def _content(name: str, what: str) -> str:
    path = Path(name)
    with storage_errors(path):
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFound(f"{path}: there is no such file", hint=f"it should hold {what}") from None
        except UnicodeDecodeError:
            raise Misuse(f"{path}: not a text file", hint=f"it should hold {what}") from None
