"""The topics and the group of the commands are those that the chart makes and allows."""

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
    [user] = [each for each in objects if each["kind"] == "KafkaUser"]
    allowed = {
        acl["resource"]["type"]: (acl["resource"]["name"], set(acl["operations"]))
        for acl in user["spec"]["authorization"]["acls"]
        if acl["resource"]["patternType"] == "prefix"
    }
    prefix, operations = allowed["topic"]
    assert operations >= {"Read", "Write", "Describe"}
    assert all(topic.startswith(prefix) for topic in topics)
    prefix, operations = allowed["group"]
    assert defaults()["collect group"].startswith(prefix)
    assert "Read" in operations
