"""What docs/concepts/operator.md says is so."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from aboveboard.cluster import crd_documents, desired_objects, load_service
from aboveboard.cluster import judgement as rules
from aboveboard.cluster.model_run import read_model
from aboveboard.cluster.packs import read_pack
from tests.cluster_cases import CASES, CONTEXT
from tests.kubernetes_schemas import problems
from tests.model_resources import model

PAGE = (Path(__file__).parents[3] / "docs" / "concepts" / "operator.md").read_text(encoding="utf-8")


def test_the_examples_are_valid() -> None:
    service, pack, fragment = (
        YAML(typ="safe", pure=True).load(example) for example in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    )
    assert problems(service, crd_documents()) == []
    assert [problem for each in desired_objects(load_service(service), CONTEXT) for problem in problems(each)] == []
    assert problems(pack, crd_documents()) == []
    assert read_pack(pack).name == "bank"
    assert read_model(model(pipeline=fragment["pipeline"])).pipeline is not None


def test_every_alert_has_its_paragraph() -> None:
    item, context = CASES["istio"]
    (rule,) = (each for each in desired_objects(load_service(item), context) if each["kind"] == "PrometheusRule")
    alerts = {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}
    assert alerts == set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE))


def test_every_rule_of_admission_is_explained() -> None:
    for rule in (rules.VERIFIED, rules.POLICY, rules.MODEL, rules.JURISDICTION, rules.RESIDENCY, rules.FLOWS):
        assert f"| `{rule}` |" in PAGE
