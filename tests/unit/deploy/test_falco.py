"""The Falco rules: whole, about the very paths, labels and ports our pods have, silent about what these do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster import desired_objects
from aboveboard.cluster.model_run import pipeline_objects, read_model
from aboveboard.cluster.types import load_service
from aboveboard.deploy.render import context_of
from tests.chart_cases import render, value_sets
from tests.deploy_cases import IMAGE, REPOSITORY, regions, service
from tests.falco_rules import Rules
from tests.model_resources import model

RULES = Rules(Path(__file__).parents[3] / "deploy" / "falco" / "aboveboard_rules.yaml")
SHELL, PROGRAM = "Shell in a pod of Aboveboard", "Unexpected program in a pod of Aboveboard"
RELEASE, INSTALLATION = "Write to a release", "Write below the programs"
KEY, CONNECTION = "Key file read by another program", "Unexpected connection out of a pod"
FIELDS = {
    "container.id",
    "container.name",
    "evt.is_open_read",
    "evt.is_open_write",
    "evt.type",
    "fd.connected",
    "fd.l4proto",
    "fd.name",
    "fd.sip",
    "fd.snet",
    "fd.sport",
    "fd.typechar",
    "fs.path.name",
    "fs.path.source",
    "fs.path.target",
    "k8s.pod.label",
    "proc.exepath",
    "proc.name",
}
"""Fields of Falco and its container plugin, each looked up in `falco --list` and the plugin's README."""
PYTHON = {"proc.name": "aboveboard", "proc.exepath": "/usr/local/bin/python3.13"}
"""Our script: the kernel names it so, and runs the interpreter."""
KEEPER = {"proc.name": "log-keeper", "proc.exepath": "/usr/bin/python3.13"}
"""A process that named itself, on a base where Python is Debian's."""
CAT = {"proc.name": "cat", "proc.exepath": "/usr/bin/cat"}
COLLECTOR_OF_NOBODY = 4444


def pod(name: str = "decision-service", container: str = "server") -> dict[str, str]:
    return {
        "container.id": "3ad7b26ded6d",
        "container.name": container,
        "k8s.pod.label[app.kubernetes.io/part-of]": "aboveboard",
        "k8s.pod.label[app.kubernetes.io/name]": name,
    }


def opening(path: str, mode: str, **more: str) -> dict[str, str]:
    other = "write" if mode == "read" else "read"
    return {
        "evt.type": "openat",
        f"evt.is_open_{mode}": "true",
        f"evt.is_open_{other}": "false",
        "fd.typechar": "f",
        "fd.name": path,
        **more,
    }


def calling(address: str, port: int) -> dict[str, str]:
    return {
        "evt.type": "connect",
        "fd.typechar": "6" if ":" in address else "4",
        "fd.l4proto": "tcp",
        "fd.sip": address,
        "fd.snet": address,
        "fd.sport": str(port),
        "fd.name": f"10.0.0.1:40000->{address}:{port}",
    }


@pytest.mark.parametrize("name", RULES.rules)
def test_a_rule_is_whole(name: str) -> None:
    rule = RULES.rules[name]
    assert rule.keys() == {"rule", "desc", "condition", "output", "priority", "tags"}
    assert rule["priority"] in {"CRITICAL", "ERROR", "WARNING"}
    for field in ("%k8s.pod.name", "%k8s.ns.name", "%proc.cmdline"):
        assert field in rule["output"]
    # Falco sorts rules by the events they are about: one without would be asked about every event there is.
    assert re.search(r"aboveboard_(starts|opens|calls)|evt\.type", rule["condition"])


def test_every_field_is_one_of_falcos_and_every_list_and_macro_is_used() -> None:
    assert RULES.fields == FIELDS
    assert RULES.used == RULES.macros.keys() | RULES.lists.keys()
    # Enter events are gone: since Falco 0.42 it warns about a condition that asks for the direction.
    assert "evt.dir" not in " ".join(item["condition"] for item in RULES.items if "condition" in item)


def test_what_a_falco_must_have_is_said() -> None:
    assert {"required_engine_version": "0.57.0"} in RULES.items
    assert {"required_plugin_versions": [{"name": "container", "version": "0.4.0"}]} in RULES.items


def test_a_shell_is_noticed_in_every_pod_of_ours_and_nowhere_else() -> None:
    shell = {"evt.type": "execve", "proc.name": "sh", "proc.exepath": "/usr/bin/dash"}
    for name in ("decision-service", "aboveboard-operator", "aboveboard-admission", "aboveboard-trial"):
        assert RULES.matching({**pod(name), **shell}) == {SHELL}
    assert RULES.matching({"container.id": "host", **shell}) == set()
    assert RULES.matching({"container.id": "abc", "k8s.pod.label[app.kubernetes.io/part-of]": "b", **shell}) == set()
    assert RULES.matching({**pod(container="istio-proxy"), **shell}) == set()


def test_a_program_is_known_by_its_file_and_not_by_its_name() -> None:
    def started(name: str, path: str) -> set[str]:
        return RULES.matching({**pod(), "evt.type": "execve", "proc.name": name, "proc.exepath": path})

    assert started("curl", "/usr/bin/curl") == started("python3", "/tmp/python3") == {PROGRAM}  # noqa: S108
    assert started("aboveboard", "/usr/local/bin/python3.13") == started("python", "/usr/bin/python3.11") == set()
    assert started("uname", "/usr/bin/uname") == set()


