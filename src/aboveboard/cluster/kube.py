"""The API server, as far as the operator talks to it; the one module that knows the client library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from aboveboard.cluster.naming import MANAGER
from aboveboard.cluster.plan import Key
from aboveboard.cluster.types import API_VERSION, GROUP
from aboveboard.errors import (
    AboveboardError,
    Conflict,
    Misuse,
    NotAuthorised,
    NotFound,
    RequestRefused,
    StorageFailed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from lightkube import KubeConfig

PLURALS: Mapping[str, str] = {
    "AnalysisTemplate": "analysistemplates",
    "AuthorizationPolicy": "authorizationpolicies",
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs",
    "DecisionService": "decisionservices",
    "Deployment": "deployments",
    "DestinationRule": "destinationrules",
    "Event": "events",
    "HTTPRoute": "httproutes",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "Job": "jobs",
    "Lease": "leases",
    "Model": "models",
    "NetworkPolicy": "networkpolicies",
    "PeerAuthentication": "peerauthentications",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PolicyPack": "policypacks",
    "PrometheusRule": "prometheusrules",
    "Rollout": "rollouts",
    "ScaledObject": "scaledobjects",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ServiceMonitor": "servicemonitors",
    "StatefulSet": "statefulsets",
    "VerticalPodAutoscaler": "verticalpodautoscalers",
    "VirtualService": "virtualservices",
}
"""Every kind the operator or the webhook reads or writes, and its name in paths."""


WATCH_SECONDS = 240
"""After which the API server ends a watch; the client begins it again where it was."""


class Cluster:
    """Reads and writes of single objects. Raises our errors; `StorageFailed` is worth another try."""

    def __init__(self, config: KubeConfig | None = None) -> None:
        """Connect as the pod's account, or as the kubeconfig says. Raises `Misuse` where neither is there."""
        try:
            import lightkube
            from lightkube.core.exceptions import ConfigError
        except ImportError as error:
            raise Misuse(
                "the Kubernetes client is not installed", hint="pip install 'aboveboard[cluster]'"
            ) from error
        try:
            self._client: Any = lightkube.AsyncClient(config=config, field_manager=MANAGER)
        except ConfigError as error:
            raise Misuse(f"no cluster is known: {error}", hint="run in a pod, or set KUBECONFIG") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, key: Key, namespace: str) -> dict[str, Any] | None:
        """Return an object, or None when there is none, or no such kind in this cluster."""
        with _errors(f"{key.kind} {key.name}"):
            try:
                found = await self._client.get(_resource(key.api_version, key.kind), key.name, namespace=namespace)
            except _api_error() as error:
                if _code(error) == 404:
                    return None
                raise
        return _plain(found)

    async def apply(self, item: dict[str, Any], *, force: bool) -> dict[str, Any]:
        """Apply an object server-side as field manager `aboveboard`; with `force`, over other managers' heads.

        Raises `Conflict` where another manager owns a field, `NotFound` when the cluster does not know the kind.
        """
        key = Key.of(item)
        with _errors(f"{key.kind} {key.name}"):
            resource = _resource(key.api_version, key.kind)
            applied = await self._client.apply(
                resource.from_dict(item), namespace=item["metadata"]["namespace"], force=force
            )
        return _plain(applied)

    async def delete(self, key: Key, namespace: str) -> None:
        """Delete an object and what it controls; that it is gone already is fine."""
        from lightkube.types import CascadeType

        with _errors(f"{key.kind} {key.name}"):
            try:
                # Said each time: the API server orphans the pods of a Job where nothing is said.
                await self._client.delete(
                    _resource(key.api_version, key.kind),
                    key.name,
                    namespace=namespace,
                    cascade=CascadeType.BACKGROUND,
                )
            except _api_error() as error:
                if _code(error) != 404:
                    raise

    async def create(self, item: dict[str, Any]) -> dict[str, Any]:
        """Create an object. Raises `Conflict` when somebody was first."""
        key = Key.of(item)
        with _errors(f"{key.kind} {key.name}"):
            resource = _resource(key.api_version, key.kind)
            return _plain(
                await self._client.create(resource.from_dict(item), namespace=item["metadata"]["namespace"])
            )

    async def replace(self, item: dict[str, Any]) -> dict[str, Any]:
        """Replace an object read before. Raises `Conflict` when it has changed since (by its resourceVersion)."""
        key = Key.of(item)
        with _errors(f"{key.kind} {key.name}"):
            resource = _resource(key.api_version, key.kind)
            return _plain(
                await self._client.replace(resource.from_dict(item), namespace=item["metadata"]["namespace"])
            )

    async def patch_status(
        self, name: str, namespace: str, status: Mapping[str, Any], *, kind: str = "DecisionService"
    ) -> None:
        """Write the status of a resource of ours; that it is gone already is fine."""
        from lightkube.types import PatchType

        with _errors(f"status of {name}"):
            try:
                await self._client.patch(
                    _resource(API_VERSION, kind).Status,
                    name,
                    {"status": dict(status)},
                    namespace=namespace,
                    patch_type=PatchType.MERGE,
                )
            except _api_error() as error:
                if _code(error) != 404:
                    raise

    async def patch_finalizers(self, service: Mapping[str, Any], finalizers: Sequence[str]) -> None:
        """Write the finalizers of a service as it was read. Raises `Conflict` when it has changed since."""
        from lightkube.types import PatchType

        metadata = service["metadata"]
        patch = {"metadata": {"finalizers": list(finalizers), "resourceVersion": metadata["resourceVersion"]}}
        with _errors(f"finalizers of {metadata['name']}"):
            await self._client.patch(
                _resource(API_VERSION, "DecisionService"),
                metadata["name"],
                patch,
                namespace=metadata["namespace"],
                patch_type=PatchType.MERGE,
            )

    async def get_webhooks(self, name: str) -> dict[str, Any] | None:
        """Return a ValidatingWebhookConfiguration or None."""
        with _errors(f"the webhook configuration {name}"):
            try:
                return _plain(await self._client.get(_webhooks(), name))
            except _api_error() as error:
                if _code(error) == 404:
                    return None
                raise

    async def patch_webhooks(self, name: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Patch a ValidatingWebhookConfiguration by JSON patch (RFC 6902)."""
        from lightkube.types import PatchType

        with _errors(f"the webhook configuration {name}"):
            await self._client.patch(_webhooks(), name, list(operations), patch_type=PatchType.JSON)

    async def services(self) -> list[dict[str, Any]]:
        """Return every DecisionService there is, in all namespaces."""
        found, _ = await self.listed(API_VERSION, "DecisionService")
        return found

    async def listed(
        self, api_version: str, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> tuple[list[dict[str, Any]], str]:
        """Return every object of a kind, in one namespace or all, and the version of that list.

        Raises `NotFound` when the cluster does not know the kind.
        """
        with _errors(f"the list of {kind}"):
            found = self._client.list(_resource(api_version, kind), namespace=namespace or "*", labels=labels)
            items = [_plain(item) async for item in found]
            return items, found.resourceVersion

    async def watched(
        self,
        api_version: str,
        kind: str,
        version: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what happens to objects of a kind after a list of that version: `ADDED`, `MODIFIED`, `DELETED`.

        Raises our errors when the watch breaks or its version is too old; then it begins with a list again.
        """
        events = self._client.watch(
            _resource(api_version, kind),
            namespace=namespace or "*",
            labels=labels,
            resource_version=version,
            server_timeout=WATCH_SECONDS,
        )
        with _errors(f"the watch of {kind}"):
            async for happened, item in events:
                yield happened, _plain(item)


@cache
def _resource(api_version: str, kind: str) -> Any:
    """Return the client's class for a kind: plain documents, in no registry of the library."""
    from lightkube.core.resource import ApiInfo, ResourceDef
    from lightkube.generic_resource import GenericNamespacedResource, GenericNamespacedStatus, create_api_info

    if kind not in PLURALS:
        raise Misuse(f"the operator does not handle {kind}", hint="this is a defect: the kind is missing in PLURALS")
    group, _, version = api_version.rpartition("/")
    plural = PLURALS[kind]
    resource = ResourceDef(group, version, kind)
    info = ApiInfo(resource=resource, parent=resource, plural=plural, verbs=["get", "patch"], action="status")
    status = type(f"{kind}Status", (GenericNamespacedStatus,), {"_api_info": info})
    members = {"_api_info": create_api_info(group, version, kind, plural), "Status": status}
    return type(kind, (GenericNamespacedResource,), members)


@cache
def _webhooks() -> Any:
    from lightkube.generic_resource import GenericGlobalResource, create_api_info

    group, version, kind = "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"
    info = create_api_info(group, version, kind, "validatingwebhookconfigurations")
    return type(kind, (GenericGlobalResource,), {"_api_info": info})


def _plain(item: Any) -> dict[str, Any]:
    plain: dict[str, Any] = item.to_dict()
    return plain


def _api_error() -> Any:
    """Return what the client raises for an answer that is an error.

    Not only its own `ApiError`: a path of a kind that is not installed is answered in plain text.
    """
    import httpx2

    return httpx2.HTTPStatusError


def _code(error: Any) -> int:
    return int(error.response.status_code)


def _message(error: Any) -> str:
    return str(getattr(getattr(error, "status", None), "message", None) or error.response.text[:500])


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turn what the client raises into our errors."""
    import httpx2

    try:
        yield
    except httpx2.HTTPStatusError as error:
        raise _ours(what, _code(error), _message(error)) from error
    except (httpx2.HTTPError, json.JSONDecodeError) as error:
        raise StorageFailed(f"{what}: the API server did not answer: {error}", hint="it is tried again") from error


def _ours(what: str, code: int, message: str) -> AboveboardError:
    text = f"{what}: {message or code}"
    if code == 404:
        return NotFound(text, hint=f"is its definition installed, or the namespace gone? ({GROUP} needs it)")
    if code == 409:
        return Conflict(text, hint="somebody else changed it or owns it")
    if code in (401, 403):
        return NotAuthorised(text, hint="look at the operator's ClusterRole")
    if code in (400, 422):
        return RequestRefused(text, hint="the API server does not take this object; see its message")
    return StorageFailed(text, hint="it is tried again")
