"""Logging in to Vault as who the process is: a service account, by a token that Kubernetes renews in a file.

Vault's Kubernetes and JWT methods take the same request, so either may be mounted at the path that is named. A token
of Vault's is kept in memory only; it is renewed in the last third of its life, and where that is refused a new one is
asked for, with what the file holds then. See https://developer.hashicorp.com/vault/docs/auth/kubernetes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from aboveboard.errors import AboveboardError, NotAuthorised, StorageFailed
from aboveboard.files import storage_errors
from aboveboard.settings import VaultIdentity

_RENEW_AFTER = 2 / 3
"""Of a token's life: what is left is time to find another Vault when one is away."""


class TransitLogin:
    """Keeps a client logged in; `client` is an `hvac.Client` without a token. Threads take turns."""

    def __init__(self, client: Any, identity: VaultIdentity, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._identity = identity
        self._timer = timer
        self._turn = threading.Lock()
        self._renew_at = 0.0
        self._ends_at = 0.0
        self._renewable = False

    def ensure(self) -> None:
        """Have a token that holds. Raises `NotAuthorised` when Vault lets nobody in, and `StorageFailed`."""
        with self._turn:
            now = self._timer()
            if now < self._renew_at:
                return
            if now < self._ends_at and self._renewable and self._renewed(now):
                return
            self._log_in(now)

    def forget(self) -> None:
        """Take the token for void: Vault may have revoked it, or been started anew."""
        with self._turn:
            self._renew_at = self._ends_at = 0.0

    def _renewed(self, now: float) -> bool:
        import hvac.exceptions
        import requests

        try:
            answer = self._client.auth.token.renew_self()
        except (hvac.exceptions.VaultError, requests.RequestException):
            return False  # logging in says what is wrong
        self._keep(answer["auth"], now)
        return True

    def _log_in(self, now: float) -> None:
        import hvac.exceptions
        import requests

        identity = self._identity
        self._client.token = ""  # a token that ended is not sent along
        token = self._token()
        try:
            answer = self._client.auth.kubernetes.login(
                role=identity.role, jwt=token, mount_point=identity.mount, use_token=False
            )
        except (
            hvac.exceptions.InvalidRequest,
            hvac.exceptions.Unauthorized,
            hvac.exceptions.Forbidden,
            hvac.exceptions.InvalidPath,
        ) as error:
            raise NotAuthorised(
                f"Vault does not let this process in as {identity.role} by auth/{identity.mount}:"
                f" {type(error).__name__}",
                hint="the role must be bound to this service account, its namespace and the audience of its token",
            ) from None  # Vault's own message may repeat the token's claims
        except (hvac.exceptions.VaultError, requests.RequestException) as error:
            raise away(error) from error
        self._client.token = answer["auth"]["client_token"]
        self._keep(answer["auth"], now)

    def _keep(self, granted: Any, now: float) -> None:
        seconds = float(granted.get("lease_duration") or 0)
        self._renewable = bool(granted.get("renewable"))
        self._ends_at = now + seconds
        self._renew_at = now + seconds * _RENEW_AFTER

    def _token(self) -> str:
        path = self._identity.token
        with storage_errors(path):
            try:
                token = path.read_text(encoding="ascii").strip()
            except (FileNotFoundError, UnicodeDecodeError):
                token = ""
        if not token:
            raise NotAuthorised(
                f"{path}: there is no token to log in to Vault with",
                hint="mount a projected service account token there, with Vault's audience",
            )
        return token


def away(error: Exception) -> AboveboardError:
    """Return what is said when Vault does not answer, or answers that it cannot."""
    return StorageFailed(
        f"Vault cannot be reached: {type(error).__name__}", hint="is it up and unsealed, and VAULT_ADDR right?"
    )
