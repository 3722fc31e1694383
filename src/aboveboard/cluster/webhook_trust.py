"""The webhook's own certificate where there is no cert-manager: one for all replicas, trusted before it is served.

The pair is in a Secret that every replica reads. Who first finds that it is missing or ends soon makes a new one and
writes it with the version it has read; of two that try, one is told that it was too late and takes the other's. The
`ca.crt` beside it holds the root before as well, and is in the API server's configuration before a new pair is put
where the webhook serves from: at no moment does anybody serve what the API server does not trust.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509

from aboveboard.clock import Clock
from aboveboard.cluster.certificates import lasts, make
from aboveboard.cluster.plan import Key
from aboveboard.cluster.policies import WEBHOOK_NAME
from aboveboard.errors import AboveboardError, Conflict, NotFound
from aboveboard.files import write_atomically

LOOK_SECONDS = 30.0
_PEM_END = b"-----END CERTIFICATE-----\n"
_KIND = "Secret"
_FILES = ("ca.crt", "tls.crt", "tls.key")

_log = logging.getLogger("aboveboard.cluster")


class TrustApi(Protocol):
    """What is needed of the API server (see `kube.Cluster`)."""

    async def get(self, key: Key, namespace: str) -> dict[str, Any] | None:
        """Return the Secret or None."""

    async def create(self, item: dict[str, Any]) -> dict[str, Any]:
        """Create the Secret; `Conflict` when somebody was first."""

    async def replace(self, item: dict[str, Any]) -> dict[str, Any]:
        """Replace the Secret; `Conflict` when it has changed since it was read."""

    async def get_webhooks(self, name: str) -> dict[str, Any] | None:
        """Return a ValidatingWebhookConfiguration or None."""

    async def patch_webhooks(self, name: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Patch it by JSON patch; `Conflict` or `RequestRefused` when it has changed since."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, its key, and the roots by which it is trusted: the newest first, then the one before."""

    roots: bytes
    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class TrustedCertificate:
    """Keeps the pair current, trusted and in a directory."""

    api: TrustApi
    secret: str
    namespace: str
    names: tuple[str, ...]
    directory: Path
    clock: Clock
    configuration: str = WEBHOOK_NAME
    renew: timedelta = timedelta(days=30)
    """How long before its end a certificate is replaced."""
    said: Callable[[datetime], None] = lambda ends: None
    """Told when the certificate in use ends."""

    async def once(self) -> None:
        """Have the pair made, trusted and in place. Raises our errors; then what was in place stays."""
        pair = await self._pair()
        await self._trust(pair.roots)
        self._install(pair)

    async def forever(self, every: float = LOOK_SECONDS) -> None:
        """Do so again and again."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.once()
            except AboveboardError as error:
                _log.warning("the webhook's certificate: %s", error.message)

    async def first(self, every: float = 2.0) -> None:
        """Do so until it went well: without a certificate there is nothing to serve."""
        while True:
            try:
                return await self.once()
            except AboveboardError as error:
                _log.warning("the webhook's certificate: %s", error.message)
                await asyncio.sleep(every)

    async def _pair(self) -> Pair:
        key = Key("v1", _KIND, self.secret)
        found = await self.api.get(key, self.namespace)
        pair = read_pair(found)
        if pair is not None and lasts(pair.certificate, self.names, self.clock(), self.renew):
            return pair
        root, certificate, private = make(self.names, at=self.clock())
        fresh = Pair(root + (newest(pair.roots) if pair is not None else b""), certificate, private)
        try:
            if found is None:
                await self.api.create(self._secret_of(fresh, {"name": self.secret, "namespace": self.namespace}))
            else:
                await self.api.replace(self._secret_of(fresh, found["metadata"], found))
        except Conflict:
            pair = read_pair(await self.api.get(key, self.namespace))
            if pair is None:
                raise
            return pair  # another replica was first; theirs is as good
        _log.warning("the webhook's certificate was made anew")
        return fresh

    def _secret_of(
        self, pair: Pair, metadata: Mapping[str, Any], found: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        values = dict(zip(_FILES, (pair.roots, pair.certificate, pair.key), strict=True))
        data = {name: base64.b64encode(value).decode() for name, value in values.items()}
        kind = (found or {}).get("type", "kubernetes.io/tls")  # it cannot be changed afterwards
        return {"apiVersion": "v1", "kind": _KIND, "metadata": dict(metadata), "type": kind, "data": data}

    async def _trust(self, roots: bytes) -> None:
        """Have the API server trust the roots in every webhook of ours."""
        found = await self.api.get_webhooks(self.configuration)
        if found is None:
            raise NotFound(
                f"there is no ValidatingWebhookConfiguration {self.configuration}", hint="aboveboard crds --webhook"
            )
        bundle = base64.b64encode(roots).decode()
        operations: list[dict[str, Any]] = []
        for index, webhook in enumerate(found.get("webhooks") or ()):
            if webhook["clientConfig"].get("caBundle") != bundle:
                path = f"/webhooks/{index}"
                operations += [
                    {"op": "test", "path": f"{path}/name", "value": webhook["name"]},
                    {"op": "add", "path": f"{path}/clientConfig/caBundle", "value": bundle},
                ]
        if operations:
            await self.api.patch_webhooks(self.configuration, operations)

    def _install(self, pair: Pair) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content, mode in (
            ("ca.crt", pair.roots, 0o644),
            ("tls.key", pair.key, 0o600),
            ("tls.crt", pair.certificate, 0o644),
        ):
            path = self.directory / name
            if not path.is_file() or path.read_bytes() != content:
                write_atomically(path, content, mode=mode)
        self.said(x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc)


def read_pair(secret: Mapping[str, Any] | None) -> Pair | None:
    """Return the pair in a Secret; None where there is none, or something else."""
    data = (secret or {}).get("data") or {}
    try:
        values = [base64.b64decode(data[name], validate=True) for name in _FILES]
    except (KeyError, TypeError, ValueError):
        return None
    return Pair(*values) if all(values) else None


def newest(roots: bytes) -> bytes:
    """Return the first certificate of a bundle."""
    first, end, _ = roots.partition(_PEM_END)
    return first + end
