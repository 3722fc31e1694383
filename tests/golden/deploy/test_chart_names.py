"""However a release is called, what the chart makes has names that the API server takes."""

from __future__ import annotations

import re

import pytest

from tests.chart_cases import merged, render, value_sets
from tests.kubernetes_schemas import problems

SETS = value_sets()
SERVICE = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""RFC 1035: Services, and what pods of a StatefulSet are named after."""


@pytest.mark.parametrize(
    "release", ["a" * 53, "1st", "risk.models.eu", "9" * 53, "aboveboard-" + "b" * 42, "x" * 29 + "-y"]
)
@pytest.mark.parametrize("values", ["control-plane", "trial"])
def test_every_name_is_one(release: str, values: str) -> None:
    documents = render(merged(SETS[values], {"monitoring": {"enabled": True}}), name=release)
    for document in documents:
        name = document["metadata"]["name"]
        assert problems(document) == []
        if document["kind"] in ("Service", "StatefulSet", "Deployment", "Job", "Pod"):
            assert SERVICE.fullmatch(name), name
        if document["kind"] in ("StatefulSet", "Deployment"):
            assert len(name) <= 52, f"{name}: pods are named after it, with a hash"
        for key, value in document["metadata"].get("labels", {}).items():
            assert len(value) <= 63, key