def test_a_release_may_be_written_by_the_verifier_only() -> None:
    path = "/var/lib/aboveboard/releases/blobs/sha256/ab"
    gone = {"evt.type": "unlinkat", "fs.path.name": path}
    moved = {"evt.type": "renameat2", "fs.path.source": "/var/lib/aboveboard/x", "fs.path.target": path}
    for what in (opening(path, "write"), gone, moved):
        assert RULES.matching({**pod(), **KEEPER, **what}) == {RELEASE}
        assert RULES.matching({**pod(container="verify"), **PYTHON, **what}) == set()
        assert RULES.matching({**pod("aboveboard-operator"), **PYTHON, **what}) == set()
    assert RULES.matching({**pod(), **PYTHON, **opening(path, "read")}) == set()
    # What a server does all day.
    for path in ("/var/lib/aboveboard/audit/vault.sqlite", "/var/lib/aboveboard/serving/present/3b44"):
        assert RULES.matching({**pod(), **PYTHON, **opening(path, "write")}) == set()


@pytest.mark.parametrize("result", ["3", "-30"], ids=["written", "refused, as the file system is read-only"])
def test_an_attempt_to_write_to_the_installation_is_noticed(result: str) -> None:
    for path in ("/opt/venv/lib/python3.13/site-packages/aboveboard/x.py", "/usr/bin/sh", "/etc/passwd"):
        assert RULES.matching({**pod(), **PYTHON, **opening(path, "write"), "fd.num": result}) == {INSTALLATION}
    # The webhook keeps a certificate of its own there.
    own = opening("/etc/aboveboard/tls/tls.key", "write")
    assert RULES.matching({**pod("aboveboard-admission", "admission"), **PYTHON, **own}) == set()


def test_other_pods_are_on_private_networks() -> None:
    for address in ("10.1.2.3", "192.168.7.8", "172.16.0.9", "8.8.8.8", "2001:db8::1"):
        assert RULES.matching({**pod(), **PYTHON, **calling(address, COLLECTOR_OF_NOBODY)}) == {CONNECTION}
    for address in ("127.0.0.1", "::1"):
        assert RULES.matching({**pod(), **PYTHON, **calling(address, COLLECTOR_OF_NOBODY)}) == set()
    datagram = {**calling("10.1.2.3", COLLECTOR_OF_NOBODY), "evt.type": "sendto", "fd.l4proto": "udp"}
    assert RULES.matching({**pod(), **PYTHON, **datagram, "fd.connected": "false"}) == {CONNECTION}


def test_an_answer_is_no_connection_out() -> None:
    answer = {**calling("10.0.0.1", 8080), "evt.type": "sendto", "fd.connected": "true"}
    assert RULES.matching({**pod(), **PYTHON, **answer}) == set()


def made() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield every set of objects that has pods of ours, with a name."""
    context = context_of(
        regions(), regions().region("eu-west"), image=IMAGE, repository=REPOSITORY, registry_secret="registry"
    )
    yield "decision service", desired_objects(service(), context)
    yield "model", pipeline_objects(read_model(model(pipeline={"run": "1"})), image=IMAGE)
    for name, values in value_sets().items():
        documents = render(values)
        yield f"chart, {name}", documents
        for found in documents:
            if found["kind"] == "DecisionService":
                yield f"service of {name}", desired_objects(load_service(found), context)


MADE = dict(made())


def templates(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for document in documents:
        match document["kind"]:
            case "Pod":
                yield document
            case "Deployment" | "StatefulSet" | "Job" | "DaemonSet" | "Rollout":
                yield document["spec"]["template"]
            case "CronJob":
                yield document["spec"]["jobTemplate"]["spec"]["template"]


@pytest.mark.parametrize("name", MADE)
def test_every_secret_is_watched_and_nothing_public(name: str) -> None:
    for template in templates(MADE[name]):
        labels, spec = template["metadata"]["labels"], template["spec"]
        secrets = {"secret", "csi", "projected"}
        secret = {volume["name"] for volume in spec.get("volumes", []) if secrets & volume.keys()}
        public = {volume["name"] for volume in spec.get("volumes", []) if "configMap" in volume}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            where = {
                "container.id": "3ad7b26ded6d",
                "container.name": container["name"],
                **{f"k8s.pod.label[{key}]": value for key, value in labels.items()},
            }
            for mount in container.get("volumeMounts", []):
                read = opening(mount["mountPath"] + "/file", "read")
                noticed = RULES.matching({**where, **CAT, **read})
                if mount["name"] in secret:
                    assert noticed == {KEY}, mount
                elif mount["name"] in public:
                    assert noticed == set(), mount
                assert RULES.matching({**where, **PYTHON, **read}) == set()
            token = opening("/var/run/secrets/kubernetes.io/serviceaccount/token", "read")
            assert RULES.matching({**where, **CAT, **token}) == {KEY}


@pytest.mark.parametrize("name", MADE)
def test_no_connection_that_a_network_policy_lets_out_is_noticed(name: str) -> None:
    yours = {5000}  # a registry on the machine itself, in one of the chart's tests
    proxys = {15012}  # the mesh's own, called by the proxy
    for policy in [d for d in MADE[name] if d["kind"] == "NetworkPolicy"]:
        for rule in policy["spec"].get("egress", []):
            for port in {each["port"] for each in rule.get("ports", [])} - yours - proxys:
                assert RULES.matching({**pod(), **PYTHON, **calling("10.1.2.3", port)}) == set(), port


def test_the_trial_and_the_control_plane_are_among_what_is_looked_at() -> None:
    found = {
        (template["metadata"]["labels"]["app.kubernetes.io/name"], container["name"])
        for documents in MADE.values()
        for template in templates(documents)
        for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]
    }
    assert {
        ("decision-service", "verify"),
        ("decision-service", "server"),
        ("aboveboard-trial", "road"),
        ("aboveboard-operator", "operator"),
        ("aboveboard-admission", "admission"),
    } <= found
