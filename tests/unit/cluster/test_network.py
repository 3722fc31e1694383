"""Who is let in and out, in the cases where a packet's way is not the obvious one."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster import desired_objects, load_service
from aboveboard.cluster.naming import AGENT_PORT, PORT
from tests.cluster_cases import CONTEXT, ISTIO, PROMETHEUS, document


def made(kind: str, suffix: str = "", **spec: Any) -> dict[str, Any]:
    items = desired_objects(load_service(document(**spec)), CONTEXT)
    [found] = [item for item in items if (item["kind"], item["metadata"]["name"]) == (kind, f"loans{suffix}")]
    return found


def test_prometheus_scrapes_a_strict_mesh_at_the_agent_which_alone_answers_strangers() -> None:
    """Metrics merging of Istio: the agent's port is not captured by the proxy, so mutual TLS does not apply to it."""
    integrations = {"istio": ISTIO, "prometheus": PROMETHEUS}
    [endpoint] = made("ServiceMonitor", integrations=integrations)["spec"]["endpoints"]
    assert endpoint["path"] == "/stats/prometheus"
    [relabelled] = endpoint["relabelings"]
    assert relabelled["replacement"] == f"$1:{AGENT_PORT}"
    pod = made("StatefulSet", integrations=integrations)["spec"]["template"]["metadata"]["annotations"]
    assert (pod["prometheus.io/port"], pod["prometheus.io/path"]) == (str(PORT), "/metrics")
    [rule] = made("NetworkPolicy", "-allow", integrations=integrations)["spec"]["ingress"][-1:]
    assert rule["ports"] == [{"protocol": "TCP", "port": AGENT_PORT}]
    rules = made("AuthorizationPolicy", integrations=integrations)["spec"].get("rules", [])
    assert not any("/metrics" in operation["operation"]["paths"] for rule in rules for operation in rule["to"])


def test_without_a_mesh_prometheus_scrapes_the_server() -> None:
    integrations = {"prometheus": PROMETHEUS}
    [endpoint] = made("ServiceMonitor", integrations=integrations)["spec"]["endpoints"]
    assert (endpoint["path"], "relabelings" in endpoint) == ("/metrics", False)
    [rule] = made("NetworkPolicy", "-allow", integrations=integrations)["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": PORT}]
