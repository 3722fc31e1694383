"""Certificates that change under a server that goes on running."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

Use = Callable[[ssl.SSLContext], None]
"""Has new connections made with a context. May be called from any thread."""


def exchangeable(context: ssl.SSLContext) -> Use:
    """Let the connections that a server accepts with `context` be made with another context later on.

    The other one is complete before it is used, so that no connection ever meets half of a renewal: loading a new
    pair into a context that serves would leave it without a key where certificate and key do not belong together.
    It has to ask for client certificates as `context` does; whose are believed is its own affair.
    """
    current = [context]

    def choose(connection: Any, name: str | None, first: ssl.SSLContext) -> None:
        # In every handshake, with and without a server name (SSL_CTX_set_tlsext_servername_callback of OpenSSL).
        if current[0] is not first:
            connection.context = current[0]

    def use(other: ssl.SSLContext) -> None:
        current[0] = other

    context.sni_callback = choose
    return use
