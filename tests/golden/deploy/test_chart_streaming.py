"""Relay and collector as the chart runs them: safe in any number, behind walls, scraped, missed when they stop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest

from aboveboard.cluster import desired_objects, load_service
from aboveboard.deploy.values import Values
from aboveboard.streaming.progress import STALLED_SECONDS
from tests.chart_cases import NAMESPACE, merged, render, value_sets
from tests.cluster_cases import CONTEXT
from tests.golden.test_metrics_reference import series_of, streaming
from tests.prometheus_server import check_rules, try_rules

SETS = value_sets()
PARTS = pytest.mark.parametrize("part", ["relay", "collector"])
NAME = {part: f"aboveboard-{part}" for part in ("relay", "collector")}


def found(kind: str, name: str, values: str = "streaming") -> dict[str, Any]:
    [document] = [d for d in render(SETS[values]) if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return document


def pod(part: str, values: str = "streaming") -> dict[str, Any]:
    spec: dict[str, Any] = found("Deployment", NAME[part], values)["spec"]["template"]["spec"]
    return spec


@PARTS
def test_pods_have_no_token_and_nothing_but_what_they_need(part: str) -> None:
    spec = pod(part)
    account = found("ServiceAccount", spec["serviceAccountName"])
    assert (account["automountServiceAccountToken"], spec["automountServiceAccountToken"]) == (False, False)
    [container] = spec["containers"]
    assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["mountPath"].startswith("/etc/"))
    mounted = {volume["name"] for volume in spec["volumes"]}
    assert mounted == {mount["name"] for mount in container["volumeMounts"]}
    secrets = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    assert NAME[part] in secrets
    assert not secrets & (set(NAME.values()) - {NAME[part]}), "each has a user of its own"


LOGS = {
    "secrets": SETS["streaming"]["log"],
    "database-only": {"databaseSecret": "log-database", "keysSecret": "log-keys"},
    "secrets-store-and-vault": {
        "databaseProviderClass": "log-database",
        "keysProviderClass": "log-keys",
        "credentialsProviderClass": "log-credentials",
        "kek": "vault:transit/log",
        "vault": {"address": "https://vault.bank.example", "role": "log", "namespace": "risk", "caConfigMap": "ca"},
        "destinations": [{"name": "vault", "port": 443, "cidr": "10.50.0.1/32"}],
    },
}


@PARTS
@pytest.mark.parametrize("log", LOGS)
def test_they_find_the_log_as_decision_pods_do(part: str, log: str) -> None:
    """The same variables, and the same volumes mounted to the same places with the same rights."""
    documents = render({**SETS["streaming"], "log": LOGS[log]})
    [item] = [d for d in documents if d["kind"] == "DecisionService"]
    item["spec"]["integrations"] = {}
    objects = desired_objects(load_service(item), CONTEXT)
    [settings] = [d["data"] for d in objects if d["kind"] == "ConfigMap"]
    [server] = [d["spec"]["template"]["spec"] for d in objects if d["kind"] in ("Deployment", "StatefulSet")]
    [ours] = [
        d["spec"]["template"]["spec"]
        for d in documents
        if d["kind"] == "Deployment" and d["metadata"]["name"] == NAME[part]
    ]

    def places(spec: dict[str, Any]) -> dict[str, Any]:
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        [container] = spec["containers"]
        return {
            mount["mountPath"]: volumes[mount["name"]]
            for mount in container["volumeMounts"]
            if mount["name"].startswith(("log-", "vault-"))
        }

    given = {each["name"]: each["value"] for each in ours["containers"][0]["env"]}
    assert given.pop("ABOVEBOARD_ACTOR") == f"system:serviceaccount:{NAMESPACE}:{NAME[part]}"
    assert given == {name: value for name, value in settings.items() if name != "ABOVEBOARD_ACTOR"}
    assert places(ours) == places(server)
    assert len(places(ours)) > 1
    assert ours["securityContext"].get("supplementalGroups") == server["securityContext"].get("supplementalGroups")


@PARTS
def test_what_strimzi_makes_of_the_user_is_what_the_pod_shows(part: str) -> None:
    user, cluster = found("KafkaUser", NAME[part]), found("Kafka", "aboveboard-kafka")
    assert user["metadata"]["labels"]["strimzi.io/cluster"] == cluster["metadata"]["name"]
    assert user["spec"]["authentication"] == {"type": "tls"}
    volumes = {volume["name"]: volume.get("secret", {}) for volume in pod(part)["volumes"]}
    assert volumes["kafka-user"]["secretName"] == user["metadata"]["name"]
    assert [item["key"] for item in volumes["kafka-user"]["items"]] == ["user.crt", "user.key"]
    assert volumes["kafka-authority"]["secretName"] == f"{cluster['metadata']['name']}-cluster-ca-cert"
    [listener] = cluster["spec"]["kafka"]["listeners"]
    brokers = f"--brokers={cluster['metadata']['name']}-kafka-bootstrap.{NAMESPACE}.svc:{listener['port']}"
    assert brokers in pod(part)["containers"][0]["args"]


@PARTS
def test_walls_let_out_to_what_is_named_and_in_from_prometheus(part: str) -> None:
    policy = found("NetworkPolicy", NAME[part])["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    labels = found("Deployment", NAME[part])["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 9093, 5432, 443}
    assert all(rule.get("to") for rule in policy["egress"]), "nothing is open to everywhere"
    [rule] = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "health"}]
    assert rule["from"][0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    [endpoint] = found("PodMonitor", NAME[part])["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == pod(part)["containers"][0]["ports"][0]["name"]
    elsewhere = found("NetworkPolicy", NAME[part], "streaming-elsewhere")["spec"]
    assert {port["port"] for rule in elsewhere["egress"] for port in rule["ports"]} == {53, 9094, 5432}


@PARTS
def test_brokers_and_database_let_them_in(part: str) -> None:
    labels = found("Deployment", NAME[part])["spec"]["template"]["metadata"]["labels"]
    rules = found("NetworkPolicy", "aboveboard-postgresql")["spec"]["ingress"]
    here = [peer["podSelector"]["matchLabels"] for peer in rules[0]["from"] if "namespaceSelector" not in peer]
    assert any(chosen.items() <= labels.items() for chosen in here)


@PARTS
def test_new_pods_come_before_old_ones_go_and_one_alone_blocks_no_drain(part: str) -> None:
    strategy = found("Deployment", NAME[part])["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert found("PodDisruptionBudget", NAME[part])["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in {d["kind"] for d in render(SETS["streaming-elsewhere"])}
    assert pod(part)["terminationGracePeriodSeconds"] > 70, "a round behind another's, each waiting for brokers"


def wrong(**streaming_values: Any) -> dict[str, Any]:
    return merged(SETS["streaming-elsewhere"], {"streaming": streaming_values})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (wrong(log=None), "log: say which log is relayed"),
        (wrong(log={"databaseSecret": "x", "keysSecret": None}), "name a Secret or a SecretProviderClass"),
        (wrong(brokers=None), "streaming.brokers: name the brokers"),
        (wrong(brokers="kafka"), "brokers"),
        (wrong(authoritySecret=None, propertiesSecret=None), "or plainText for a trial"),
        (wrong(destinations=[]), "streaming.destinations: name brokers and database"),
        (wrong(relay={"replicas": 3}), "replicas"),
        (wrong(relay={"topic": "no topic"}), "topic"),
        (wrong(collector={"rejected": "aboveboard.outcomes"}), "cannot go back"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_installed(values: dict[str, Any], says: str) -> None:
    with pytest.raises(helm.HelmError, match=says):
        render(values)


def test_the_types_refuse_it_too() -> None:
    document = {"streaming": {"collector": {"rejected": "aboveboard.outcomes"}}}
    with pytest.raises(ValueError, match="cannot go back"):
        Values.model_validate(document, by_alias=True, by_name=False)


def groups(values: str = "streaming") -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = found("PrometheusRule", "aboveboard-streaming", values)["spec"]["groups"]
    return rules


def test_alerts_ask_for_what_is_counted(tmp_path: Path) -> None:
    check_rules(groups(), tmp_path)
    asked = {name for group in groups() for rule in group["rules"] for name in names(rule["expr"])}
    counted = {name for family, _ in streaming() for name in series_of(family)}
    assert asked
    assert asked <= counted
    alone = [rule["alert"] for group in groups("relay-alone") for rule in group["rules"]]
    assert alone == ["AboveboardRelayStopped", "AboveboardRelayLagging", "AboveboardStreamingFailing"]


def names(expression: str) -> set[str]:
    return set(re.findall(r"aboveboard_[a-z_]+", expression))


SETS["relay-alone"] = merged(SETS["streaming-trial"], {"monitoring": {"enabled": True}})


def where(part: str, number: int = 0, **labels: str) -> str:
    all_labels = {"namespace": NAMESPACE, "pod": f"{NAME[part]}-{number}", "container": part, **labels}
    return "{" + ",".join(f'{name}="{value}"' for name, value in all_labels.items()) + "}"


def last(part: str, number: int = 0) -> str:
    return f"aboveboard_{part}_last_round_timestamp_seconds{where(part, number)}"


RUNNING = "0+60x60"
"""A round a minute: at the beginning of promtool's time the clock is at 0."""
STOPPED = "0+60x10 600x50"


