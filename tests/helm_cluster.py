"""A cluster for Helm: the API server of the tests, with the kinds the chart brings and what Helm asks beside.

A Job does what a test says it does. Nothing else is played.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import helm_python as helm
import kmock
from aiohttp import web

from tests.api_server import ApiServer

GIT_VERSION = "v1.36.1-gke.100"
"""With what vendors append to it: by the rules of semantic versions such a one comes before 1.36.1."""
KINDS: dict[str, tuple[str, str, bool]] = {
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "ConfigMap": ("v1", "configmaps", True),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "LimitRange": ("v1", "limitranges", True),
    "Namespace": ("v1", "namespaces", False),
    "Pod": ("v1", "pods", True),
    "ResourceQuota": ("v1", "resourcequotas", True),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "Secret": ("v1", "secrets", True),
    "Service": ("v1", "services", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "ValidatingAdmissionPolicy": ("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": (
        "admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
        False,
    ),
    "ValidatingWebhookConfiguration": ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", False),
}
"""What the chart brings beside what a DecisionService becomes: API, plural, whether it is in a namespace."""

Work = Callable[[dict[str, Any]], Awaitable[bool]]
"""Does what a Job says; tells whether it went well."""


class HelmCluster(ApiServer):
    """The API server, with discovery and lists as Helm reads them."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.work: Work | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        verbs = {"get", "list", "watch", "patch", "create", "update", "delete"}
        for kind, (api_version, plural, namespaced) in KINDS.items():
            group, _, version = api_version.rpartition("/")
            self.resources[kmock.resource(group, version, plural)] = kmock.ResourceInfo(
                kind=kind, singular=kind.lower(), namespaced=namespaced, verbs=verbs, subresources={"status"}
            )

    async def _handle(self, request: kmock.Request) -> web.StreamResponse:
        path = str(request.url.path)
        if path == "/version":
            return web.json_response({"major": "1", "minor": "36", "gitVersion": GIT_VERSION})
        if path == "/api/v1":
            return web.json_response({"kind": "APIResourceList", "groupVersion": "v1", "resources": self._core()})
        if path == "/openapi/v3":
            versions = {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name, _, _ in self._known()}
            return web.json_response({"paths": versions})
        if path.startswith("/openapi/v3/"):
            return web.json_response(self._schemas(path.removeprefix("/openapi/v3/")))
        resource, listing = request.resource, request.name is None and request.params.get("watch") is None
        if str(request.method.value).upper() == "GET" and resource is not None and resource.plural and listing:
            return web.json_response(self._list(resource, request.namespace))
        return await super()._handle(request)

    def _known(self) -> list[tuple[str, Any, Any]]:
        known: list[tuple[Any, Any]] = list(self.resources.items())
        return [
            (f"apis/{each.group}/{each.version}" if each.group else f"api/{each.version}", each, info)
            for each, info in known
        ]

    def _core(self) -> list[dict[str, Any]]:
        return [
            {"name": each.plural, "kind": info.kind, "namespaced": info.namespaced, "verbs": sorted(info.verbs)}
            for name, each, info in self._known()
            if name == "api/v1"
        ]

    def _schemas(self, wanted: str) -> dict[str, Any]:
        """Say of every kind that the server itself validates its fields: then Helm leaves it to the server."""
        strict = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
        paths = {}
        for name, each, info in self._known():
            kind = {"group": each.group, "version": each.version, "kind": info.kind}
            patch = {"x-kubernetes-group-version-kind": kind, "parameters": [strict], "responses": {}}
            if name == wanted:
                paths[f"/{name}/{each.plural}/{{name}}"] = {"patch": patch}
        return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": GIT_VERSION}, "paths": paths}

    def _list(self, resource: Any, namespace: str | None) -> dict[str, Any]:
        items = [
            dict(item.raw)
            for (kind, where, _), item in self._objects.items()
            if kind == resource and namespace in (None, where) and not item.deleted
        ]
        info = next(info for _, each, info in self._known() if each == resource)
        version = max((int(item["metadata"]["resourceVersion"]) for item in items), default=0)
        api_version = f"{resource.group}/{resource.version}" if resource.group else resource.version
        metadata = {"resourceVersion": str(version)}
        return {"apiVersion": api_version, "kind": f"{info.kind}List", "metadata": metadata, "items": items}

    async def _store(self, key: Any, old: dict[str, Any], new: dict[str, Any], code: int) -> web.StreamResponse:
        if key[0].plural == "customresourcedefinitions":
            met = [{"type": kind, "status": "True"} for kind in ("Established", "NamesAccepted")]
            new = {**new, "status": {"conditions": met}}
        answer = await super()._store(key, old, new, code)
        if key[0].plural == "jobs" and not old:
            task = asyncio.create_task(self._job(key))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return answer

    async def _job(self, key: Any) -> None:
        job = dict(self._objects[key].raw)
        done = await self.work(job) if self.work is not None else True
        status = {
            "startTime": "2026-11-22T00:00:00Z",
            "succeeded" if done else "failed": 1,
            "conditions": [{"type": "Complete" if done else "Failed", "status": "True", "reason": "Tested"}],
        }
        async with self._lock:
            await super()._store(key, job, {**job, "status": status}, 200)


@contextlib.asynccontextmanager
async def helm_cluster(namespace: str) -> AsyncIterator[tuple[HelmCluster, str, helm.Config]]:
    """Yield a cluster, its URL, and Helm for it. Helm is to be called from a thread; it keeps releases in memory."""
    async with HelmCluster() as cluster, kmock.Server(cluster) as server:
        url = str(server.url).rstrip("/")
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        text = json.dumps(kubeconfig)  # JSON is YAML
        with helm.Config(kubeconfig_content=text, namespace=namespace, storage_driver="memory") as config:
            yield cluster, url, config
