"""Models as custom resources."""

from __future__ import annotations

import copy
from typing import Any

from ruamel.yaml import YAML

from tests.release_cases import SPEC

PIPELINE = {"dataClaim": "loans-data", "homeClaim": "loans-home"}


def model(*, pipeline: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The model of the tests' releases, as a resource."""
    document = YAML(typ="safe", pure=True).load(SPEC)
    body: dict[str, Any] = {**document["spec"], "owner": document["metadata"]["owner"], **copy.deepcopy(spec)}
    if pipeline is not None:
        body["pipeline"] = {**PIPELINE, **pipeline}
    return {
        "apiVersion": "aboveboard.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": document["metadata"]["name"], "namespace": "lending"},
        "spec": body,
    }
