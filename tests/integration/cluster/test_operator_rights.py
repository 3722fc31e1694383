"""The operator under the rights that the chart gives it: nothing it asks for is denied, first to last."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import kmock

from tests.api_server import ApiServer, api_server
from tests.chart_cases import render, value_sets
from tests.cluster_cases import PROMETHEUS
from tests.integration.cluster.test_operator import SERVICE, World
from tests.model_resources import model

HAND = {"X-Hand": "test"}
"""What people and other controllers do in these tests is not for the operator's rights to allow."""
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Rights:
    """Refuses what the operator's roles do not allow, as the API server's authorizer does (RBAC)."""

    def __init__(self, server: ApiServer) -> None:
        self.denied: list[tuple[str, str, str]] = []
        self.used: set[tuple[str, str, str]] = set()
        self._server = server
        self._allowed = {
            (group, resource, verb)
            for document in render(value_sets()["control-plane"])
            if document["kind"] in ("ClusterRole", "Role") and document["metadata"]["name"] == "aboveboard-operator"
            for rule in document["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    def __call__(self, request: kmock.Request) -> int | None:
        resource = request.resource
        if resource is None or not resource.plural or request.headers.get("X-Hand"):
            return None  # discovery is everybody's
        name = f"{resource.plural}/{request.subresource}" if request.subresource else str(resource.plural)
        for verb in self._verbs(request):
            asked = (str(resource.group or ""), name, verb)
            self.used.add(asked)
            if asked not in self._allowed:
                self.denied.append(asked)
                return 403
        return None

    def _verbs(self, request: kmock.Request) -> list[str]:
        method = str(request.method.value).upper()
        if method == "GET":
            watching = request.params.get("watch") not in (None, "false")
            return ["watch" if watching else "list" if request.name is None else "get"]
        applying = method == "PATCH" and "apply-patch" in str(request.headers.get("Content-Type", ""))
        there = f"{request.resource.plural}/{request.name}" in self._server.all() if request.resource else True
        return ["patch", "create"] if applying and not there else [VERBS[method]]


def test_the_operator_needs_no_right_that_the_chart_does_not_give(tmp_path: Path) -> None:
    async def act() -> Rights:
        async with api_server() as (server, url), aiohttp.ClientSession(headers=HAND) as session:
            world, rights = World(tmp_path, server, url, session), Rights(server)
            server.faults.append(rights)
            async with world.operator():
                integrations: dict[str, Any] = {
                    "istio": {},
                    "prometheus": PROMETHEUS,
                    "verticalPodAutoscaler": {},
                }
                await world.create(integrations=integrations)
                await world.all_there()
                await world.pods_come_up()
                await world.stands("Ready", "True")
                await world.patch(SERVICE, {"spec": {"integrations": {**integrations, "keda": {}}}})
                await world.until(lambda objects: "scaledobjects/loans" in objects)
                base = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/models"
                pipeline = {"run": "first", "schedule": "0 3 * * 1", "dataClaim": "d", "homeClaim": "h"}
                assert await world.ask("POST", base, model(pipeline=pipeline)) == 201
                await world.until(lambda objects: any(key.startswith("cronjobs/") for key in objects))
                path = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/decisionservices/loans"
                assert await world.ask("DELETE", path) == 200
                await world.until(lambda objects: SERVICE not in objects)
            return rights

    rights = asyncio.run(act())
    assert rights.denied == []
    assert {("apps", "statefulsets", "create"), ("apps", "statefulsets", "delete")} <= rights.used
    assert ("aboveboard.dev", "decisionservices/status", "patch") in rights.used
    assert ("coordination.k8s.io", "leases", "update") in rights.used
