"""Who asks, by a token of an identity provider: a signed JWT (RFC 7519) as OpenID Connect providers issue them.

A token is believed when its algorithm is one that was allowed (never `none`, never a shared secret), a key of the
provider has signed it, and issuer, audience and times fit (RFC 8725). What it may do follows from a claim, through
a table of ours. Keys come from a file or are fetched, in the background: no request waits for the provider.
"""

from __future__ import annotations

import hashlib
import importlib.util
import ipaddress
import logging
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from aboveboard.clock import Clock
from aboveboard.errors import Misuse, NotVerified, StorageFailed
from aboveboard.files import storage_errors
from aboveboard.serving.access import Client, NotAuthenticated, Role

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]

LONGEST_TOKEN: Final = 8_192
LARGEST_KEY_SET: Final = 1 << 20
FETCH_SECONDS: Final = 5.0
ASKED_AGAIN_SECONDS: Final = 10.0
"""Between two fetches, however often an unknown key is named: clients must not drive us to the provider."""
_REMEMBERED: Final = 4_096

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._:|-]{0,127}")
_log = logging.getLogger("aboveboard.serving")


class IdentityProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `identity.json`: whose tokens are believed, and what they allow."""

    issuer: Annotated[str, msgspec.Meta(min_length=1)]
    audience: Annotated[str, msgspec.Meta(min_length=1)]
    """What the provider calls this server; a token for another audience is refused."""
    jwks: Annotated[str, msgspec.Meta(min_length=1)]
    """The provider's key set: an https URL, or a file beside `identity.json`."""
    roles: dict[str, Annotated[list[Role], msgspec.Meta(min_length=1)]]
    """What each value of the roles claim allows here; a value that is not named allows nothing."""
    roles_claim: str = "roles"
    """A list of texts, or one text with spaces between them, as `scope` is."""
    name_claim: str = "sub"
    """Who it is, in the log."""
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(min_length=1)] = ("RS256", "PS256", "ES256")
    leeway_seconds: Annotated[int, msgspec.Meta(ge=0, le=120)] = 30
    """How far the provider's clock may be off."""
    longest_life_seconds: Annotated[int, msgspec.Meta(gt=0)] = 24 * 3600
    """A token that is valid for longer from now is refused: it could not be withdrawn."""
    refresh_seconds: Annotated[int, msgspec.Meta(ge=1)] = 600
    keys_last_seconds: Annotated[int, msgspec.Meta(ge=1)] = 24 * 3600
    """How long keys are believed while the provider cannot be reached; then nobody is."""
    requests_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """For each who asks."""


class _Remembered(msgspec.Struct, frozen=True):
    client: Client
    begins: float
    ends: float


class Tokens:
    """Believes or refuses tokens. `client` runs on the event loop and never waits for anything."""

    def __init__(self, provider: IdentityProvider, keys: KeySource, *, clock: Clock) -> None:
        self._provider = provider
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._known_by: object = None
        self._clients: OrderedDict[tuple[str, frozenset[Role]], Client] = OrderedDict()

    def client(self, token: bytes) -> Client:
        """Return who a token stands for. Raises `NotAuthenticated`."""
        if len(token) > LONGEST_TOKEN:
            raise _refused("this token is too long")
        now = self._clock().timestamp()
        keys = self._keys.current(now)
        if keys is not self._known_by:  # a key may be gone, and what it has signed with it
            self._known.clear()
            self._known_by = keys
        digest = hashlib.sha256(token).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verify(token, keys, now)
            self._known[digest] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        leeway = self._provider.leeway_seconds
        if not known.begins - leeway <= now < known.ends + leeway:
            raise _refused("this token is not valid at this time")
        return known.client

    def _verify(self, token: bytes, keys: Mapping[str | None, Any], now: float) -> _Remembered:
        from joserfc import jwt

        def key_of(signed: Any) -> Any:
            key = keys.get(signed.headers().get("kid"))
            if key is None:
                self._keys.ask_again()
                raise LookupError
            return key

        try:
            decoded = jwt.decode(token, key_of, algorithms=list(self._provider.algorithms))
        except Exception:  # noqa: BLE001  whatever a hostile token makes of the library: it is not believed
            raise _refused("this token is not believed here") from None
        return self._judge(decoded.header, decoded.claims, now)

    def _judge(self, header: Mapping[str, Any], claims: Mapping[str, Any], now: float) -> _Remembered:
        provider = self._provider
        if str(header.get("typ", "JWT")).lower() not in ("jwt", "at+jwt"):
            raise _refused("this token is of another type")
        audience = claims.get("aud")
        if claims.get("iss") != provider.issuer:
            raise _refused("this token is from another issuer")
        if provider.audience not in (audience if isinstance(audience, list) else [audience]):
            raise _refused("this token is for another audience")
        begins, issued, ends = (claims.get(name) for name in ("nbf", "iat", "exp"))
        for moment in (begins, issued, ends):
            if moment is not None and (isinstance(moment, bool) or not isinstance(moment, int | float)):
                raise _refused("a time in this token is not a number")
        if ends is None:
            raise _refused("this token never ends")
        if ends > now + provider.longest_life_seconds + provider.leeway_seconds:
            raise _refused("this token is valid for too long")
        name = claims.get(provider.name_claim)
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise _refused("this token does not say who it is for")
        given = claims.get(provider.roles_claim, [])
        values = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        roles = frozenset(
            role for value in values if isinstance(value, str) for role in provider.roles.get(value, ())
        )
        started = max((moment for moment in (begins, issued) if moment is not None), default=float("-inf"))
        return _Remembered(self._client_of(name, roles), started, ends)

    def _client_of(self, name: str, roles: frozenset[Role]) -> Client:
        client = self._clients.get((name, roles))
        if client is None:
            client = self._clients[name, roles] = Client(name, roles, self._provider.requests_per_second)
            if len(self._clients) > _REMEMBERED:
                self._clients.popitem(last=False)
        return client


