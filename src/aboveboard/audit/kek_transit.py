"""The key-encryption key in HashiCorp Vault's Transit engine: it never leaves Vault, and Vault logs every use."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from aboveboard.audit.transit_login import TransitLogin, away
from aboveboard.errors import Misuse, NotVerified
from aboveboard.settings import VaultIdentity


class TransitKey:
    """A Transit key, by its name; `client` is an `hvac.Client`, authenticated or kept so by `login`."""

    provider = "vault-transit"

    def __init__(self, client: Any, key: str, *, mount: str = "transit", login: TransitLogin | None = None) -> None:
        self._transit = client.secrets.transit
        self._key = key
        self._mount = mount
        self._login = login
        self.reference = f"{mount}/{key}"

    @classmethod
    def connect(
        cls,
        url: str | None,
        token: str | None,
        key: str,
        *,
        mount: str = "transit",
        verify: bool | str | None = None,
        identity: VaultIdentity | None = None,
    ) -> TransitKey:
        """Connect with a token, or as `identity`, which logs in when Vault is first needed. Raises `Misuse` without
        the extra `vault`.

        What is None is as Vault's own tools take it from the environment: `VAULT_ADDR`, `VAULT_TOKEN` or
        `~/.vault-token`, `VAULT_CACERT`. With an identity no such token is used.
        """
        try:
            import hvac
        except ImportError as error:
            raise Misuse("Vault needs the package hvac", hint="pip install 'aboveboard[vault]'") from error
        client = hvac.Client(
            url=url,
            token=token if identity is None else "",
            verify=verify,
            timeout=10,
            namespace=None if identity is None else identity.namespace,
        )
        return cls(client, key, mount=mount, login=None if identity is None else TransitLogin(client, identity))

    def wrap(self, key: bytes) -> bytes:
        """Have Vault encrypt `key`. Raises `StorageFailed`, and `NotAuthorised` when it does not let us in."""
        answer = self._call(
            self._transit.encrypt_data,
            name=self._key,
            plaintext=base64.b64encode(key).decode(),
            mount_point=self._mount,
        )
        return str(answer["data"]["ciphertext"]).encode()

    def unwrap(self, wrapped: bytes) -> bytes:
        """Have Vault decrypt what `wrap` returned. Raises `NotVerified` when it refuses to, and as `wrap` does."""
        answer = self._call(
            self._transit.decrypt_data, name=self._key, ciphertext=wrapped.decode(), mount_point=self._mount
        )
        return base64.b64decode(answer["data"]["plaintext"])

    def _call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        import hvac.exceptions
        import requests

        try:
            if self._login is None:
                return function(**arguments)
            self._login.ensure()
            try:
                return function(**arguments)
            except hvac.exceptions.Forbidden:
                # The token may have been revoked before its time; what a new one may not do is refused below.
                self._login.forget()
                self._login.ensure()
                return function(**arguments)
        except (hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden, hvac.exceptions.InvalidPath) as error:
            raise NotVerified(
                f"Vault refuses: {type(error).__name__}", hint="check the key's name, its policy and the token"
            ) from error
        except (hvac.exceptions.VaultError, requests.RequestException) as error:
            raise away(error) from error
