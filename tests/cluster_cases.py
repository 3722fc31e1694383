"""Decision services in all their forms."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aboveboard.cluster import DecisionService, ReconcileContext, load_service
from aboveboard.cluster.context import node_regions_of
from aboveboard.spec.regions import load_regions

CHAMPION = "sha256:" + "a" * 64
CHALLENGER = "sha256:" + "b" * 64
SHADOW = "sha256:" + "c" * 64
ARM = "sha256:" + "d" * 64

CONTEXT = ReconcileContext(
    image="registry.bank.example/aboveboard@sha256:" + "1" * 64,
    repository="registry.bank.example/models/releases",
)
REGIONS = load_regions(Path(__file__).parents[1] / "examples" / "regions.yaml")
PROMETHEUS = {"address": "http://prometheus.monitoring:9090", "labels": {"release": "prometheus"}}
ISTIO = {
    "hosts": ["loans.bank.example"],
    "gateways": ["istio-ingress/public"],
    "gatewayServiceAccounts": ["istio-ingress/gateway"],
}


def document(**spec: Any) -> dict[str, Any]:
    """A small, valid DecisionService, with some of its spec replaced."""
    return {
        "apiVersion": "aboveboard.dev/v1alpha1",
        "kind": "DecisionService",
        "metadata": {"name": "loans", "namespace": "lending"},
        "spec": {
            "model": "small-loans",
            "releases": {"champion": CHAMPION},
            "jurisdictions": ["eu"],
            "regions": ["eu-west"],
            "access": {"subjectKeySecret": "loans-subject-key", "clientsSecret": "loans-clients"},
            **copy.deepcopy(spec),
        },
    }


def service(**spec: Any) -> DecisionService:
    return load_service(document(**spec))


NETWORK = {
    "callers": [{"namespace": "apply", "podLabels": {"app": "front"}, "serviceAccount": "front"}],
    "destinations": [
        {"name": "registry", "cidr": "10.20.0.10/32", "port": 443},
        {"name": "vault", "namespace": "vault", "podLabels": {"app": "vault"}, "port": 8200},
    ],
}

CASES: Mapping[str, tuple[dict[str, Any], ReconcileContext]] = {
    "plain": (document(), CONTEXT),
    "canary": (
        document(
            releases={
                "champion": CHAMPION,
                "challenger": {"release": CHALLENGER, "weight": 5},
                "shadows": [SHADOW],
            },
            integrations={"prometheus": PROMETHEUS, "verticalPodAutoscaler": {}},
            network=NETWORK,
        ),
        CONTEXT,
    ),
    "arms": (
        document(
            releases={
                "champion": CHAMPION,
                "challenger": {"release": CHALLENGER, "weight": 5},
                "arms": [
                    {"name": "control", "release": CHAMPION, "weight": 20},
                    {"name": "longer-history", "release": ARM, "weight": 20},
                ],
                "shadows": [SHADOW],
            },
            releaseVolume="image",
        ),
        CONTEXT,
    ),
    "istio": (
        document(
            integrations={"istio": ISTIO, "prometheus": PROMETHEUS, "keda": {}},
            network=NETWORK,
            journal={"mode": "shared", "claim": "journals"},
        ),
        CONTEXT,
    ),
    "istio-failover": (
        document(integrations={"istio": {**ISTIO, "failover": {}}}, network=NETWORK),
        ReconcileContext(
            image=CONTEXT.image,
            repository=CONTEXT.repository,
            region="eu-west",
            node_regions=node_regions_of(REGIONS),
            regions=REGIONS,
        ),
    ),
    "separate-pods-istio": (
        document(
            rollout={"form": "separate-pods", "steps": [{"weight": 1}, {"weight": 25, "evidenceWithinMinutes": 60}]},
            integrations={"istio": ISTIO, "prometheus": PROMETHEUS, "argoRollouts": {}, "verticalPodAutoscaler": {}},
            network=NETWORK,
            journal={"mode": "shared", "claim": "journals"},
        ),
        CONTEXT,
    ),
    "separate-pods-gateway": (
        document(
            rollout={"form": "separate-pods"},
            integrations={
                "gateway": {"name": "public", "namespace": "gateways", "section": "https", "hosts": ["l.example"]},
                "prometheus": PROMETHEUS,
                "argoRollouts": {"verdictEverySeconds": 30},
                "keda": {},
            },
            journal={"mode": "ephemeral", "size": "1Gi"},
        ),
        CONTEXT,
    ),
    "one-log": (
        document(
            log={
                "databaseSecret": "log-database",
                "keysSecret": "log-keys",
                "kek": "awskms:alias/aboveboard",
                "tiles": "s3://bank-log/loans?region=eu-west-1",
                "credentialsSecret": "log-credentials",
                "destinations": [
                    {"name": "database", "namespace": "aboveboard-system", "port": 5432},
                    {"name": "object-store", "cidr": "10.30.0.0/16", "port": 443},
                ],
            },
            journal={"mode": "ephemeral", "size": "1Gi"},
            integrations={
                "tracing": {
                    "endpoint": "http://collector.observability:4318",
                    "namespace": "observability",
                    "podLabels": {"app.kubernetes.io/name": "collector"},
                }
            },
        ),
        CONTEXT,
    ),
    "secrets-store": (
        document(
            access={
                "subjectKeyProviderClass": "loans-subject-key",
                "clientsProviderClass": "loans-clients",
                "serviceAccountAnnotations": {
                    "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/loans",
                },
            },
            log={
                "databaseProviderClass": "log-database",
                "keysProviderClass": "log-keys",
                "credentialsProviderClass": "log-credentials",
                "kek": "vault:transit/audit",
                "vault": {
                    "address": "https://vault.vault:8200",
                    "role": "loans",
                    "auth": "clusters/eu-west",
                    "tokenSeconds": 600,
                    "namespace": "lending",
                    "caConfigMap": "vault-ca",
                },
                "destinations": [{"name": "vault", "namespace": "vault", "port": 8200}],
            },
            journal={"mode": "ephemeral", "size": "1Gi"},
        ),
        CONTEXT,
    ),
    "image-volume": (
        document(
            releases={"champion": CHAMPION, "challenger": {"release": CHALLENGER, "weight": 5}},
            releaseVolume="image",
        ),
        replace(CONTEXT, registry_secret="registry"),
    ),
    "gateway": (
        document(integrations={"gateway": {"name": "public", "namespace": "gateways"}}, network=NETWORK),
        CONTEXT,
    ),
    "gpu-regional": (
        document(
            regions=["eu-west", "eu-central"],
            jurisdictions=["eu", "uk"],
            resources={"cpu": "4", "memory": "8Gi", "gpu": {"count": 1}},
            placement={
                "priorityClass": "decisions",
                "nodeSelector": {"pool": "gpu"},
                "tolerations": [{"key": "dedicated", "value": "decisions", "effect": "NoSchedule"}],
            },
            scaling={"min": 2, "max": 40, "decisionsPerSecond": 400, "latencyMilliseconds": 20},
            journal={"size": "100Gi", "storageClass": "fast"},
        ),
        ReconcileContext(
            image=CONTEXT.image,
            repository=CONTEXT.repository,
            registry_secret="registry",
            region="eu-west",
            node_regions={"eu-west": ("eu-west-1",)},
        ),
    ),
    "two-regions": (
        document(regions=["eu-west", "eu-central"]),
        ReconcileContext(
            image=CONTEXT.image,
            repository=CONTEXT.repository,
            node_regions={"eu-west": ("eu-west-1", "eu-west-3"), "eu-central": ("europe-west3",)},
        ),
    ),
}
