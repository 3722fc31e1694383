"""Argo CD objects for every region of regions.yaml: projects that fence, applications for each region, one root.

The control plane comes first, decision services after it: the admission webhook has to answer before it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aboveboard.spec.regions import Region, Regions

CONTROL_PLANE_NAMESPACE: Final = "aboveboard-system"
_CONTROL_PLANE_WAVE: Final = "-10"
_SERVICES_WAVE: Final = "10"
_API: Final = "argoproj.io/v1alpha1"


@dataclass(frozen=True, slots=True)
class GitOps:
    """The places that Argo CD reads, and writes to."""

    environment: str
    """E.g. `production`: a folder of the environment repository, with a folder for each region."""
    repository: str
    """The URL of the environment repository."""
    revision: str = "main"
    chart_repository: str = ""
    """The URL of the Git repository with `deploy/chart`; by default the environment repository has a copy."""
    chart_revision: str = "main"
    chart_path: str = "deploy/chart"
    namespaces: tuple[str, ...] = ()
    """Where decision services may be put."""
    argocd_namespace: str = "argocd"


IGNORED: Final[list[dict[str, Any]]] = [
    # Argo Rollouts owns the division of traffic while a release takes over.
    {"group": "networking.istio.io", "kind": "VirtualService", "jqPathExpressions": [".spec.http[].route[].weight"]},
    {
        "group": "networking.istio.io",
        "kind": "DestinationRule",
        "jqPathExpressions": ['.spec.subsets[].labels["rollouts-pod-template-hash"]'],
    },
    {
        "group": "gateway.networking.k8s.io",
        "kind": "HTTPRoute",
        "jqPathExpressions": [".spec.rules[].backendRefs[].weight"],
    },
    {"group": "", "kind": "Service", "jqPathExpressions": ['.spec.selector["rollouts-pod-template-hash"]']},
    # Autoscalers own the number of pods.
    *(
        {"group": group, "kind": kind, "jsonPointers": ["/spec/replicas"]}
        for group, kind in (("apps", "Deployment"), ("apps", "StatefulSet"), ("argoproj.io", "Rollout"))
    ),
]
"""What others own at run time: Argo CD neither reports nor reverts it."""

_CERTIFICATES: Final[list[dict[str, Any]]] = [
    # cert-manager puts the authority of the webhook's certificate in.
    {
        "group": "admissionregistration.k8s.io",
        "kind": "ValidatingWebhookConfiguration",
        "jqPathExpressions": [".webhooks[].clientConfig.caBundle"],
    }
]


def argocd_objects(regions: Regions, places: GitOps) -> list[dict[str, Any]]:
    """Return the AppProjects, and the ApplicationSets, of the control plane and of the services."""
    return [
        *_projects(regions, places),
        _application_set(
            regions,
            places,
            name=f"aboveboard-control-plane-{places.environment}",
            project=f"aboveboard-{places.environment}",
            application=f"aboveboard-{places.environment}-{{{{ .region }}}}",
            wave=_CONTROL_PLANE_WAVE,
            namespace=CONTROL_PLANE_NAMESPACE,
            sources={"sources": _chart_sources(places)},
            ignored=_CERTIFICATES,
            options=["CreateNamespace=true"],
        ),
        _application_set(
            regions,
            places,
            name=f"aboveboard-services-{places.environment}",
            project=f"decisions-{places.environment}",
            application=f"decisions-{places.environment}-{{{{ .region }}}}",
            wave=_SERVICES_WAVE,
            namespace=places.namespaces[0] if places.namespaces else CONTROL_PLANE_NAMESPACE,
            sources={
                "source": {
                    "repoURL": places.repository,
                    "targetRevision": places.revision,
                    "path": f"{places.environment}/{{{{ .region }}}}",
                    "directory": {"recurse": True, "exclude": "values.yaml"},
                }
            },
            ignored=IGNORED,
            options=["CreateNamespace=false", "RespectIgnoreDifferences=true"],
        ),
    ]


def root_application(places: GitOps, *, path: str) -> dict[str, Any]:
    """Return the Application that holds the others, which are at `path` of the environment repository."""
    return {
        "apiVersion": _API,
        "kind": "Application",
        "metadata": {
            "name": f"aboveboard-{places.environment}",
            "namespace": places.argocd_namespace,
            "labels": {"app.kubernetes.io/part-of": "aboveboard"},
        },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": places.repository,
                "targetRevision": places.revision,
                "path": path,
                "directory": {"recurse": False},
            },
            "destination": {"name": "in-cluster", "namespace": places.argocd_namespace},
            "syncPolicy": {"automated": {"prune": False, "selfHeal": True}, "syncOptions": ["ServerSideApply=true"]},
        },
    }


_CLUSTER_WIDE: Final[list[dict[str, str]]] = [
    {"group": "", "kind": "Namespace"},
    {"group": "apiextensions.k8s.io", "kind": "CustomResourceDefinition"},
    {"group": "rbac.authorization.k8s.io", "kind": "ClusterRole"},
    {"group": "rbac.authorization.k8s.io", "kind": "ClusterRoleBinding"},
    {"group": "admissionregistration.k8s.io", "kind": "ValidatingWebhookConfiguration"},
    {"group": "admissionregistration.k8s.io", "kind": "ValidatingAdmissionPolicy"},
    {"group": "admissionregistration.k8s.io", "kind": "ValidatingAdmissionPolicyBinding"},
    {"group": "templates.gatekeeper.sh", "kind": "ConstraintTemplate"},
    {"group": "constraints.gatekeeper.sh", "kind": "*"},
]
"""What the chart brings that is in no namespace."""

_NOT_OF_SERVICES: Final[list[dict[str, str]]] = [
    # Secrets come from a store of secrets, never from Git; rights and limits are the platform's to give.
    {"group": "", "kind": "Secret"},
    {"group": "", "kind": "ResourceQuota"},
    {"group": "", "kind": "LimitRange"},
    {"group": "rbac.authorization.k8s.io", "kind": "Role"},
    {"group": "rbac.authorization.k8s.io", "kind": "RoleBinding"},
]


def _projects(regions: Regions, places: GitOps) -> list[dict[str, Any]]:
    """Return two fences: the control plane may bring what is cluster-wide, services nothing but what they are.

    The control plane has one Secret in Git, an empty one: the webhook keeps its certificate in it.
    """
    tenants = places.namespaces or (CONTROL_PLANE_NAMESPACE,)
    return [
        _project(
            regions,
            places,
            name=f"aboveboard-{places.environment}",
            description=f"The control plane of governed models in {places.environment}.",
            repositories=[places.repository, places.chart_repository or places.repository],
            namespaces=[CONTROL_PLANE_NAMESPACE, *places.namespaces],
            bounds={"clusterResourceWhitelist": _CLUSTER_WIDE},
        ),
        _project(
            regions,
            places,
            name=f"decisions-{places.environment}",
            description=f"Governed models in {places.environment}: where they may go and what they may bring.",
            repositories=[places.repository],
            namespaces=list(tenants),
            bounds={"clusterResourceWhitelist": [], "namespaceResourceBlacklist": _NOT_OF_SERVICES},
        ),
    ]


def _project(
    regions: Regions,
    places: GitOps,
    *,
    name: str,
    description: str,
    repositories: list[str],
    namespaces: list[str],
    bounds: dict[str, Any],
) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "AppProject",
        "metadata": {
            "name": name,
            "namespace": places.argocd_namespace,
            "labels": {"app.kubernetes.io/part-of": "aboveboard"},
            "annotations": {"argocd.argoproj.io/sync-wave": "-20"},
        },
        "spec": {
            "description": description,
            "sourceRepos": list(dict.fromkeys(repositories)),
            "destinations": [
                {**_destination(region), "namespace": namespace}
                for region in regions.spec.regions
                for namespace in namespaces
            ],
            **bounds,
            "orphanedResources": {"warn": True},
        },
    }


def _application_set(
    regions: Regions,
    places: GitOps,
    *,
    name: str,
    project: str,
    application: str,
    wave: str,
    namespace: str,
    sources: dict[str, Any],
    ignored: list[dict[str, Any]],
    options: list[str],
) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "ApplicationSet",
        "metadata": {
            "name": name,
            "namespace": places.argocd_namespace,
            "labels": {"app.kubernetes.io/part-of": "aboveboard"},
            "annotations": {"argocd.argoproj.io/sync-wave": wave},
        },
        "spec": {
            "goTemplate": True,
            "goTemplateOptions": ["missingkey=error"],
            "generators": [{"list": {"elements": [_element(region) for region in regions.spec.regions]}}],
            # A region that leaves regions.yaml leaves its decisions running until a person stops them.
            "syncPolicy": {"preserveResourcesOnDeletion": True, "applicationsSync": "create-update"},
            "template": {
                "metadata": {
                    "name": application,
                    "labels": {
                        "app.kubernetes.io/part-of": "aboveboard",
                        "aboveboard.dev/environment": places.environment,
                        "aboveboard.dev/region": "{{ .region }}",
                    },
                },
                "spec": {
                    "project": project,
                    **sources,
                    "destination": {
                        "server": "{{ .server }}",
                        "name": "{{ .cluster }}",
                        "namespace": namespace,
                    },
                    "ignoreDifferences": ignored,
                    "syncPolicy": {
                        # Never prune: taking a service out of service is an act, not the absence of a file.
                        "automated": {"prune": False, "selfHeal": True},
                        "syncOptions": ["ServerSideApply=true", "ApplyOutOfSyncOnly=true", *options],
                        "retry": {"limit": 10, "backoff": {"duration": "10s", "factor": 2, "maxDuration": "5m"}},
                    },
                },
            },
        },
    }


def _chart_sources(places: GitOps) -> list[dict[str, Any]]:
    return [
        {
            "repoURL": places.chart_repository or places.repository,
            "targetRevision": places.chart_revision,
            "path": places.chart_path,
            "helm": {
                "releaseName": "aboveboard",
                "valueFiles": [f"$values/{places.environment}/{{{{ .region }}}}/values.yaml"],
            },
        },
        {"repoURL": places.repository, "targetRevision": places.revision, "ref": "values"},
    ]


def _element(region: Region) -> dict[str, str]:
    """Return what the template of a region is filled from; of server and cluster one is empty, as Argo CD wants."""
    destination = _destination(region)
    return {
        "region": region.name,
        "cloud": region.cloud,
        "server": destination.get("server", ""),
        "cluster": destination.get("name", ""),
    }


def _destination(region: Region) -> dict[str, str]:
    return {"server": region.cluster} if region.cluster is not None else {"name": region.name}
