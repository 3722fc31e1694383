"""From pydantic's JSON Schema to the structural schema a CustomResourceDefinition asks for.

Structural means: no references, a type everywhere, and no `anyOf` that carries types. The API server prunes or
refuses what a structural schema does not name, so `additionalProperties: false` goes without saying. See
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_KEPT = (
    "description",
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
)
_FORMATS = frozenset({"date", "date-time"})
_TEXT_LIMIT = 8192
_ITEM_LIMIT = 1024


def structural(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a pydantic type, keys as they are written in files.

    A value of several scalar types (a category may be text, a number or a truth) has no structural form; it is left
    open, and only it: the operator and the webhook read it with the type itself.
    """
    schema = kind.model_json_schema(by_alias=True)
    return _node(schema, schema.get("$defs", {}))


def _node(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _node({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    options = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if options:
        return _one_of(node, options, definitions)
    if "const" in node:
        node = {**node, "enum": [node["const"]], "type": "string"}
    result = {key: node[key] for key in _KEPT if key in node}
    if result.get("format") not in _FORMATS:
        result.pop("format", None)
    for bound, edge in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in node:
            result[edge] = node[bound]
            result[bound] = True
    if node.get("default") is not None:
        result["default"] = _without_nulls(node["default"])
    match result.get("type"):
        case "object":
            _object(node, result, definitions)
        case "array":
            result["items"] = _node(node["items"], definitions)
            result.setdefault("maxItems", _ITEM_LIMIT)
        case "string" if "enum" not in result and "format" not in result:
            result.setdefault("maxLength", _TEXT_LIMIT)
        case None:
            result["x-kubernetes-preserve-unknown-fields"] = True
    return result


def _object(node: Mapping[str, Any], result: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    if "properties" in node:
        result["properties"] = {key: _node(value, definitions) for key, value in node["properties"].items()}
        if node.get("required"):
            result["required"] = sorted(node["required"])
        return
    # Keys by pattern have no structural form; the type itself checks them.
    patterns = [*node.get("patternProperties", {}).values()]
    values = node.get("additionalProperties") or (patterns[0] if patterns else {})
    if values is True:  # anything
        values = {}
    result["additionalProperties"] = _node(values, definitions)
    result.setdefault("maxProperties", _ITEM_LIMIT)


def _one_of(
    node: Mapping[str, Any], options: list[Mapping[str, Any]], definitions: Mapping[str, Any]
) -> dict[str, Any]:
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf", "discriminator")}
    named = [option for option in options if option.get("type") != "null"]
    if len(named) == 1:  # optional: leaving a key out is how it is written, null is not
        return _node({**named[0], **rest}, definitions)
    kept = {key: rest[key] for key in ("description",) if rest.get(key) is not None}
    if {option.get("type") for option in named} == {"integer", "string"}:
        return {**kept, "x-kubernetes-int-or-string": True}
    # A pack's `purposes` is "any" or a list, a search range a span or a list, a category any scalar.
    return {**kept, "x-kubernetes-preserve-unknown-fields": True}


def _without_nulls(value: Any) -> Any:
    """Return a default as it may stand in a definition, where null is no value of an object."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value
