"""Who reaches the pods and whom they reach. Everything is denied; then exactly what is named is let through."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.naming import AGENT_PORT, PORT, instance, selector
from aboveboard.cluster.surroundings import Destination, Peer
from aboveboard.cluster.types import DecisionService, RolloutForm

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Set by the API server on every namespace, and kept true by it."""
_ISTIO_NAMESPACE = "istio-system"
_ISTIO_PORTS = (15012,)
"""Where istiod gives a proxy its certificate and configuration."""


NODE_LOCAL_DNS = "169.254.20.10/32"
"""Where the NodeLocal DNSCache of a node listens: on the node itself, in front of the cluster's DNS."""


def services(service: DecisionService) -> list[dict[str, Any]]:
    """Return the Services: one to call, one naming every pod for scrapes, and two more to divide traffic between."""
    chosen = selector(service)
    callable_ = _service(service, chosen)
    peers = _service(service, chosen, suffix="-pods", headless=True)
    if service.spec.rollout.form is RolloutForm.IN_PROCESS:
        return [callable_, peers]
    return [
        callable_,
        peers,
        _service(service, chosen, suffix="-stable", shared=True),
        _service(service, chosen, suffix="-canary", shared=True),
    ]


def _service(
    service: DecisionService,
    chosen: dict[str, str],
    *,
    suffix: str = "",
    headless: bool = False,
    shared: bool = False,
) -> dict[str, Any]:
    port = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    spec: dict[str, Any] = {"selector": chosen, "ports": [port]}
    spec |= {"clusterIP": "None", "publishNotReadyAddresses": True} if headless else {"type": "ClusterIP"}
    return instance(
        service,
        "v1",
        "Service",
        spec,
        suffix=suffix,
        more_labels={"aboveboard.dev/scrape": "true"} if headless else None,
        annotations={"aboveboard.dev/shared-with": "argo-rollouts"} if shared else None,
    )


def network_policies(
    service: DecisionService, context: ReconcileContext, *, ports: tuple[int, ...] = (PORT,)
) -> list[dict[str, Any]]:
    """Return the policy that denies everything, and the one that lets through what the service names.

    Callers reach the `ports`.
    """
    chosen = {"matchLabels": selector(service)}
    both = ["Ingress", "Egress"]
    deny = instance(
        service,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        # Said although it is what saying nothing means: a door that somebody puts in is then seen, and closed.
        {"podSelector": chosen, "policyTypes": both, "ingress": [], "egress": []},
        suffix="-default-deny",
    )
    dns_port = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    egress: list[dict[str, Any]] = [
        {"to": _dns(context.dns_namespace), "ports": dns_port},
        *(_destination(destination) for destination in service.spec.network.destinations),
    ]
    if (log := service.spec.log) is not None:
        egress += [_destination(destination) for destination in log.destinations]
    if (tracing := service.spec.integrations.tracing) is not None:
        egress.append(_destination(tracing.destination))
    if service.spec.integrations.istio is not None:
        istiod = [{"protocol": "TCP", "port": port} for port in _ISTIO_PORTS]
        egress.append({"to": [_namespace(_ISTIO_NAMESPACE, {"app": "istiod"})], "ports": istiod})
    ingress = _ingress(service, ports)
    spec = {"podSelector": chosen, "policyTypes": both, "ingress": ingress, "egress": egress}
    allow = instance(service, "networking.k8s.io/v1", "NetworkPolicy", spec, suffix="-allow")
    return [deny, allow]


def _dns(namespace: str) -> list[dict[str, Any]]:
    """Return the cluster's DNS, and the cache that a node may have in front of it."""
    servers = {"key": "k8s-app", "operator": "In", "values": ["kube-dns", "node-local-dns"]}
    return [
        {**_namespace(namespace, {}), "podSelector": {"matchExpressions": [servers]}},
        {"ipBlock": {"cidr": NODE_LOCAL_DNS}},
    ]


def _ingress(service: DecisionService, ports: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return who comes in: callers to the `ports`, and Prometheus to where metrics are."""
    rules: list[dict[str, Any]] = []
    if callers := _callers(service):
        rules.append({"from": callers, "ports": [{"protocol": "TCP", "port": port} for port in ports]})
    if (prometheus := service.spec.integrations.prometheus) is not None:
        scraped = PORT if service.spec.integrations.istio is None else AGENT_PORT
        peer = _namespace(prometheus.namespace, {"app.kubernetes.io/name": "prometheus"})
        rules.append({"from": [peer], "ports": [{"protocol": "TCP", "port": scraped}]})
    return rules


def _callers(service: DecisionService) -> list[dict[str, Any]]:
    integrations = service.spec.integrations
    peers = [_peer(caller) for caller in service.spec.network.callers]
    if integrations.gateway is not None:
        peers.append(_namespace(integrations.gateway.namespace, {}))
    if integrations.istio is not None:
        namespaces = dict.fromkeys(name.partition("/")[0] for name in integrations.istio.gateway_service_accounts)
        peers += [_namespace(namespace, {}) for namespace in namespaces]
        if (failover := integrations.istio.failover) is not None:
            peers.append(_namespace(failover.gateway_namespace, dict(failover.gateway_labels)))
    return peers


def _peer(peer: Peer) -> dict[str, Any]:
    return _namespace(peer.namespace, dict(peer.pod_labels))


def _destination(destination: Destination) -> dict[str, Any]:
    if destination.cidr is not None:
        to: dict[str, Any] = {"ipBlock": {"cidr": destination.cidr}}
    else:
        to = _namespace(destination.namespace or "", dict(destination.pod_labels))
    return {"to": [to], "ports": [{"protocol": "TCP", "port": destination.port}]}


def _namespace(name: str, pod_labels: dict[str, str]) -> dict[str, Any]:
    peer: dict[str, Any] = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}}
    if pod_labels:
        peer["podSelector"] = {"matchLabels": pod_labels}
    return peer