@pytest.mark.parametrize(
    ("alert", "series", "labels"),
    [
        ("AboveboardRelayStopped", {last("relay"): STOPPED}, [{}]),
        ("AboveboardRelayStopped", {last("relay"): RUNNING}, []),
        ("AboveboardRelayStopped", {last("relay"): STOPPED, last("relay", 1): RUNNING}, []),
        ("AboveboardRelayStopped", {last("relay"): "0+60x10"}, [{}]),
        ("AboveboardRelayStopped", {last("collector"): RUNNING}, [{}]),
        ("AboveboardCollectorStopped", {last("collector"): STOPPED}, [{}]),
        ("AboveboardCollectorStopped", {last("collector"): RUNNING, last("relay"): STOPPED}, []),
        ("AboveboardCollectorStopped", {}, [{}]),
        ("AboveboardRelayLagging", {f"aboveboard_relay_lag_seconds{where('relay')}": "90x60"}, [{}]),
        ("AboveboardRelayLagging", {f"aboveboard_relay_lag_seconds{where('relay')}": "30x60"}, []),
        (
            "AboveboardRelayLagging",
            {f"aboveboard_relay_lag_seconds{where('relay')}".replace(NAMESPACE, "elsewhere"): "90x60"},
            [],
        ),
        (
            "AboveboardCollectorLagging",
            {
                f"aboveboard_collector_lag_messages{where('collector', n, partition=str(n))}": "6000x60"
                for n in range(2)
            },
            [{}],
        ),
        (
            "AboveboardCollectorLagging",
            {f"aboveboard_collector_lag_messages{where('collector', partition='0')}": "6000x60"},
            [],
        ),
        (
            "AboveboardOutcomesRejected",
            {f"aboveboard_collector_rejected_total{where('collector', code='not-json')}": "0x30 1x30"},
            [{"code": "not-json"}],
        ),
        (
            "AboveboardOutcomesRejected",
            {f"aboveboard_collector_rejected_total{where('collector', code='not-json')}": "7x60"},
            [],
        ),
        (
            "AboveboardStreamingFailing",
            {f"aboveboard_streaming_failures_total{where('collector', code='storage-failed')}": "0+4x60"},
            [{"container": "collector"}],
        ),
        (
            "AboveboardStreamingFailing",
            {f"aboveboard_streaming_failures_total{where('relay', code='storage-failed')}": "0x29 1x31"},
            [],
        ),
    ],
)
def test_somebody_is_called_when_it_matters(
    alert: str, series: dict[str, str], labels: list[dict[str, str]], tmp_path: Path
) -> None:
    [rule] = [rule for group in groups() for rule in group["rules"] if rule["alert"] == alert]
    expected = [{"exp_labels": {**rule["labels"], **each}, "exp_annotations": rule["annotations"]} for each in labels]
    try_rules(
        [{"name": "tried", "rules": [rule]}],
        series,
        tmp_path,
        interval="1m",
        alert_rule_test=[{"eval_time": "40m", "alertname": alert, "exp_alerts": expected}],
    )


def test_who_is_stuck_is_started_again_before_somebody_is_called() -> None:
    container = pod("relay")["containers"][0]
    probe = container["livenessProbe"]
    noticed = STALLED_SECONDS + probe["periodSeconds"] * probe["failureThreshold"]
    [rule] = [r for group in groups() for r in group["rules"] if r["alert"] == "AboveboardRelayStopped"]
    assert rule["for"] == "5m"
    assert noticed < 300 + 5 * 60
    assert probe["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
