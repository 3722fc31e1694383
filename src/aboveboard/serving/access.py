"""Who may ask what: API keys and tokens with roles, and how many requests a second each client may send."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec

from aboveboard.errors import AboveboardError, Misuse, NotAuthorised, NotVerified
from aboveboard.files import storage_errors

KEY_PREFIX: Final = "abk_"
"""Begins every API key, so that secret scanners recognise a leaked one."""


class Role(StrEnum):
    """What a client may do."""

    DECIDE = "decide"
    """Ask for decisions, report outcomes, contest."""
    PREDICT = "predict"
    """Ask for scores over the Open Inference Protocol, which are in no log: not for what decides about people."""
    READ = "read"
    """Read decisions, receipts and notices: personal data."""
    REVIEW = "review"
    """Work on the queue of decisions that wait for a person."""
    OPERATE = "operate"
    """Change which releases are in service."""


class NotAuthenticated(AboveboardError):
    """No key, or one that is not known here."""

    code = "not-authenticated"


class TooManyRequests(AboveboardError):
    """This client has sent more requests than it may."""

    code = "too-many-requests"


class ClientRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One client in `clients.json`; the key itself is not in it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._-]{0,127}$")]
    key_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    roles: Annotated[list[Role], msgspec.Meta(min_length=1)]
    requests_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """On average; twice as many in one second are let through. None for no limit."""


class ClientsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `clients.json`."""

    clients: list[ClientRecord]


class Client:
    """A client that proved who it is, and its token bucket."""

    __slots__ = ("_burst", "_level", "_rate", "_seen", "name", "roles")

    def __init__(self, name: str, roles: frozenset[Role], rate: float | None) -> None:
        self.name = name
        self.roles = roles
        self._rate = rate
        self._burst = max(1.0, 2 * rate) if rate is not None else 0.0
        self._level = self._burst
        self._seen: float | None = None

    def require(self, role: Role) -> None:
        """Raise `NotAuthorised` unless the client has the role."""
        if role not in self.roles:
            raise NotAuthorised(f"this needs the role {role.value}", hint="ask for a key that has it")

    def spend(self, now: float) -> None:
        """Count one request at `now`, in seconds. Raises `TooManyRequests` when the bucket is empty."""
        rate = self._rate
        if rate is None:
            return
        if self._seen is not None:
            self._level = min(self._burst, self._level + (now - self._seen) * rate)
        self._seen = now
        if self._level < 1:
            raise TooManyRequests(
                f"more than {rate:g} requests a second", hint="slow down, or ask for a higher limit"
            )
        self._level -= 1


class BelievesTokens(Protocol):
    """Who knows whom a token of an identity provider stands for: `identity.Tokens`."""

    def client(self, token: bytes) -> Client:
        """Return who it is. Raises `NotAuthenticated`."""
        ...


class Access:
    """The clients of one server; with none configured, whoever reaches it (the server then stays on loopback).

    With `tokens`, what is no API key is taken for a token of an identity provider.
    """

    def __init__(
        self,
        records: list[ClientRecord] | None,
        *,
        anonymous: str,
        timer: Callable[[], float],
        tokens: BelievesTokens | None = None,
    ) -> None:
        self._timer = timer
        self._tokens = tokens
        self._anonymous = Client(anonymous, frozenset(Role), None) if records is None and tokens is None else None
        self._records: Mapping[bytes, ClientRecord] = {}
        self._clients: Mapping[bytes, Client] = {}
        self.renew(records or [])

    def renew(self, records: list[ClientRecord]) -> None:
        """Know these clients from now on, and no others. Who stays as they were keep what they have spent.

        May be called from any thread.
        """
        new = {bytes.fromhex(record.key_sha256): record for record in records}
        self._clients = {
            key: self._clients[key]
            if self._records.get(key) == record
            else Client(record.name, frozenset(record.roles), record.requests_per_second)
            for key, record in new.items()
        }
        self._records = new

    def believe(self, tokens: BelievesTokens) -> None:
        """Believe the tokens of this identity provider from now on. May be called from any thread."""
        self._tokens = tokens

    @property
    def open(self) -> bool:
        """Tell whether anybody may ask."""
        return self._anonymous is not None

    def client(self, authorization: bytes | None) -> Client:
        """Return the client behind an `Authorization` header (RFC 6750, `Bearer`).

        Raises `NotAuthenticated` and `TooManyRequests`.
        """
        if self._anonymous is not None:
            return self._anonymous
        if authorization is None:
            raise NotAuthenticated("no API key", hint="send Authorization: Bearer and your key")
        scheme, _, key = authorization.partition(b" ")
        tokens = self._tokens
        if tokens is not None and scheme.lower() == b"bearer" and not key.startswith(KEY_PREFIX.encode()):
            client = tokens.client(key.strip())
            client.spend(self._timer())
            return client
        known = self._clients.get(hashlib.sha256(key.strip()).digest())
        if known is None or scheme.lower() != b"bearer":
            raise NotAuthenticated("this API key is not known here", hint="send Authorization: Bearer and your key")
        known.spend(self._timer())
        return known


def new_key() -> tuple[str, str]:
    """Return a new API key (256 random bits) and the SHA-256 of it, which is all that is stored."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


def load_clients(path: Path) -> list[ClientRecord]:
    """Return the clients in a `clients.json`.

    Raises `Misuse` when it is not there and `NotVerified` when it does not say what it must, or others can write it.
    """
    if not path.is_file():
        raise Misuse(f"{path}: no such file", hint="write one, or leave the option out and stay on loopback")
    with storage_errors(path):
        content = path.read_bytes()
        if path.stat().st_mode & 0o022:
            raise NotVerified(f"{path}: others can write to this file", hint=f"chmod 600 {path}")
    try:
        records = msgspec.json.decode(content, type=ClientsFile).clients
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotVerified(f"{path}: {error}", hint="see the how-to on sending decisions") from error
    if len({record.key_sha256 for record in records}) != len(records):
        raise NotVerified(f"{path}: two clients have the same key", hint="give each client a key of its own")
    return records
