"""Strict validation of Kubernetes objects, without a cluster: the API server's own types, and other projects' CRDs.

An unknown field is an error everywhere, as with `kubectl apply --validate=strict`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

CRDS = Path(__file__).parent / "data" / "crds"
KUBERNETES = "1.37"

_EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_METADATA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?$"},
        "generateName": {"type": "string"},
        "namespace": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"},
        "labels": {
            "type": "object",
            "additionalProperties": {
                "type": "string",
                "pattern": r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$",
            },
        },
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "ownerReferences": {"type": "array"},
    },
}


def problems(document: dict[str, Any], extra: Iterable[dict[str, Any]] = ()) -> list[str]:
    """Return what is wrong with an object; `extra` are further CustomResourceDefinitions, e.g. our own."""
    known = {**_vendored(), **{key: schema for crd in extra for key, schema in _of_definition(crd).items()}}
    where = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
    key = (str(document.get("apiVersion")), str(document.get("kind")))
    if key in known:
        errors = jsonschema.Draft202012Validator(known[key]).iter_errors(document)
        return [f"{where}: {error.json_path}: {error.message[:300]}" for error in errors]
    found = [
        f"{where}: {error.json_path}: {error.message[:300]}"
        for error in jsonschema.Draft202012Validator(_METADATA).iter_errors(document.get("metadata", {}))
    ]
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        found.append(f"{where}: {'.'.join(map(str, error.path))}: {error.message[:300]}")
    except kubernetes_validate.SchemaNotFoundError as error:
        found.append(f"{where}: {error.message}")
    return found


def _of_definition(crd: dict[str, Any]) -> dict[tuple[str, str], Any]:
    group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
    return {
        (f"{group}/{version['name']}", kind): _whole(version["schema"]["openAPIV3Schema"])
        for version in crd["spec"]["versions"]
    }


@functools.cache
def _vendored() -> dict[tuple[str, str], Any]:
    schemas = {}
    for path in sorted(CRDS.glob("*.json")):
        crd = json.loads(path.read_text(encoding="utf-8"))
        for version, schema in crd["versions"].items():
            schemas[(f"{crd['group']}/{version}", crd["names"]["kind"])] = _whole(schema)
    return schemas


def _whole(schema: dict[str, Any]) -> Any:
    strict = _strict(schema)
    strict["properties"] = {**strict.get("properties", {}), "metadata": _METADATA}
    strict["properties"].setdefault("apiVersion", {"type": "string"})
    strict["properties"].setdefault("kind", {"type": "string"})
    strict["additionalProperties"] = False
    strict["required"] = [*strict.get("required", []), "metadata"]
    return strict


def _strict(node: Any, *, closed: bool = True) -> Any:
    """Return a structural schema in which what is not named is refused, as the API server prunes or refuses it.

    Below allOf, anyOf, oneOf and not a structural schema only adds conditions; there nothing is closed.
    """
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key.startswith("x-kubernetes-"):
            continue
        if key in ("properties", "patternProperties"):
            out[key] = {name: _strict(below, closed=closed) for name, below in value.items()}
        elif key in ("items", "additionalProperties"):
            out[key] = _strict(value, closed=closed)
        elif key in ("allOf", "anyOf", "oneOf"):
            out[key] = [_strict(below, closed=False) for below in value]
        elif key == "not":
            out[key] = _strict(value, closed=False)
        elif key == "format" and value in ("int32", "int64", "double", "float"):
            continue
        elif key == "nullable":
            continue
        elif key in _EXCLUSIVE and isinstance(value, bool):  # as OpenAPI 3.0 writes it, beside the bound itself
            if value:
                out[key] = node[_EXCLUSIVE[key]]
        else:
            out[key] = value
    if node.get("x-kubernetes-int-or-string"):
        out = {key: value for key, value in out.items() if key not in ("type", "anyOf")} | {
            "type": ["integer", "string"]
        }
    open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if closed and "properties" in node and not open_ended:
        out["additionalProperties"] = False
    if node.get("nullable") and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out
