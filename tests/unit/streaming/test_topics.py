"""The topics and the group of the commands are those that the chart makes, and allows each to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from aboveboard.cli.events import DECISIONS, OUTCOMES, REJECTED, collect, relay

RENDERED = Path(__file__).parents[2] / "golden" / "data" / "deploy" / "chart" / "data-services.yaml"


def defaults() -> dict[str, Any]:
    return {
        f"{command.name} {option.name}": option.default
        for command in (relay, collect)
        for option in command.params
        if option.name in ("topic", "rejected", "group")
    }


def test_the_chart_makes_what_the_commands_use() -> None:
    rendered = list(YAML(typ="safe").load_all(RENDERED.read_text(encoding="utf-8")))
    objects = [each for each in rendered if each and each["apiVersion"].startswith("kafka.strimzi.io/")]
    topics = {each["metadata"]["name"] for each in objects if each["kind"] == "KafkaTopic"}
    assert topics == {DECISIONS, OUTCOMES, REJECTED}
    assert {value for name, value in defaults().items() if not name.endswith("group")} == topics
    users = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "KafkaUser"}
    assert rights(users["aboveboard-relay"]) == {("topic", DECISIONS): {"Write", "Describe"}}
    assert rights(users["aboveboard-collector"]) == {
        ("topic", OUTCOMES): {"Read", "Describe"},
        ("group", defaults()["collect group"]): {"Read"},
        ("topic", REJECTED): {"Write", "Describe"},
    }


def rights(user: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    assert user["authorization"]["type"] == "simple"
    acls = user["authorization"]["acls"]
    assert {acl["resource"]["patternType"] for acl in acls} == {"literal"}
    return {(acl["resource"]["type"], acl["resource"]["name"]): set(acl["operations"]) for acl in acls}
