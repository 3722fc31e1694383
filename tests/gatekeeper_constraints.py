"""The kinds Gatekeeper makes of ConstraintTemplates, for strict validation of the constraints."""

from __future__ import annotations

from typing import Any

_TEXTS = {"type": "array", "items": {"type": "string"}}
_MATCH = {
    "type": "object",
    "properties": {
        "kinds": {
            "type": "array",
            "items": {"type": "object", "properties": {"apiGroups": _TEXTS, "kinds": _TEXTS}},
        },
        "labelSelector": {
            "type": "object",
            "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
        },
        "namespaces": _TEXTS,
        "excludedNamespaces": _TEXTS,
        "scope": {"type": "string", "enum": ["*", "Cluster", "Namespaced"]},
    },
}


def constraint_definition(template: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of the constraints of a template, as far as our constraints use them."""
    crd = template["spec"]["crd"]["spec"]
    parameters = crd["validation"]["openAPIV3Schema"]
    spec = {
        "type": "object",
        "properties": {
            "enforcementAction": {"type": "string", "enum": ["deny", "warn", "dryrun", "scoped"]},
            "match": _MATCH,
            "parameters": {"properties": {}, **parameters},
        },
    }
    return {
        "spec": {
            "group": "constraints.gatekeeper.sh",
            "names": {"kind": crd["names"]["kind"]},
            "versions": [
                {
                    "name": "v1beta1",
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
                }
            ],
        }
    }
