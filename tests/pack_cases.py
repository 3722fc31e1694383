"""Policy packs as custom resources."""

from __future__ import annotations

import copy
from typing import Any

REGO = """\
package aboveboard.packs.bank

answers["bank-auc"] := {"verdict": "pass", "message": "ranks well"} if input.performance.auc.value >= 0.7

answers["bank-auc"] := {"verdict": "fail", "message": "ranks badly"} if not input.performance.auc.value >= 0.7
"""
STRICTER = REGO.replace("0.7", "0.99")


def pack(
    *,
    name: str = "bank",
    namespace: str = "aboveboard-system",
    jurisdiction: str = "house",
    rego: str = REGO,
    effective_from: str | None = "2026-01-01",
    version: str = "1.0.0",
    **spec: Any,
) -> dict[str, Any]:
    """A small, valid PolicyPack with one rule about the area under the ROC curve."""
    rule: dict[str, Any] = {
        "id": f"{name}-auc",
        "title": "The score ranks well",
        "citation": "Credit policy 4.1",
        "text": "The area under the ROC curve is at least 0.7.",
        "confirmed": True,
        "purposes": "any",
        "remedy": "Improve the model.",
    }
    module = name.replace("-", "_")
    if effective_from is not None:
        rule["effective_from"] = effective_from
    return {
        "apiVersion": "aboveboard.dev/v1alpha1",
        "kind": "PolicyPack",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "manifest": {
                "name": name,
                "title": "Credit policy",
                "version": version,
                "jurisdiction": jurisdiction,
                "rules": [rule],
            },
            "modules": {
                f"{module}.rego": rego.replace("packs.bank", f"packs.{module}").replace("bank-auc", f"{name}-auc")
            },
            **copy.deepcopy(spec),
        },
    }