class KeySource:
    """The provider's keys, by id; from a URL they are fetched again in the background, from a file read once."""

    def __init__(self, provider: IdentityProvider, directory: Path, *, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._remote = "://" in provider.jwks
        if self._remote:
            _check_url(provider.jwks)
        self._file = directory / provider.jwks
        self.file = None if self._remote else self._file
        """Where the keys are, if in a file: who rotates it has it read again."""
        self._keys = self._load()
        self._since = clock().timestamp()

    def start(self) -> None:
        """Fetch again now and then, in a thread; a file needs none."""
        if self._remote and self._thread is None:
            self._thread = threading.Thread(target=self._refresh_forever, name="identity-keys", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Fetch no more."""
        self._stop.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(FETCH_SECONDS + 1)

    def current(self, now: float) -> Mapping[str | None, Any]:
        """Return the keys by id. Raises `NotAuthenticated` when they have not been confirmed for too long."""
        if self._remote and now - self._since > self._provider.keys_last_seconds:
            raise _refused("the identity provider has not confirmed its keys for too long")
        return self._keys

    def ask_again(self) -> None:
        """Note that a token names a key that is not known: the provider may have a new one."""
        self._wanted.set()

    def _refresh_forever(self) -> None:
        while not self._stop.is_set():
            self._wanted.wait(self._provider.refresh_seconds)
            self._wanted.clear()
            if self._stop.is_set():
                return
            try:
                keys = self._load()
            except (Misuse, NotVerified, StorageFailed) as error:
                _log.error("the identity provider's keys cannot be fetched: %s", error.message)
            else:
                self._since = self._clock().timestamp()
                if {k: v.as_dict() for k, v in keys.items()} != {k: v.as_dict() for k, v in self._keys.items()}:
                    self._keys = keys
            self._stop.wait(ASKED_AGAIN_SECONDS)

    def _load(self) -> dict[str | None, Any]:
        source = self._provider.jwks
        if self._remote:
            content = fetch(source)
        else:
            with storage_errors(self._file):
                if not self._file.is_file():
                    raise Misuse(f"{self._file}: no such file", hint="put the provider's key set there")
                content = self._file.read_bytes()
        return parse_keys(content, source)


def parse_keys(content: bytes, source: str) -> dict[str | None, Any]:
    """Return the signing keys of a key set (RFC 7517) by id; one key alone also answers tokens that name none.

    Raises `NotVerified` for what is no key set, holds a shared secret or a private key, or has no signing key.
    """
    from joserfc import jwk

    try:
        entries = msgspec.json.decode(content)["keys"]
        signing = [entry for entry in entries if entry.get("use", "sig") == "sig" and entry["kty"] in ("RSA", "EC")]
        secret = any(entry["kty"] == "oct" or "d" in entry for entry in entries)
        keys: dict[str | None, Any] = {entry.get("kid"): jwk.import_key(entry) for entry in signing}
    except Exception as error:  # a parser leaks nothing of the library beneath
        raise NotVerified(f"{source}: not a key set ({type(error).__name__})", hint="see RFC 7517") from error
    if secret:
        raise NotVerified(f"{source}: holds a secret", hint="publish public keys only, and replace that one")
    if not keys or len(keys) != len(signing):
        raise NotVerified(f"{source}: no signing key, or two of one id", hint="ask who runs the identity provider")
    if len(keys) == 1:
        keys.setdefault(None, next(iter(keys.values())))
    else:
        keys.pop(None, None)
    return keys


def fetch(url: str) -> bytes:
    """Return what is at a URL; no redirection is followed. Raises `StorageFailed`."""
    try:
        with _opener().open(url, timeout=FETCH_SECONDS) as answer:
            content: bytes = answer.read(LARGEST_KEY_SET + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise StorageFailed(f"{url} does not answer: {error}", hint="is the identity provider up?") from error
    if len(content) > LARGEST_KEY_SET:
        raise StorageFailed(f"{url} answers too much", hint="is it a key set?")
    return content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **keywords: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = host == "localhost"
    if parts.scheme != "https" and not (parts.scheme == "http" and near):
        raise Misuse(f"{url}: keys are fetched over https only", hint="or from this machine, or a file")


def load_identity(path: Path, *, clock: Clock) -> tuple[Tokens, KeySource]:
    """Return what judges the tokens that `identity.json` describes, and its keys, fetched once already.

    Raises `Misuse` when the file or the package for tokens is not there, `NotVerified` when it does not say what it
    must or others can write it, `StorageFailed` when the provider does not answer.
    """
    if importlib.util.find_spec("joserfc") is None:
        raise Misuse("tokens need the package joserfc", hint="pip install 'aboveboard[oidc]'")
    if not path.is_file():
        raise Misuse(f"{path}: no such file", hint="write one, or leave the option out")
    with storage_errors(path):
        content = path.read_bytes()
        if path.stat().st_mode & 0o022:
            raise NotVerified(f"{path}: others can write to this file", hint=f"chmod 600 {path}")
    try:
        provider = msgspec.json.decode(content, type=IdentityProvider)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotVerified(f"{path}: {error}", hint="see the how-to on sending decisions") from error
    keys = KeySource(provider, path.parent, clock=clock)
    return Tokens(provider, keys, clock=clock), keys


def _refused(message: str) -> NotAuthenticated:
    return NotAuthenticated(message, hint="ask your identity provider for a token for this server")
