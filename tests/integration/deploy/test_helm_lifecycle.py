"""The chart in the hands of Helm itself, from the first object to the last: server-side apply, hooks, order."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from helm_python import HelmError

from aboveboard.cluster.operator import FINALIZER
from tests.chart_cases import CHART, NAMESPACE, example, merged, value_sets
from tests.helm_cluster import HelmCluster, helm_cluster

PLANE = value_sets()["control-plane"]
SERVICE = "decisionservices/credit-default"
OPERATOR = "deployments/aboveboard-operator"
CERTIFICATE = "secrets/aboveboard-admission-certificate"


def to_the_end(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that waits for others."""

    @functools.wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        asyncio.run(test(*arguments, **options))

    return run


async def helm(action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    await asyncio.to_thread(action, *arguments, timeout=60, **options)


def spec(cluster: HelmCluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.all()[name]["spec"]
    return found


@to_the_end
async def test_upgrade_and_rollback_change_what_differs_and_keep_what_others_wrote() -> None:
    async with helm_cluster(NAMESPACE) as (cluster, _, helmed):
        await helm(helmed.install, CHART, "aboveboard", PLANE, namespace=NAMESPACE)
        assert spec(cluster, OPERATOR)["replicas"] == 2
        # The webhook puts its certificate into the Secret that Helm made.
        key = next(key for key in cluster._objects if (key[0].plural, key[2]) == tuple(CERTIFICATE.split("/")))
        filled = {**cluster.all()[CERTIFICATE], "data": {"tls.key": "c2VjcmV0"}}
        await cluster._store(key, cluster.all()[CERTIFICATE], filled, 200)

        upgraded = merged(PLANE, {"operator": {"replicas": 3}, "networkPolicies": {"enabled": False}})
        await helm(helmed.upgrade, CHART, "aboveboard", upgraded, namespace=NAMESPACE)
        assert spec(cluster, OPERATOR)["replicas"] == 3
        assert "networkpolicies/aboveboard-operator" not in cluster.all()
        assert cluster.all()[CERTIFICATE]["data"] == {"tls.key": "c2VjcmV0"}

        await helm(helmed.rollback, "aboveboard")
        assert spec(cluster, OPERATOR)["replicas"] == 2
        assert "networkpolicies/aboveboard-operator" in cluster.all()
        assert cluster.all()[CERTIFICATE]["data"] == {"tls.key": "c2VjcmV0"}

        await helm(helmed.uninstall, "aboveboard")
        # Definitions stay, and with them what people wrote.
        assert {name.partition("/")[0] for name in cluster.all()} == {"customresourcedefinitions"}


@to_the_end
async def test_services_go_while_their_operator_is_there_to_let_them(tmp_path: Path) -> None:
    """Helm takes unknown kinds away last, after the operator; a finalizer would hold them for ever."""
    token = tmp_path / "token"
    token.write_text("token", encoding="utf-8")
    values = merged(PLANE, example("decision-service"))
    async with helm_cluster(NAMESPACE) as (cluster, url, helmed):
        await helm(helmed.install, CHART, "aboveboard", values, namespace=NAMESPACE)
        key = next(key for key in cluster._objects if (key[0].plural, key[2]) == tuple(SERVICE.split("/")))
        held = cluster.all()[SERVICE]
        held["metadata"]["finalizers"] = [FINALIZER]
        await cluster._store(key, cluster.all()[SERVICE], held, 200)
        said: list[str] = []

        async def run(job: dict[str, Any]) -> bool:
            """Do what the pod of the Job would."""
            [container] = job["spec"]["template"]["spec"]["containers"]
            environment = {each["name"]: each["value"] for each in container["env"]}
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                *container["args"],
                env={**os.environ, **environment, "API_URL": url, "API_TOKEN_FILE": str(token)},
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
            said.append(output.decode())
            return process.returncode == 0

        async def operate() -> None:
            """Let go what goes, as the operator does, as long as it is there."""
            while SERVICE in cluster.all():
                going = cluster.all()[SERVICE]
                if going["metadata"].get("deletionTimestamp") and OPERATOR in cluster.all():
                    await cluster._gone(key, {**going, "metadata": {**going["metadata"], "finalizers": []}})
                await asyncio.sleep(0.05)

        cluster.work = run
        operator = asyncio.create_task(operate())
        await helm(helmed.uninstall, "aboveboard")
        await asyncio.wait_for(operator, 20)
        assert said == ["removed: credit-production/credit-default\n"]
        assert cluster.writes.index(f"DELETE {SERVICE}") < cluster.writes.index(f"DELETE {OPERATOR}")
        assert {name.partition("/")[0] for name in cluster.all()} == {"customresourcedefinitions"}


@to_the_end
async def test_nothing_is_taken_away_while_services_cannot_go() -> None:
    async with helm_cluster(NAMESPACE) as (cluster, _, helmed):
        values = merged(PLANE, example("decision-service"))
        await helm(helmed.install, CHART, "aboveboard", values, namespace=NAMESPACE)

        async def fail(job: dict[str, Any]) -> bool:
            return False

        cluster.work = fail
        with pytest.raises(HelmError, match="aboveboard-uninstall not ready"):
            await helm(helmed.uninstall, "aboveboard")
        assert {OPERATOR, SERVICE} <= cluster.all().keys()


@to_the_end
async def test_definitions_are_helms_until_somebody_takes_them_by_force() -> None:
    """Helm applies them once and never again: whoever renews them meets Helm as the owner of every field."""
    async with helm_cluster(NAMESPACE) as (cluster, _, helmed):
        await helm(helmed.install, CHART, "aboveboard", PLANE, namespace=NAMESPACE)
        owners = {key[2]: set(managers) for key, managers in cluster.owned.items() if "definitions" in key[0].plural}
        assert len(owners) == 3
        [owner] = set.union(*owners.values())  # named after the program that embeds Helm
        assert owner != "kubectl"
    for page in (CHART / "templates" / "NOTES.txt", CHART.parents[1] / "docs" / "operations" / "cluster.md"):
        assert "kubectl apply --server-side --force-conflicts -f deploy/chart/crds" in page.read_text(
            encoding="utf-8"
        )


@to_the_end
async def test_what_is_no_kubernetes_of_today_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.helm_cluster.GIT_VERSION", "v1.31.9-eks-1234")
    async with helm_cluster(NAMESPACE) as (cluster, _, helmed):
        with pytest.raises(HelmError, match=r"incompatible with Kubernetes v1\.31\.9"):
            await helm(helmed.install, CHART, "aboveboard", PLANE, namespace=NAMESPACE)
        assert OPERATOR not in cluster.all()
