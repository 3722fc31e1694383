"""The pod of a decision server: restricted, its releases verified before it starts, drained before it stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aboveboard.cluster.context import REGION_LABEL, ReconcileContext
from aboveboard.cluster.mesh import takes_from
from aboveboard.cluster.naming import (
    PORT,
    RELEASE_LABEL,
    RELEASES_ANNOTATION,
    RESIDENCY_LABEL,
    TAKES_FROM_PREFIX,
    labels,
    selector,
)
from aboveboard.cluster.types import DecisionService, RolloutForm
from aboveboard.ids import sha256_digest

HOME = "/var/lib/aboveboard"
USER = 65532
"""Neither root nor anybody on the node."""
DRAIN_SECONDS = 25
"""What the decision server takes at most to answer what it has accepted (`serving.server.DRAIN_SECONDS`)."""
UNROUTE_SECONDS = 5
"""Between leaving the endpoints and SIGTERM: proxies need a moment to stop sending."""
CLOSE_SECONDS = 10
"""For the last checkpoint after the drain."""

_TRUST = "/etc/aboveboard/trust"
_SUBJECT = "/etc/aboveboard/subject"
_CLIENTS = "/etc/aboveboard/clients"
_REGISTRY = "/etc/aboveboard/registry"
_SECRET_MODE = 0o440
"""What a Secret's files get: they belong to root, and the pod reads them as their group (fsGroup).

Were it 0400, the kubelet would add the group's bit all the same."""
_DATABASE = "/etc/aboveboard/database"
_LOG_KEYS = "/etc/aboveboard/log-keys"
_CREDENTIALS = "/etc/aboveboard/credentials"
_VAULT_TOKEN = "/etc/aboveboard/vault-token"  # noqa: S105  a directory
_VAULT_CA = "/etc/aboveboard/vault-ca"
_SECRETS_STORE = "secrets-store.csi.k8s.io"
_ROOTS_GROUP = 0
"""Whose files the Secrets Store CSI driver makes: it leaves fsGroup alone, so that pods have to be of this group.

It gives no right but to read them: the root is read-only, and nothing in the image is writable for it."""
_RELEASES = "/var/lib/releases"
"""Below it, a folder for each release that is an image volume."""
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def settings(service: DecisionService) -> dict[str, str]:
    """Return the environment of a decision server; nothing in it is secret."""
    name = service.metadata
    return {
        "ABOVEBOARD_ACTOR": f"system:serviceaccount:{name.namespace}:{name.name}",
        "ABOVEBOARD_HOME": HOME,
        **_log_settings(service),
        **_tracing_settings(service),
    }


def _log_settings(service: DecisionService) -> dict[str, str]:
    """Say where the log is; what is secret about it is in the files that are named."""
    log = service.spec.log
    if log is None:
        return {}
    found = {"ABOVEBOARD_LOG_DATABASE": f"file:{_DATABASE}/uri", "ABOVEBOARD_LOG_KEYS": _LOG_KEYS}
    if log.tiles is not None:
        found["ABOVEBOARD_LOG_TILES"] = log.tiles
    if log.kek is not None:
        found["ABOVEBOARD_LOG_KEK"] = log.kek
    if log.credentials_secret is not None or log.credentials_provider_class is not None:
        found["AWS_SHARED_CREDENTIALS_FILE"] = f"{_CREDENTIALS}/credentials"
    if log.vault is not None:
        found |= {
            "VAULT_ADDR": log.vault.address,
            "ABOVEBOARD_VAULT_ROLE": log.vault.role,
            "ABOVEBOARD_VAULT_AUTH": log.vault.auth,
            "ABOVEBOARD_VAULT_TOKEN_FILE": f"{_VAULT_TOKEN}/token",
        }
        if log.vault.namespace is not None:
            found["VAULT_NAMESPACE"] = log.vault.namespace
        if log.vault.ca_config_map is not None:
            found["VAULT_CACERT"] = f"{_VAULT_CA}/ca.crt"
    return found


