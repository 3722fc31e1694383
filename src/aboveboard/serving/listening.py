"""Taking a TCP port, alone or beside other workers, and saying where it is."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator
from typing import Final

from aboveboard.errors import Conflict, Misuse

BACKLOG: Final = 2048


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a bound TCP socket. Raises `Conflict` when somebody has the port and `Misuse` for a wrong address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise Misuse(
            f"{host!r} is not an address of this machine", hint="use 127.0.0.1, or 0.0.0.0 for all"
        ) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"port {port} on {host} is in use",
                    hint="stop what uses it, or choose another: --port 0 finds one",
                ) from error
            if error.errno in (errno.EACCES, errno.EADDRNOTAVAIL):
                raise Misuse(f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another") from error
            raise
        yield listener


def share(family: int, address: tuple[str, int]) -> socket.socket:
    """Return a TCP socket bound beside others of ours: the kernel spreads connections over them by hash.

    One socket that all accept from would not do: whoever is awake takes every connection of a burst. Raises
    `Conflict` when somebody else has the port.
    """
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Conflict(f"port {address[1]} cannot be shared: {error.strerror}", hint="choose another") from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine can reach the listener."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return where a client on this machine reaches the server."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
