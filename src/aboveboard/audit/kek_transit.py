"""The key-encryption key in HashiCorp Vault's Transit engine: it never leaves Vault, and Vault logs every use."""

from __future__ import annotations

import base64
from typing import Any

from aboveboard.errors import Misuse, NotVerified, StorageFailed


class TransitKey:
    """A Transit key, by its name; `client` is an authenticated `hvac.Client`."""

    provider = "vault-transit"

    def __init__(self, client: Any, key: str, *, mount: str = "transit") -> None:
        self._transit = client.secrets.transit
        self._key = key
        self._mount = mount
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
    ) -> TransitKey:
        """Connect with a token. Raises `Misuse` without the extra `vault`.

        What is None is as Vault's own tools take it from the environment: `VAULT_ADDR`, `VAULT_TOKEN` or
        `~/.vault-token`, `VAULT_CACERT`.
        """
        try:
            import hvac
        except ImportError as error:
            raise Misuse("Vault needs the package hvac", hint="pip install 'aboveboard[vault]'") from error
        return cls(hvac.Client(url=url, token=token, verify=verify, timeout=10), key, mount=mount)

    def wrap(self, key: bytes) -> bytes:
        """Have Vault encrypt `key`. Raises `StorageFailed`."""
        answer = self._call(
            self._transit.encrypt_data,
            name=self._key,
            plaintext=base64.b64encode(key).decode(),
            mount_point=self._mount,
        )
        return str(answer["data"]["ciphertext"]).encode()

    def unwrap(self, wrapped: bytes) -> bytes:
        """Have Vault decrypt what `wrap` returned. Raises `NotVerified` when it refuses to, `StorageFailed`."""
        answer = self._call(
            self._transit.decrypt_data, name=self._key, ciphertext=wrapped.decode(), mount_point=self._mount
        )
        return base64.b64decode(answer["data"]["plaintext"])

    @staticmethod
    def _call(function: Any, **arguments: Any) -> Any:
        import hvac.exceptions
        import requests

        try:
            return function(**arguments)
        except (hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden, hvac.exceptions.InvalidPath) as error:
            raise NotVerified(
                f"Vault refuses: {type(error).__name__}", hint="check the key's name, its policy and the token"
            ) from error
        except (hvac.exceptions.VaultError, requests.RequestException) as error:
            raise StorageFailed(
                f"Vault cannot be reached: {type(error).__name__}",
                hint="is it up and unsealed, and VAULT_ADDR right?",
            ) from error
