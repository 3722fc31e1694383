"""A running decision server, asked by a command: where it is, who asks, and its problems as our errors.

The standard library's client: a command asks once and ends. The key comes from a file or the environment, never from
the arguments, which everybody on a machine can read; and it goes nowhere unencrypted but to this machine itself.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import click
from rich.markup import escape

from aboveboard.errors import (
    AboveboardError,
    Conflict,
    Misuse,
    NotAuthorised,
    NotFound,
    Overloaded,
    RequestRefused,
    StorageFailed,
)
from aboveboard.files import storage_errors

TIMEOUT_SECONDS: Final = 60.0
LARGEST_ANSWER: Final = 64 << 20
_DEFAULT: Final = "http://127.0.0.1:8080"

_KINDS: Final[dict[int, type[AboveboardError]]] = {
    400: RequestRefused,
    401: NotAuthorised,
    403: NotAuthorised,
    404: NotFound,
    405: NotFound,
    409: Conflict,
    410: NotFound,
    413: RequestRefused,
    415: RequestRefused,
    422: RequestRefused,
    429: Overloaded,
    503: Overloaded,
}

F = TypeVar("F", bound=Callable[..., Any])


def remote_options(function: F) -> F:
    """Add the options that say which server is asked, and by whom; the command gets it as `remote`, to be called."""

    @wraps(function)
    def wrapped(*arguments: Any, url: str, key_file: Path | None, ca: Path | None, **options: Any) -> Any:
        remote = partial(RemoteServer.of, click.get_current_context(), url, key_file, ca)
        return function(*arguments, remote=remote, **options)

    for option in (
        click.option(
            "--ca",
            envvar="ABOVEBOARD_CA",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Whom to believe about its certificate, in PEM. Default: $ABOVEBOARD_CA, else the system's.",
        ),
        click.option(
            "--key-file",
            envvar="ABOVEBOARD_KEY_FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            help="The file with your key or token. Default: $ABOVEBOARD_KEY_FILE, else the key in $ABOVEBOARD_KEY.",
        ),
        click.option(
            "--url",
            envvar="ABOVEBOARD_URL",
            default=_DEFAULT,
            show_default=True,
            help="Where the server is. Default: $ABOVEBOARD_URL.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """One server, and the key it is asked with."""

    url: str
    key: str | None = field(default=None, repr=False)
    authority: Path | None = None

    @classmethod
    def of(cls, ctx: click.Context, url: str, key_file: Path | None, ca: Path | None) -> RemoteServer:
        """Return the server that options and environment name.

        Raises `Misuse` for an address that is none or would carry the key over a network in the clear.
        """
        environment: Mapping[str, str] = ctx.find_root().obj
        key = _key_in(key_file) if key_file is not None else environment.get("ABOVEBOARD_KEY") or None
        parts = _parsed(url)
        if key is not None and parts.scheme == "http" and not _is_here(parts.hostname or ""):
            raise Misuse(
                f"{url}: a key is not sent in the clear", hint="use https://, with --ca for a certificate of your own"
            )
        return cls(url.rstrip("/"), key, ca)

    def get(self, path: str, **query: str | int | None) -> Any:
        """Return the document at `path`; parameters that are None are left out. Raises as `ask` does."""
        given = {name: value for name, value in query.items() if value is not None}
        return self.ask("GET", path + (f"?{urlencode(given)}" if given else ""))

    def post(self, path: str, body: object = None) -> Any:
        """Send a document and return the answer. Raises as `ask` does."""
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what the server answers.

        Raises the kind of error that its problem document stands for, `Overloaded` when nobody answers, and
        `StorageFailed` where the fault is the server's.
        """
        headers = {"Accept": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        connection = self._connection()
        try:
            connection.request(method, _parsed(self.url).path.rstrip("/") + path, content, headers)
            answer = connection.getresponse()
            status, read = answer.status, answer.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise Overloaded(
                f"{self.url} does not answer: {error or type(error).__name__}",
                hint="is the server running, and is --url its address?",
            ) from error
        finally:
            connection.close()
        try:
            document = json.loads(read)
        except ValueError as error:
            raise Misuse(f"{self.url} is no decision server", hint="is --url its address?") from error
        if status >= 300:
            raise _problem(status, document)
        return document

    def _connection(self) -> http.client.HTTPConnection:
        parts = _parsed(self.url)
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        try:
            context = ssl.create_default_context(cafile=self.authority)
        except (OSError, ssl.SSLError) as error:
            raise Misuse(f"{self.authority}: no certificates in PEM", hint="name the file with --ca") from error
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS, context=context)


Remote = Callable[[], RemoteServer]
"""What a command calls for the server that its options name. Raises as `RemoteServer.of` does."""


def shown(text: object) -> str:
    """Return what a server told as it is safe to print: no markup, and nothing a terminal would obey."""
    return escape("".join(sign if sign.isprintable() else " " for sign in str(text)))


def decision_path(decision_id: str, *below: str) -> str:
    """Return the path of a decision, or of something below it; what a person typed cannot lead elsewhere."""
    return "/".join(["/v1/decisions", quote(decision_id, safe=""), *below])


def text_of(text: str | None, file: Path | None, name: str) -> str:
    """Return a text that was given as an option or in a file (`-` for standard input). Raises `Misuse`."""
    if (text is None) == (file is None):
        raise Misuse(f"say it with --{name} or --{name}-file, one of the two")
    if file is None:
        return text or ""
    with storage_errors(file), click.open_file(str(file), encoding="utf-8") as opened:
        return str(opened.read()).strip()


def text_options(name: str, what: str) -> Callable[[F], F]:
    """Return what adds two options for one text: the text, or a file with it, which no list of processes shows."""

    def added(function: F) -> F:
        kind = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
        in_file = click.option(f"--{name}-file", type=kind, help="The same from a file; - for standard input.")
        return click.option(f"--{name}", help=what)(in_file(function))

    return added


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no number
    except ValueError as error:
        raise Misuse(f"{url!r} is not an address", hint="write https://host:port") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise Misuse(f"{url!r} is not an address", hint="write https://host:port")
    return parts


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key_in(path: Path) -> str:
    if not path.is_file():
        raise NotFound(f"{path}: no such file", hint="--key-file names a file that holds nothing but the key")
    with storage_errors(path):
        key = path.read_text(encoding="utf-8", errors="replace").strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Misuse(f"{path} does not hold a key", hint="--key-file names a file that holds nothing but the key")
    return key


def _problem(status: int, document: Any) -> AboveboardError:
    """Return the error that a problem document (RFC 9457) stands for."""
    told = document if isinstance(document, dict) else {}
    detail, hint, code = (str(told.get(name, "")) for name in ("detail", "hint", "code"))
    wrong = [str(fault.get("detail", "")) for fault in told.get("errors", []) if isinstance(fault, dict)]
    message = "; ".join([detail or f"the server answered {status}", *wrong])
    return _KINDS.get(status, StorageFailed)(message, hint=hint, status=status, problem=code)
