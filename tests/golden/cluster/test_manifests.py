"""The objects of a DecisionService, as golden files, and every one of them valid to the last field."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from ruamel.yaml import YAML

from aboveboard.cluster import crd_documents, desired_objects, load_service
from aboveboard.cluster.model_run import pipeline_objects, read_model
from tests.cluster_cases import CASES, CONTEXT
from tests.conftest import Golden
from tests.kubernetes_schemas import problems
from tests.model_resources import model


def text_of(documents: list[dict[str, Any]]) -> str:
    stream = StringIO()
    yaml = YAML()
    yaml.width = 120
    yaml.representer.ignore_aliases = lambda *_: True
    yaml.dump_all(documents, stream)
    return stream.getvalue()


@pytest.mark.parametrize("case", CASES)
def test_objects_of_a_service(golden: Golden, case: str) -> None:
    document, context = CASES[case]
    golden(f"cluster/{case}.yaml", text_of(desired_objects(load_service(document), context)))


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid_to_the_last_field(case: str) -> None:
    document, context = CASES[case]
    found = [problem for item in desired_objects(load_service(document), context) for problem in problems(item)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("case", ["istio", "separate-pods-gateway"])
def test_a_misspelt_field_would_be_noticed(case: str) -> None:
    document, context = CASES[case]
    for item in desired_objects(load_service(document), context):
        assert problems({**item, "notAField": True}), item["kind"]
        if "spec" in item:
            assert problems({**item, "spec": {**item["spec"], "notAField": True}}), item["kind"]


@pytest.mark.parametrize("case", CASES)
def test_the_services_themselves_hold_to_the_definition(case: str) -> None:
    document, _ = CASES[case]
    assert not problems(document, crd_documents())
    assert problems({**document, "spec": {**document["spec"], "notAField": 1}}, crd_documents())


def test_objects_of_a_pipeline(golden: Golden) -> None:
    pipeline = {"run": "first", "schedule": "0 3 * * 1"}
    documents = pipeline_objects(read_model(model(pipeline=pipeline)), image=CONTEXT.image)
    for item in documents:
        assert not problems(item)
    golden("cluster/pipeline.yaml", text_of(documents))


def test_custom_resource_definitions(golden: Golden) -> None:
    documents = crd_documents()
    for item in documents:
        assert not problems(item)
    golden("cluster/crds.yaml", text_of(documents))