def _tracing_settings(service: DecisionService) -> dict[str, str]:
    """Say where traces go, in the standard variables of OpenTelemetry."""
    tracing, name = service.spec.integrations.tracing, service.metadata
    if tracing is None:
        return {}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": tracing.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={name.namespace}",
        "OTEL_SERVICE_NAME": name.name,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": f"{tracing.sample:g}",
    }


def pod_template(service: DecisionService, context: ReconcileContext, *, hash_label: str) -> dict[str, Any]:
    """Return the pod template. `hash_label` is the one by which the workload tells its revisions apart."""
    spec, placement = service.spec, service.spec.placement
    tolerations = [
        toleration.model_dump(by_alias=True, exclude_none=True, mode="json") for toleration in placement.tolerations
    ]
    gpu = spec.resources.gpu
    if gpu is not None:
        tolerations.append({"key": gpu.resource, "operator": "Exists", "effect": "NoSchedule"})
    pod: dict[str, Any] = {
        "serviceAccountName": service.metadata.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": UNROUTE_SECONDS + DRAIN_SECONDS + CLOSE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # Once for a new volume, not with every mount; the init container takes private keys back from the group.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
            **({"supplementalGroups": [_ROOTS_GROUP]} if _from_store(service) else {}),
        },
        "affinity": {"nodeAffinity": _residency(service, context)},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(service)},
                "matchLabelKeys": [hash_label],
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "initContainers": [_verifier(service, context)],
        "containers": [_server(service, context)],
        "volumes": _volumes(service, context),
    }
    if placement.priority_class is not None:
        pod["priorityClassName"] = placement.priority_class
    if placement.node_selector:
        pod["nodeSelector"] = dict(placement.node_selector)
    if tolerations:
        pod["tolerations"] = tolerations
    if context.registry_secret is not None:
        pod["imagePullSecrets"] = [{"name": context.registry_secret}]
    return {"metadata": _metadata(service, context), "spec": pod}


def _metadata(service: DecisionService, context: ReconcileContext) -> dict[str, Any]:
    regions = [context.region] if context.region is not None else list(service.spec.regions)
    digest = sha256_digest(json.dumps(settings(service), sort_keys=True).encode())
    annotations = {
        RELEASES_ANNOTATION: ",".join(service.spec.releases.digests()),
        "aboveboard.dev/jurisdictions": ",".join(service.spec.jurisdictions),
        "aboveboard.dev/regions": ",".join(regions),
        # Environment variables are read at the start: a change of them has to start new pods.
        "aboveboard.dev/settings": digest,
    }
    more: dict[str, str] = {}
    if service.spec.integrations.istio is not None:
        more["sidecar.istio.io/inject"] = "true"
        more |= dict.fromkeys((TAKES_FROM_PREFIX + name for name in takes_from(service, context)), "true")
        # The init container needs the network, so the proxy has to be there first (a native sidecar is).
        annotations["sidecar.istio.io/nativeSidecar"] = "true"
        # Its agent offers what it finds here together with its own, outside of mutual TLS.
        annotations |= {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
            "prometheus.istio.io/merge-metrics": "true",
        }
    return {
        "labels": {
            **labels(service),
            RELEASE_LABEL: service.spec.releases.champion.removeprefix("sha256:")[:16],
            RESIDENCY_LABEL: regions[0] if len(regions) == 1 else "several",
            **more,
        },
        "annotations": annotations,
    }


def _residency(service: DecisionService, context: ReconcileContext) -> dict[str, Any]:
    values = list(context.node_values(service))
    expression = {"key": REGION_LABEL, "operator": "In", "values": values}
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    }


