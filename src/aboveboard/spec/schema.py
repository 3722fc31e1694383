"""The JSON Schema of model.yaml, for editors and for the custom resource."""

from __future__ import annotations

from typing import Any

from aboveboard.spec.model import API_VERSION, ModelSpec


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a model spec, keys as they are written in files."""
    schema = ModelSpec.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{API_VERSION}/model.schema.json",
        "title": "Aboveboard model",
        **{key: value for key, value in schema.items() if key != "title"},
    }
