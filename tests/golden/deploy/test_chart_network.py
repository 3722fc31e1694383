"""The chart's walls have the doors that its own parts need, also where a packet's way is not the obvious one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart_cases import example, merged, render, value_sets

SETS = value_sets()
MONITORED = {"monitoring": {"enabled": True}}
EVERYWHERE = {"registry": {"cidrs": ["0.0.0.0/0"]}, "networkPolicies": {"apiServer": {"cidrs": ["0.0.0.0/0"]}}}


def policy(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a network policy."""
    [found] = [d for d in render(values) if (d["kind"], d["metadata"]["name"]) == ("NetworkPolicy", name)]
    spec: dict[str, Any] = found["spec"]
    return spec


def ports(rule: dict[str, Any]) -> set[Any]:
    return {port["port"] for port in rule["ports"]}


@pytest.mark.parametrize("component", ["operator", "admission"])
def test_anywhere_is_said_by_naming_nobody(component: str) -> None:
    """0.0.0.0/0 would be neither IPv6 nor, to Cilium, the nodes on which the API server runs."""
    spec = policy(f"aboveboard-{component}", merged(SETS["control-plane"], EVERYWHERE))
    _, registry, api_server = spec["egress"]
    assert (ports(registry), "to" in registry) == ({443}, False)
    assert (ports(api_server), "to" in api_server) == ({6443}, False)
    assert all("from" not in rule for rule in spec.get("ingress", []))


def test_named_ranges_are_all_there_is() -> None:
    spec = policy("aboveboard-admission", SETS["control-plane"])
    _, registry, api_server = spec["egress"]
    assert registry["to"] == [{"ipBlock": {"cidr": "10.20.0.0/16"}}]
    assert api_server["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    [called] = spec["ingress"]
    assert called["from"][0] == {"ipBlock": {"cidr": "10.0.0.1/32"}}
    assert called["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "aboveboard-test"


def test_the_operator_is_told_where_dns_is() -> None:
    values = merged(SETS["control-plane"], {"networkPolicies": {"dnsNamespace": "dns"}})
    [operator] = [
        d for d in render(values) if d["kind"] == "Deployment" and d["metadata"]["name"].endswith("operator")
    ]
    assert "--dns-namespace=dns" in operator["spec"]["template"]["spec"]["containers"][0]["args"]
    cluster, cache = policy("aboveboard-operator", values)["egress"][0]["to"]
    assert cluster["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "dns"}
    assert cache == {"ipBlock": {"cidr": "169.254.20.10/32"}}


def test_proxies_of_the_control_plane_reach_istiod() -> None:
    for component in ("operator", "admission"):
        name = f"aboveboard-{component}"
        assert 15012 in {port for rule in policy(name, SETS["monitored"])["egress"] for port in ports(rule)}
        assert 15012 not in {port for rule in policy(name, SETS["control-plane"])["egress"] for port in ports(rule)}


def test_prometheus_reads_the_operators_metrics_although_the_mesh_is_strict() -> None:
    documents = render(SETS["monitored"])
    [peer] = [
        d for d in documents if d["kind"] == "PeerAuthentication" and d["metadata"]["name"].endswith("operator")
    ]
    [operator] = [d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"].endswith("operator")]
    [health] = operator["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert peer["spec"]["portLevelMtls"] == {str(health["containerPort"]): {"mode": "PERMISSIVE"}}


def test_prometheus_reaches_the_trial_server_it_monitors() -> None:
    values = merged(example("trial"), MONITORED)
    assert [d for d in render(values) if d["kind"] == "ServiceMonitor"]
    assert {"http"} in [ports(rule) for rule in policy("aboveboard-trial", values)["ingress"]]