def _verifier(service: DecisionService, context: ReconcileContext) -> dict[str, Any]:
    """Fetch every release by digest and verify it: bytes, signature, approvals. No verified release, no pod.

    What is on the volume and holds is not fetched: a pod starts again while the registry is away.
    """
    arguments = [
        *service.spec.releases.digests(),
        f"--from={context.repository}",
        f"--trust={_TRUST}/trust.json",
        f"--subject-key={_SUBJECT}/subject.key",
    ]
    mounts = [
        _home_mount(service),
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  a volume of the pod's own
        {"name": "trust", "mountPath": _TRUST, "readOnly": True},
        {"name": "subject-key", "mountPath": _SUBJECT, "readOnly": True},
    ]
    if context.registry_is_plain_http:
        arguments.append("--plain-http")
    if context.registry_secret is not None:
        mounts.append({"name": "registry", "mountPath": _REGISTRY, "readOnly": True})
    if images := _release_images(service, context):
        # Its bytes are hashed like any others; signature and approvals come from the registry as they are now.
        arguments.append(f"--volume={_RELEASES}")
        mounts += [
            {"name": each["name"], "mountPath": f"{_RELEASES}/{each['name']}", "readOnly": True} for each in images
        ]
    return {
        "name": "verify",
        "image": context.image,
        "command": ["aboveboard", "release", "fetch"],
        "args": arguments,
        "env": _environment(service, registry=context.registry_secret is not None),
        "envFrom": [{"configMapRef": {"name": service.metadata.name}}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }


def _server(service: DecisionService, context: ReconcileContext) -> dict[str, Any]:
    releases, resources = service.spec.releases, service.spec.resources
    arguments = [
        releases.champion,
        "--host=0.0.0.0",
        f"--port={PORT}",
        f"--clients={_CLIENTS}/clients.json",
        *_origin(service, context),
    ]
    if service.spec.rollout.form is RolloutForm.IN_PROCESS and releases.challenger is not None:
        arguments += [f"--challenger={releases.challenger.release}", f"--weight={releases.challenger.weight}"]
    arguments += [f"--arm={arm.name}={arm.release}@{arm.weight}" for arm in releases.arms]
    arguments += [f"--shadow={shadow}" for shadow in releases.shadows]
    # Asked over HTTP one pod would decide otherwise than those beside it, and than the resource says.
    name = service.metadata
    arguments.append(f"--tracks-by=DecisionService {name.namespace}/{name.name}")
    gpu = {resources.gpu.resource: str(resources.gpu.count)} if resources.gpu else {}
    return {
        "name": "server",
        "image": context.image,
        "command": ["aboveboard", "serve"],
        "args": arguments,
        "env": _environment(service, registry=False),
        "envFrom": [{"configMapRef": {"name": service.metadata.name}}],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory, **gpu},
            "limits": {"memory": resources.memory, **gpu},
        },
        "securityContext": CONTAINER_SECURITY,
        # Up to two minutes to load, then only a process that answers nothing at all is restarted.
        "startupProbe": {**_probe("/livez", 2), "failureThreshold": 60},
        "livenessProbe": {**_probe("/livez", 10), "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**_probe("/readyz", 2), "timeoutSeconds": 2, "failureThreshold": 2},
        "lifecycle": {"preStop": {"sleep": {"seconds": UNROUTE_SECONDS}}},
        "volumeMounts": [
            _home_mount(service),
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  a volume of the pod's own
            {"name": "clients", "mountPath": _CLIENTS, "readOnly": True},
            *(
                {"name": volume["name"], "mountPath": path, "readOnly": True}
                for path, volume in _log_volumes(service)
            ),
        ],
    }


def _origin(service: DecisionService, context: ReconcileContext) -> list[str]:
    """Say the log's name: a pod with a log of its own has a name of its own; a shared log's is in its keys."""
    return [f"--origin={context.origin}/$(POD_NAME)"] if service.spec.log is None else []


def _probe(path: str, period: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": period}


def _environment(service: DecisionService, *, registry: bool) -> list[dict[str, Any]]:
    environment: list[dict[str, Any]] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    ]
    if registry:
        environment.append({"name": "DOCKER_CONFIG", "value": _REGISTRY})
    return environment


