"""The webhook's own certificate: shared by replicas, trusted before it is served, renewed in time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import lightkube
import pytest
from cryptography import x509

from aboveboard.cluster.kube import Cluster
from aboveboard.cluster.policies import WEBHOOK_NAME, webhook_configuration
from aboveboard.cluster.webhook_trust import TrustedCertificate
from aboveboard.errors import AboveboardError, NotFound
from tests.api_server import ApiServer, api_server

NAMES = ("aboveboard-admission.aboveboard-system.svc",)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


class Replicas:
    """Two replicas of the webhook, an API server, and a clock."""

    def __init__(self, root: Path, server: ApiServer, url: str) -> None:
        self.root = root
        self.server = server
        self.now = NOW
        user = {"name": "t", "user": {}}
        self._config = lightkube.KubeConfig.from_dict(
            {
                "clusters": [{"name": "t", "cluster": {"server": url}}],
                "users": [user],
                "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
                "current-context": "t",
            }
        )

    @contextlib.asynccontextmanager
    async def replica(self, name: str, said: Callable[[datetime], None] = lambda ends: None) -> AsyncIterator[Any]:
        api = Cluster(self._config)
        try:
            yield TrustedCertificate(
                api, "tls", "aboveboard-system", NAMES, self.root / name, lambda: self.now, said=said
            )
        finally:
            await api.close()

    def bundles(self) -> set[bytes]:
        found = self.server.all()[f"validatingwebhookconfigurations/{WEBHOOK_NAME}"]["webhooks"]
        return {base64.b64decode(webhook["clientConfig"].get("caBundle", "")) for webhook in found}

    def file(self, replica: str, name: str) -> bytes:
        return (self.root / replica / name).read_bytes()


def play(root: Path, scenario: Callable[[Replicas], Coroutine[Any, Any, None]], *, configured: bool = True) -> None:
    async def act() -> None:
        async with api_server() as (server, url), aiohttp.ClientSession() as session:
            if configured:
                item = webhook_configuration(namespace="aboveboard-system", service="aboveboard-admission")
                async with session.post(url + PATH, json=item) as answer:
                    assert answer.status == 201
            await scenario(Replicas(root, server, url))

    asyncio.run(act())


def issued_by(certificate: bytes, roots: bytes) -> bool:
    leaf = x509.load_pem_x509_certificate(certificate)
    for root in x509.load_pem_x509_certificates(roots):
        with contextlib.suppress(Exception):
            leaf.verify_directly_issued_by(root)
            return True
    return False


def test_replicas_that_start_together_share_one_certificate(tmp_path: Path) -> None:
    async def scenario(world: Replicas) -> None:
        async with world.replica("a") as one, world.replica("b") as two:
            await asyncio.gather(one.first(0.01), two.first(0.01))
            await asyncio.gather(one.once(), two.once())
        for name in ("ca.crt", "tls.crt", "tls.key"):
            assert world.file("a", name) == world.file("b", name)
        assert (tmp_path / "a" / "tls.key").stat().st_mode & 0o777 == 0o600
        (bundle,) = world.bundles()
        assert issued_by(world.file("a", "tls.crt"), bundle)
        # Settled: nothing is written any more.
        world.server.writes.clear()
        async with world.replica("a") as one:
            await one.once()
        assert world.server.writes == []

    play(tmp_path, scenario)


def test_a_renewal_is_trusted_before_anybody_serves_it(tmp_path: Path) -> None:
    async def scenario(world: Replicas) -> None:
        ends: list[datetime] = []
        async with world.replica("a", ends.append) as one, world.replica("b") as two:
            await one.once()
            await two.once()
            old = world.file("b", "tls.crt")
            world.now = NOW + timedelta(days=336)
            await one.once()
            assert world.file("a", "tls.crt") != old
            assert world.file("b", "tls.crt") == old
            (bundle,) = world.bundles()
            # One replica still serves the old one, and is still believed.
            assert issued_by(old, bundle)
            assert issued_by(world.file("a", "tls.crt"), bundle)
            await two.once()
            assert world.file("b", "tls.crt") == world.file("a", "tls.crt")
            # The root before last is dropped.
            world.now += timedelta(days=336)
            await one.once()
            (bundle,) = world.bundles()
            assert len(x509.load_pem_x509_certificates(bundle)) == 2
            assert not issued_by(old, bundle)
        assert ends == sorted(ends)
        assert ends[-1] > world.now

    play(tmp_path, scenario)


def test_nothing_is_served_that_is_not_trusted(tmp_path: Path) -> None:
    async def scenario(world: Replicas) -> None:
        async with world.replica("a") as one:
            with pytest.raises(NotFound, match="no ValidatingWebhookConfiguration"):
                await one.once()
            assert not (tmp_path / "a").exists()

    play(tmp_path, scenario, configured=False)


def test_a_secret_that_the_chart_made_empty_or_somebody_damaged(tmp_path: Path) -> None:
    async def scenario(world: Replicas) -> None:
        async with world.replica("a") as one:
            empty = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
            metadata = {"name": "tls", "namespace": "aboveboard-system", "labels": {"made-by": "chart"}}
            await one.api.create({**empty, "metadata": metadata})
            await one.once()
            made = world.server.all()["secrets/tls"]
            assert (made["type"], made["metadata"]["labels"]) == ("Opaque", {"made-by": "chart"})
            await one.api.replace({**made, "data": {**made["data"], "tls.crt": "!!"}})
            await one.once()
            assert base64.b64decode(world.server.all()["secrets/tls"]["data"]["tls.crt"]) == world.file(
                "a", "tls.crt"
            )

    play(tmp_path, scenario)


def test_a_bundle_somebody_removed_is_put_back(tmp_path: Path) -> None:
    async def scenario(world: Replicas) -> None:
        async with world.replica("a") as one:
            await one.once()
            before = world.bundles()
            removed = [{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]
            await one.api.patch_webhooks(WEBHOOK_NAME, removed)
            assert world.bundles() != before
            await one.once()
            assert world.bundles() == before

    play(tmp_path, scenario)


def test_failures_are_said_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: Replicas) -> None:
        left = [2]

        def fault(request: Any) -> int | None:
            left[0] -= 1
            return 503 if left[0] >= 0 else None

        async with world.replica("a") as one:
            await one.once()
            world.server.faults.append(fault)
            with pytest.raises(AboveboardError):
                await one.once()
            keeping = asyncio.create_task(one.forever(0.01))
            while left[0] >= -2:
                await asyncio.sleep(0.01)
            keeping.cancel()
        assert "the webhook's certificate" in caplog.text

    play(tmp_path, scenario)
