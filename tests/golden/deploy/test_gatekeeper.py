"""The Rego of the ConstraintTemplates, evaluated: it refuses the pods that the CEL policies refuse, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from regopy import Interpreter, LogLevel

from tests.chart_cases import merged, render, value_sets
from tests.gatekeeper_constraints import constraint_definition
from tests.kubernetes_schemas import problems
from tests.unit.cluster.test_cel_rules import SECURITY, SERVER, WRONG_PODS, change, denied, pod


def objects(kind: str, **values: Any) -> list[dict[str, Any]]:
    documents = render(merged(value_sets()["gatekeeper"], values))
    return [document for document in documents if document["apiVersion"].startswith(kind)]


TEMPLATES = {item["spec"]["crd"]["spec"]["names"]["kind"]: item for item in objects("templates.gatekeeper.sh")}


def violations(kind: str, item: dict[str, Any], parameters: dict[str, Any] | None = None) -> list[str]:
    """Return what the template of a kind says of an object, as Gatekeeper's audit or admission would."""
    [target] = TEMPLATES[kind]["spec"]["targets"]
    [code] = target["code"]
    assert (code["engine"], code["source"]["version"]) == ("Rego", "v1")
    rego = Interpreter()
    rego.log_level = LogLevel.NONE
    rego.add_module("template.rego", code["source"]["rego"])
    package = code["source"]["rego"].split("package ", 1)[1].split("\n", 1)[0]
    rego.set_input_term(json.dumps({"review": {"object": item}, "parameters": parameters or {}}))
    answer = json.loads(str(rego.query(f"data.{package}.violation")))
    [found] = answer["result"][0]["expressions"] if "result" in answer else answer["expressions"]
    return [each["msg"] for each in found]


def refused(item: dict[str, Any]) -> list[str]:
    return [message for kind in TEMPLATES for message in violations(kind, item)]


def test_our_own_pods_pass() -> None:
    assert refused(pod()) == []


@pytest.mark.parametrize(("wrong", "message"), WRONG_PODS)
def test_gatekeeper_refuses_what_the_api_server_would(wrong: Callable[[dict[str, Any]], None], message: str) -> None:
    item = pod()
    wrong(item)
    said = refused(item)
    assert bool(said) == bool(denied(item))
    assert any(message in each for each in said) if message else said == [], said


def test_the_region_of_the_cluster_is_held() -> None:
    item = pod()
    assert violations("AboveboardResidency", item, {"regions": ["eu-west"]}) == []
    [message] = violations("AboveboardResidency", item, {"regions": ["us-east", "us-west"]})
    assert message == "the pod belongs in eu-west, which is no region of this cluster"
    [constraint] = [each for each in objects("constraints.gatekeeper.sh") if each["kind"] == "AboveboardResidency"]
    assert constraint["spec"]["parameters"] == {"regions": ["eu-west"]}


def test_a_volume_that_is_a_release_is_pinned_too() -> None:
    item = pod()
    change("spec", "volumes", 0, to={"name": "release", "image": {"reference": "registry.example/releases:v1"}})(item)
    assert len(violations("AboveboardPinnedImages", item)) == 1
    item["spec"]["volumes"][0]["image"]["reference"] = "registry.example/releases@sha256:" + "1" * 64
    assert violations("AboveboardPinnedImages", item) == []


@pytest.mark.parametrize("remove", [SECURITY, (*SERVER, "image")])
def test_a_field_that_is_missing_is_no_excuse(remove: tuple[str | int, ...]) -> None:
    item = pod()
    change(*remove, to=None)(item)
    assert refused(item)


def test_every_template_has_its_constraint_and_both_are_valid() -> None:
    definitions = [constraint_definition(template) for template in TEMPLATES.values()]
    constraints = objects("constraints.gatekeeper.sh")
    assert [each["kind"] for each in constraints] == list(TEMPLATES)
    assert [problem for each in constraints for problem in problems(each, definitions)] == []
    broken = {**constraints[0], "spec": {**constraints[0]["spec"], "parameters": {"regionz": []}}}
    assert problems(broken, definitions)
    for kind, template in TEMPLATES.items():
        assert problems(template) == []
        assert template["metadata"]["name"] == kind.lower(), "Gatekeeper insists"
