"""The chart under test: Helm itself, and the values it is rendered with."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "chart"
NAMESPACE = "aboveboard-system"
API_KEY = "abk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


def example(name: str) -> dict[str, Any]:
    """Return the values in deploy/chart/examples."""
    values: dict[str, Any] = yaml.safe_load((CHART / "examples" / f"{name}.yaml").read_text(encoding="utf-8"))
    return values


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """Return values laid over each other as Helm lays them: maps are merged, all else is replaced."""
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in copy.deepcopy(layer).items():
            out[key] = (
                merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
            )
    return out


def value_sets() -> dict[str, dict[str, Any]]:
    """Return the sets of values the chart is held to."""
    files = {
        "regions": (ROOT / "examples" / "regions.yaml").read_text(encoding="utf-8"),
        "trust": {"document": '{"keys": []}\n'},
    }
    plane = merged(example("control-plane"), files)
    production = merged(example("production"), files)
    off = {"operator": {"enabled": False}, "admission": {"enabled": False}}
    prometheus = {"prometheus": {"address": "http://prometheus.monitoring.svc:9090"}}
    gateway = {"gateway": {"name": "public", "namespace": "gateways", "hosts": ["decisions.bank.example"]}}
    return {
        "trial": merged(example("trial"), {"trial": {"apiKey": API_KEY}}),
        "trial-in-a-registry": merged(
            example("trial"),
            {
                "trial": {"apiKey": API_KEY, "storageClass": "fast"},
                "image": {"repository": "registry.example/aboveboard", "tag": "0.1.0", "pullPolicy": "Always"},
                "registry": {"secret": "registry-credentials"},
                "networkPolicies": {"enabled": False},
            },
        ),
        "control-plane": plane,
        "operator-only": merged(plane, {"admission": {"enabled": False}}),
        "admission-only": merged(plane, {"operator": {"enabled": False}, "admission": {"replicas": 1, "port": 8443}}),
        "admission-without-policies": merged(plane, {"admission": {"policies": False}}),
        "kind": merged(example("kind"), example("kind-service"), files, {"image": {"digest": "sha256:" + "1" * 64}}),
        "local-registry": merged(
            plane,
            {"registry": {"repository": "localhost:5000/releases", "secret": None, "plainHttp": True, "port": 5000}},
        ),
        "no-network-policies": merged(production, {"networkPolicies": {"enabled": False}}),
        "production": production,
        "production-with-service": merged(production, example("decision-service")),
        "production-with-one-log": merged(production, example("one-log"), {"postgresql": {"enabled": True}}),
        "production-without-secrets": merged(
            production, {"externalSecrets": {"enabled": False}}, example("secrets-store")
        ),
        "service-with-gateway": merged(
            off,
            example("decision-service"),
            {"integrations": {**gateway, **prometheus, "argoRollouts": {}}, "rbac": {"roles": False}},
        ),
        "data-services": example("data-services"),
        "data-services-small": merged(
            example("data-services"),
            {
                "postgresql": {"instances": 1, "synchronousReplicas": 0, "storageClass": None},
                "kafka": {"brokers": 1, "storageClass": None, "retentionHours": 24},
            },
        ),
        "streaming": merged(
            off,
            example("one-log"),
            example("streaming"),
            {"monitoring": {"enabled": True, "labels": {"release": "prometheus"}}, "rbac": {"roles": False}},
        ),
        "streaming-elsewhere": merged(
            off,
            {
                "streaming": {
                    "relay": {"enabled": True, "mode": "binary", "topic": "Risk.decisions_eu", "userSecret": "relay"},
                    "collector": {
                        "enabled": True,
                        "group": "risk.outcomes",
                        "resources": {"cpu": "1", "memory": "512Mi"},
                    },
                    "brokers": "kafka-1.bank.example:9094,kafka-2.bank.example:9094",
                    "authoritySecret": "kafka-authority",
                    "propertiesSecret": "kafka-sasl",
                    "log": {"databaseSecret": "log-database", "keysSecret": "log-keys"},
                    "destinations": [
                        {"name": "brokers", "port": 9094, "cidr": "10.40.0.0/24"},
                        {"name": "database", "port": 5432, "namespace": "databases", "podLabels": {"app": "log"}},
                    ],
                },
                "monitoring": {"enabled": True},
                "rbac": {"roles": False},
            },
        ),
        "streaming-trial": merged(
            off,
            {
                "streaming": {
                    "relay": {"enabled": True},
                    "brokers": "kafka:9092",
                    "plainText": True,
                    "log": {"databaseSecret": "log-database", "keysSecret": "log-keys"},
                },
                "networkPolicies": {"enabled": False},
                "rbac": {"roles": False},
            },
        ),
        "monitored": merged(
            plane, {"monitoring": {"enabled": True, "labels": {"team": "risk"}}, "mesh": {"enabled": True}}
        ),
        "gatekeeper-templates": merged(plane, {"gatekeeper": {"enabled": True}, "admission": {"policies": False}}),
        "gatekeeper": merged(
            off,
            {
                "gatekeeper": {"enabled": True, "constraints": True, "enforcement": "warn"},
                "region": "eu-west",
                "rbac": {"roles": False},
            },
        ),
        "dashboards": merged(
            off,
            {
                "grafana": {
                    "dashboards": {"enabled": True, "folder": "Risk", "instanceLabels": {"dashboards": "grafana"}}
                },
                "rbac": {"roles": False},
            },
        ),
        "nothing": merged(off, {"rbac": {"roles": False}}),
    }


def render(values: dict[str, Any], *, name: str = "aboveboard") -> list[dict[str, Any]]:
    """Return every object the chart makes of some values, in the order of its templates."""
    return [_without_keys(document) for _, document in rendered(values, name=name)]


def _without_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Return an object with what Helm makes at random (keys and certificates) replaced by words."""
    document = copy.deepcopy(document)
    if document["kind"] == "Secret" and document.get("type") == "kubernetes.io/tls":
        document["data"] = dict.fromkeys(document["data"], "bWFkZSBieSBIZWxt")
    for webhook in document.get("webhooks", []):
        if "caBundle" in webhook["clientConfig"]:
            webhook["clientConfig"]["caBundle"] = "bWFkZSBieSBIZWxt"
    return document


def rendered(values: dict[str, Any], *, name: str = "aboveboard") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object with the template it comes from."""
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values, name=name, namespace=NAMESPACE)
    for path, text in sorted(texts.items()):
        if path.endswith(".yaml"):
            for document in yaml.safe_load_all(text):
                if document is not None:
                    yield path.removeprefix("aboveboard/templates/"), document


def pod_specs(documents: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every pod spec, with the name of what it belongs to."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield name, document["spec"]
        elif document["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
            yield name, document["spec"]["template"]["spec"]
