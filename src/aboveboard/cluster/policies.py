"""What the API server itself is told: call our webhook, and refuse what needs no look-up by CEL.

The two overlap on purpose. The CEL policies go on refusing while the webhook is away, and the webhook's failure
policy refuses whatever it could not be asked about.
"""

from __future__ import annotations

import base64
from typing import Any

from aboveboard.cluster.admission import POD_LABELS
from aboveboard.cluster.types import GROUP, VERSION

WEBHOOK_NAME = f"admission.{GROUP}"
_NOT_GOING = {"name": "not-going", "expression": "!has(object.metadata.deletionTimestamp)"}
"""Finalizers are taken off an object that goes; that must never hang on what no longer holds."""
_LABELS = {"app.kubernetes.io/part-of": "aboveboard"}

# The proxy that Istio puts into a pod is Istio's to pin; it is told apart by name and image.
_OURS = (
    "(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : []))"
    ".filter(c, !(c.name.startsWith('istio-') && c.image.contains('/proxyv2')))"
)
POD_RULES: tuple[tuple[str, str], ...] = (
    (
        "variables.ours.all(c, c.image.matches('@sha256:[0-9a-f]{64}$')) && "
        "(!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.image) || "
        "(has(v.image.reference) && v.image.reference.matches('@sha256:[0-9a-f]{64}$'))))",
        "images are pinned by digest: what was scanned and signed is what runs",
    ),
    ("variables.ours.all(c, !c.image.contains(':latest'))", "no image is named latest"),
    (
        "variables.ours.all(c, has(c.securityContext) && "
        "has(c.securityContext.allowPrivilegeEscalation) && c.securityContext.allowPrivilegeEscalation == false && "
        "has(c.securityContext.readOnlyRootFilesystem) && c.securityContext.readOnlyRootFilesystem == true && "
        "has(c.securityContext.runAsNonRoot) && c.securityContext.runAsNonRoot == true && "
        "!(has(c.securityContext.privileged) && c.securityContext.privileged == true) && "
        "has(c.securityContext.capabilities) && has(c.securityContext.capabilities.drop) && "
        "'ALL' in c.securityContext.capabilities.drop && !has(c.securityContext.capabilities.add))",
        "containers are restricted: not root, a read-only root file system, no privilege, no capability",
    ),
    (
        "has(object.spec.securityContext) && has(object.spec.securityContext.seccompProfile) && "
        "object.spec.securityContext.seccompProfile.type == 'RuntimeDefault'",
        "the seccomp profile is RuntimeDefault",
    ),
    (
        "!(has(object.spec.hostNetwork) && object.spec.hostNetwork) && "
        "!(has(object.spec.hostPID) && object.spec.hostPID) && !(has(object.spec.hostIPC) && object.spec.hostIPC) && "
        "!(has(object.spec.volumes) && object.spec.volumes.exists(v, has(v.hostPath)))",
        "nothing of the host is shared",
    ),
    (
        "!has(object.spec.ephemeralContainers) || size(object.spec.ephemeralContainers) == 0",
        "nobody debugs inside a pod that decides: what is put beside it reads its keys and its journal",
    ),
    (
        f"has(object.metadata.labels) && '{GROUP}/residency' in object.metadata.labels && "
        f"object.metadata.labels['{GROUP}/residency'] != ''",
        f"the label {GROUP}/residency says where the pod may be",
    ),
    (
        f"has(object.metadata.annotations) && '{GROUP}/releases' in object.metadata.annotations && "
        f"object.metadata.annotations['{GROUP}/releases'].matches("
        "'^sha256:[0-9a-f]{64}(,sha256:[0-9a-f]{64})*$')",
        f"the annotation {GROUP}/releases names the releases by digest",
    ),
)


def admission_policies() -> list[dict[str, Any]]:
    """Return the ValidatingAdmissionPolicy for decision pods, and its binding."""
    name = f"decision-pods.{GROUP}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": _LABELS},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        # `kubectl debug` goes to the subresource, which "pods" does not mean.
                        "resources": ["pods", "pods/ephemeralcontainers"],
                    }
                ],
                "objectSelector": {"matchLabels": POD_LABELS},
            },
            "matchConditions": [_NOT_GOING],
            "variables": [{"name": "ours", "expression": _OURS}],
            "validations": [
                {"expression": expression, "message": message, "reason": "Forbidden"}
                for expression, message in POD_RULES
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": _LABELS},
        "spec": {"policyName": name, "validationActions": ["Deny", "Audit"]},
    }
    return [policy, binding]


def webhook_configuration(
    *, namespace: str, service: str, certificate: str | None = None, root: bytes | None = None
) -> dict[str, Any]:
    """Return the ValidatingWebhookConfiguration that has our webhook asked.

    The API server trusts `root` (PEM), or what cert-manager injects from `certificate` (`namespace/name`).
    """
    client: dict[str, Any] = {"service": {"namespace": namespace, "name": service, "path": "/validate", "port": 443}}
    if root is not None:
        client["caBundle"] = base64.b64encode(root).decode()
    metadata: dict[str, Any] = {"name": WEBHOOK_NAME, "labels": _LABELS}
    if certificate is not None:
        metadata["annotations"] = {"cert-manager.io/inject-ca-from": certificate}

    def webhook(name: str, group: str, version: str, resource: str, **more: Any) -> dict[str, Any]:
        rule = {
            "apiGroups": [group],
            "apiVersions": [version],
            "operations": ["CREATE", "UPDATE"],
            "resources": [resource],
            "scope": "Namespaced",
        }
        return {
            "name": f"{name}.{GROUP}",
            "clientConfig": client,
            "rules": [rule],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"],
            **more,
        }

    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": metadata,
        "webhooks": [
            webhook(
                "services",
                GROUP,
                VERSION,
                "decisionservices",
                matchConditions=[
                    _NOT_GOING,
                    {
                        "name": "spec-changed",
                        "expression": "oldObject == null || object.spec != oldObject.spec",
                    },
                ],
            ),
            *(
                webhook(
                    name,
                    GROUP,
                    VERSION,
                    resource,
                    matchConditions=[
                        _NOT_GOING,
                        {"name": "spec-changed", "expression": "oldObject == null || object.spec != oldObject.spec"},
                    ],
                )
                for name, resource in (("models", "models"), ("packs", "policypacks"))
            ),
            webhook(
                "pods",
                "",
                "v1",
                "pods",
                objectSelector={"matchLabels": POD_LABELS},
                matchConditions=[
                    _NOT_GOING,
                    # Labels and annotations count as well: a pod that becomes ours by a label is judged then.
                    {
                        "name": "changed",
                        "expression": "oldObject == null || object.spec != oldObject.spec || "
                        "object.metadata.?labels != oldObject.metadata.?labels || "
                        "object.metadata.?annotations != oldObject.metadata.?annotations",
                    },
                ],
            ),
        ],
    }