def _home_mount(service: DecisionService) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": "home", "mountPath": HOME}
    if service.spec.journal.mode == "shared":
        mount["subPathExpr"] = f"{service.metadata.name}/$(POD_NAME)"
    return mount


def _secret_volume(
    name: str, secret: str | None, provider_class: str | None, keys: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a volume whose files are the keys of a Secret, or the objects of a SecretProviderClass."""
    if secret is None:
        return {
            "name": name,
            "csi": {
                "driver": _SECRETS_STORE,
                "readOnly": True,
                "volumeAttributes": {"secretProviderClass": provider_class},
            },
        }
    items = {"items": [{"key": key, "path": key} for key in keys]} if keys else {}
    return {"name": name, "secret": {"secretName": secret, "defaultMode": _SECRET_MODE, **items}}


def _from_store(service: DecisionService) -> bool:
    """Tell whether any secret comes from a store outside, by the CSI driver."""
    volumes = [*_access_volumes(service), *(volume for _, volume in _log_volumes(service))]
    return any("csi" in volume for volume in volumes)


def _access_volumes(service: DecisionService) -> list[dict[str, Any]]:
    access = service.spec.access
    return [
        _secret_volume("subject-key", access.subject_key_secret, access.subject_key_provider_class),
        _secret_volume("clients", access.clients_secret, access.clients_provider_class),
    ]


def _log_volumes(service: DecisionService) -> list[tuple[str, dict[str, Any]]]:
    """Return what the log needs, each with where it is mounted."""
    log = service.spec.log
    if log is None:
        return []
    volumes = [
        (_DATABASE, _secret_volume("log-database", log.database_secret, log.database_provider_class, ["uri"])),
        (_LOG_KEYS, _secret_volume("log-keys", log.keys_secret, log.keys_provider_class)),
    ]
    credentials = log.credentials_secret, log.credentials_provider_class
    if any(credentials):
        volumes.append((_CREDENTIALS, _secret_volume("log-credentials", *credentials, ["credentials"])))
    if log.vault is not None:
        # Not the account's own token, which the API server would take: one for Vault only, and for an hour.
        token = {
            "audience": log.vault.audience,
            "expirationSeconds": log.vault.token_seconds,
            "path": "token",
        }
        projected = {"defaultMode": _SECRET_MODE, "sources": [{"serviceAccountToken": token}]}
        volumes.append((_VAULT_TOKEN, {"name": "vault-token", "projected": projected}))
        if log.vault.ca_config_map is not None:
            ca = {"name": log.vault.ca_config_map, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
            volumes.append((_VAULT_CA, {"name": "vault-ca", "configMap": ca}))
    return volumes


def _release_images(service: DecisionService, context: ReconcileContext) -> list[dict[str, Any]]:
    """Return the releases as image volumes, each by its own digest; none where they are fetched."""
    if service.spec.release_volume == "init":
        return []
    return [
        {
            "name": f"release-{digest.removeprefix('sha256:')[:16]}",
            "image": {"reference": f"{context.repository}@{digest}", "pullPolicy": "IfNotPresent"},
        }
        for digest in service.spec.releases.digests()
    ]


def _volumes(service: DecisionService, context: ReconcileContext) -> list[dict[str, Any]]:
    journal = service.spec.journal
    volumes: list[dict[str, Any]] = [
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "trust", "configMap": {"name": context.trust_config_map, "defaultMode": 0o444}},
        *_access_volumes(service),
        *_release_images(service, context),
        *(volume for _, volume in _log_volumes(service)),
    ]
    if context.registry_secret is not None:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        volumes.append(
            {
                "name": "registry",
                "secret": {"secretName": context.registry_secret, "defaultMode": _SECRET_MODE, "items": items},
            }
        )
    if journal.mode == "shared":
        volumes.append({"name": "home", "persistentVolumeClaim": {"claimName": journal.claim}})
    elif journal.mode == "ephemeral":
        volumes.append({"name": "home", "emptyDir": {"sizeLimit": journal.size}})
    return volumes
