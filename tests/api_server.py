"""A Kubernetes API server over HTTP for tests: kmock's emulator, and what it leaves to those who need it.

Added are uid, resourceVersion and generation, optimistic concurrency, the status subresource, server-side apply with
field managers, and faults on demand. There is no garbage collection and no controller: tests play their parts.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import jsonpatch
import kmock
from aiohttp import web

from aboveboard.cluster.kube import PLURALS
from aboveboard.cluster.owned import WATCHED
from aboveboard.cluster.types import GROUP, VERSION

SERVICES = kmock.resource(GROUP, VERSION, "decisionservices")
BUILT_IN = {kind: api for kind, api in WATCHED.items() if "argoproj" not in api and "istio" not in api} | {
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
"""What every cluster has, whether or not there is an object of it."""
PACKS = kmock.resource(GROUP, VERSION, "policypacks")
MODELS = kmock.resource(GROUP, VERSION, "models")
Fault = Callable[[kmock.Request], int | None]
Path = tuple[str, ...]
_ABSENT = object()


class ApiServer(kmock.KubernetesEmulator):
    """The emulator, with the promises of the API server that the operator relies on."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.versions = itertools.count(1)
        self.owned: dict[Any, dict[str, set[Path]]] = {}
        self.faults: list[Fault] = []
        self.writes: list[str] = []
        self.posted: list[dict[str, Any]] = []
        self.unknown_kinds: set[str] = set()
        verbs = {"get", "list", "watch", "patch", "create", "update", "delete"}
        self.resources[SERVICES] = kmock.ResourceInfo(
            kind="DecisionService", singular="decisionservice", namespaced=True, verbs=verbs, subresources={"status"}
        )
        for resource, kind in ((PACKS, "PolicyPack"), (MODELS, "Model")):
            self.resources[resource] = kmock.ResourceInfo(
                kind=kind, singular=kind.lower(), namespaced=True, verbs=verbs, subresources={"status"}
            )
        for kind, api_version in BUILT_IN.items():
            group, _, version = api_version.rpartition("/")
            self.resources[kmock.resource(group, version, PLURALS[kind])] = kmock.ResourceInfo(
                kind=kind, singular=kind.lower(), namespaced=True, verbs=verbs, subresources={"status"}
            )
        for plural, kind in (("namespaces", "Namespace"), ("events", "Event")):
            self.resources[kmock.resource("", "v1", plural)] = kmock.ResourceInfo(
                kind=kind, singular=kind.lower(), namespaced=plural == "events", verbs=verbs
            )

    async def _handle(self, request: kmock.Request) -> web.StreamResponse:
        for fault in self.faults:
            code = fault(request)
            if code == 0:
                raise ConnectionResetError
            if code is not None:
                return refusal(code, "injected by the test")
        resource = request.resource
        single = request.name is not None or str(request.method.value).upper() == "POST"
        if resource is None or resource.plural is None or not single:
            return await super()._handle(request)
        plural = str(resource.plural)
        if plural in self.unknown_kinds:
            return web.json_response({}, status=404)
        if plural == "events":
            self.posted.append(request.data)
            return web.json_response(request.data, status=201)
        async with self._lock:
            return await self._one(request, (resource, request.namespace, self._name(request)))

    def _name(self, request: kmock.Request) -> str:
        return request.name or str(request.data["metadata"]["name"])

    async def _one(self, request: kmock.Request, key: Any) -> web.StreamResponse:
        known = key in self._objects and not self._objects[key].deleted
        found: dict[str, Any] | None = copy.deepcopy(dict(self._objects[key].raw)) if known else None
        method, kind = str(request.method.value).upper(), str(request.headers.get("Content-Type", ""))
        applying = method == "PATCH" and "apply-patch" in kind
        if method == "GET":
            return refusal(404, "not found") if found is None else web.json_response(found)
        self.writes.append(f"{method} {key[0].plural}/{key[2]}")
        if found is None:
            if method != "POST" and not applying:
                return refusal(404, "not found")
            manager = str(request.params.get("fieldManager", "unknown"))
            self.owned[key] = {manager: set(leaves(request.data))} if applying else {}
            return await self._store(key, {}, strip(request.data), 201)
        if method == "POST":
            return refusal(409, "already exists")
        if method == "DELETE":
            if found["metadata"].get("finalizers"):
                going = copy.deepcopy(found)
                going["metadata"].setdefault("deletionTimestamp", datetime.now(UTC).isoformat())
                return await self._store(key, found, going, 200)
            return await self._gone(key, found)
        version = None if "json-patch" in kind else (request.data.get("metadata") or {}).get("resourceVersion")
        if version not in (None, found["metadata"]["resourceVersion"]):
            return refusal(409, "the object has been modified")
        if applying:
            manager = str(request.params["fieldManager"])
            rivals = self._rivals(key, manager, found, request.data)
            if rivals and request.params.get("force") != "true":
                return refusal(409, f"conflict with {', '.join(rivals)}")
            new = self._applied(key, manager, found, request.data)
        elif method == "PUT":
            new = {**strip(request.data), "status": found.get("status", {})}
            new["metadata"] = {**found["metadata"], **new["metadata"]}
        else:
            try:
                changed = patched(found, request.data, kind)
            except jsonpatch.JsonPatchException as error:
                return refusal(422, str(error))
            if request.subresource == "status":
                new = {**found, "status": changed.get("status", {})}
            else:
                new = {**changed, **({"status": found["status"]} if "status" in found else {})}
            if key in self.owned and request.subresource is None and isinstance(request.data, dict):
                self.owned[key].setdefault("somebody", set()).update(leaves(request.data))
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            return await self._gone(key, new)
        return await self._store(key, found, new, 200)

    def _rivals(self, key: Any, manager: str, found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
        return sorted(
            other
            for other, paths in self.owned.get(key, {}).items()
            if other != manager
            and any(at(wanted, path) is not _ABSENT and at(wanted, path) != at(found, path) for path in paths)
        )

    def _applied(self, key: Any, manager: str, found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        managers = self.owned.setdefault(key, {})
        mine = set(leaves(wanted))
        new = copy.deepcopy(found)
        for path in managers.get(manager, set()) - mine:
            if not any(path in paths for other, paths in managers.items() if other != manager):
                remove(new, path)
        for path in mine:
            put(new, path, at(wanted, path))
        for other in managers:
            managers[other] -= mine
        managers[manager] = mine
        return new

    async def _store(self, key: Any, old: dict[str, Any], new: dict[str, Any], code: int) -> web.StreamResponse:
        new = copy.deepcopy(new)
        metadata = new["metadata"]
        same = {**old, "metadata": {**old.get("metadata", {}), "resourceVersion": ""}}
        if old and same == {**new, "metadata": {**metadata, "resourceVersion": ""}}:
            return web.json_response(old, status=code)  # a write that changes nothing has no version of its own
        metadata["resourceVersion"] = str(next(self.versions))
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", datetime.now(UTC).isoformat())
        if key[1] is not None:
            metadata["namespace"] = key[1]
        content = {name: value for name, value in new.items() if name not in ("metadata", "status")}
        before = {name: value for name, value in old.items() if name not in ("metadata", "status")}
        generation = old.get("metadata", {}).get("generation", 0)
        metadata["generation"] = generation + 1 if content != before else generation
        if key in self._objects:
            self._objects[key].create(new)
        else:
            self._objects[key] = new
        kind = "MODIFIED" if old else "ADDED"
        await self._buses[key[0]].put({"type": kind, "object": new})
        return web.json_response(new, status=code)

    async def _gone(self, key: Any, last: dict[str, Any]) -> web.StreamResponse:
        self._objects[key].delete()
        self.owned.pop(key, None)
        await self._buses[key[0]].put({"type": "DELETED", "object": last})
        return web.json_response(last)

    # What tests do and ask, from outside the server's own loop.

    def all(self) -> dict[str, dict[str, Any]]:
        """Every object there is, by plural and name."""
        return {
            f"{resource.plural}/{name}": copy.deepcopy(dict(item.raw))
            for (resource, _, name), item in list(self._objects.items())
            if not item.deleted
        }


def refusal(code: int, message: str) -> web.Response:
    status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message}
    return web.json_response(status, status=code)


def strip(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in copy.deepcopy(item).items() if key != "status"}


def leaves(item: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of an object's values; a list is one value."""
    for key, value in item.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        elif (*path, key) not in {("metadata", "resourceVersion"), ("metadata", "uid")}:
            yield (*path, key)


def at(item: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(item, dict) or key not in item:
            return _ABSENT
        item = item[key]
    return item


def put(item: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        item = item.setdefault(key, {})
    item[path[-1]] = copy.deepcopy(value)


def remove(item: dict[str, Any], path: Path) -> None:
    if at(item, path) is not _ABSENT:
        for key in path[:-1]:
            item = item[key]
        del item[path[-1]]


def patched(item: dict[str, Any], patch: Any, kind: str) -> dict[str, Any]:
    if "json-patch" in kind:
        result: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(item), patch)
        return result
    result = copy.deepcopy(item)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            base = result.get(key)
            result[key] = patched(base if isinstance(base, dict) else {}, value, "")
        else:
            result[key] = value
    return result


@contextlib.asynccontextmanager
async def api_server() -> AsyncIterator[tuple[ApiServer, str]]:
    """Yield a server and its URL."""
    async with ApiServer() as handler, kmock.Server(handler) as server:
        yield handler, str(server.url).rstrip("/")
