"""The Falco rules: whole, naming only what exists, and about the very paths and labels our pods have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from aboveboard.cluster import desired_objects
from aboveboard.deploy.render import context_of
from tests.deploy_cases import IMAGE, REPOSITORY, regions, service

PATH = Path(__file__).parents[3] / "deploy" / "falco" / "aboveboard_rules.yaml"
ITEMS: list[dict[str, Any]] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
RULES = {item["rule"]: item for item in ITEMS if "rule" in item}
STOCK = {"spawned_process", "open_read", "open_write", "container", "outbound"}
"""Macros of Falco's own rules, which this file is loaded beside."""
WORDS = {"and", "or", "not", "in", "contains", "startswith"}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_whole(name: str) -> None:
    rule = RULES[name]
    assert rule.keys() == {"rule", "desc", "condition", "output", "priority", "tags"}
    assert rule["priority"] in {"CRITICAL", "ERROR", "WARNING"}
    for field in ("%k8s.pod.name", "%k8s.ns.name", "%proc.cmdline"):
        assert field in rule["output"]
    assert rule["condition"].count("(") == rule["condition"].count(")")


@pytest.mark.parametrize("item", [i for i in ITEMS if "condition" in i], ids=lambda i: i.get("rule") or i["macro"])
def test_a_condition_names_only_what_is_there(item: dict[str, Any]) -> None:
    known = {i.get("macro") or i.get("list") for i in ITEMS if "macro" in i or "list" in i} | STOCK | WORDS
    text = re.sub(r'"[^"]*"', "", item["condition"])
    text = re.sub(r"\S*/\S*", "", text)
    names = set(re.findall(r"(?<![\w.\[])[a-z_][a-z0-9_]*(?![\w.\[/])", text))
    assert names <= known, names - known


def test_no_list_or_macro_is_unused() -> None:
    conditions = " ".join(item["condition"] for item in ITEMS if "condition" in item)
    for item in ITEMS:
        name = item.get("macro") or item.get("list")
        if name:
            assert len(re.findall(rf"\b{name}\b", conditions)) >= 1, name


def test_what_is_watched_is_what_our_pods_have() -> None:
    place = regions().region("eu-west")
    context = context_of(regions(), place, image=IMAGE, repository=REPOSITORY, registry_secret="registry")
    [workload] = [d for d in desired_objects(service(), context) if d["kind"] == "StatefulSet"]
    template = workload["spec"]["template"]
    assert template["metadata"]["labels"]["app.kubernetes.io/part-of"] == "aboveboard"
    assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "decision-service"
    containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    watched = " ".join(rule["condition"] for rule in RULES.values())
    secret = {v["name"] for v in template["spec"]["volumes"] if "secret" in v}
    for container in containers:
        for mount in container["volumeMounts"]:
            if mount["name"] in secret:
                assert mount["mountPath"] + "/" in watched, mount["mountPath"]
    assert "verify" in {container["name"] for container in containers}
    [ports] = [item["items"] for item in ITEMS if item.get("list") == "aboveboard_ports_out"]
    assert {destination.port for destination in service().spec.network.destinations} <= set(ports)
