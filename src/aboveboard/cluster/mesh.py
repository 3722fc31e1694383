"""Traffic: Istio with strict mutual TLS and named callers, or a route of the Gateway API."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.naming import PORT, TAKES_FROM_PREFIX, instance, selector
from aboveboard.cluster.surroundings import Gateway, Istio
from aboveboard.cluster.types import DecisionService, RolloutForm

ROUTE = "decisions"
"""The name of the route whose weights a roll-out moves."""
ALLOWED = "allowed"
"""The subset of pods that may take this region's traffic."""
PATHS = ("/v1/*", "/v2", "/v2/*", "/openapi.json")
_SHARED = {"aboveboard.dev/shared-with": "argo-rollouts"}


def traffic(service: DecisionService, context: ReconcileContext) -> list[dict[str, Any]]:
    """Return the objects of the mesh or the gateway, whichever the cluster has."""
    integrations = service.spec.integrations
    if integrations.istio is not None:
        return _istio(service, integrations.istio, context)
    if integrations.gateway is not None:
        return [_http_route(service, integrations.gateway)]
    return []


def takes_from(service: DecisionService, context: ReconcileContext) -> tuple[str, ...]:
    """Return the regions whose traffic pods here may take, this one first; none where a cluster spans regions."""
    istio = service.spec.integrations.istio
    if istio is None or context.region is None:
        return ()
    return context.stands_in(service) if istio.failover is not None else (context.region,)


def _separate(service: DecisionService) -> bool:
    return service.spec.rollout.form is RolloutForm.SEPARATE_PODS


def _istio(service: DecisionService, istio: Istio, context: ReconcileContext) -> list[dict[str, Any]]:
    name, namespace = service.metadata.name, service.metadata.namespace
    host = f"{name}.{namespace}.svc.cluster.local"
    chosen = {"matchLabels": selector(service)}
    # A decision is journalled before it is answered; only what never reached a server is sent again.
    retries = {"attempts": 2, "perTryTimeout": "2s", "retryOn": "connect-failure,refused-stream"}
    names = [f"{name}-stable", f"{name}-canary"] if _separate(service) else [name]
    bound = context.region is not None
    subset = {"subset": ALLOWED} if bound else {}
    destinations = [
        {
            "destination": {"host": f"{each}.{namespace}.svc.cluster.local", **subset, "port": {"number": 80}},
            "weight": weight,
        }
        for each, weight in zip(names, (100, 0), strict=False)
    ]
    # The order of localities is only a preference of Istio's: what bars a region is not being in the subset.
    subsets = [{"name": ALLOWED, "labels": {f"{TAKES_FROM_PREFIX}{context.region}": "true"}}] if bound else []
    policy = {
        **_locality(service, istio, context),
        "tls": {"mode": "ISTIO_MUTUAL"},
        "outlierDetection": {
            "consecutive5xxErrors": 5,
            "interval": "10s",
            "baseEjectionTime": "30s",
            "maxEjectionPercent": 50,
        },
    }
    return [
        instance(
            service,
            "security.istio.io/v1",
            "PeerAuthentication",
            {"selector": chosen, "mtls": {"mode": "STRICT"}},
        ),
        instance(
            service,
            "security.istio.io/v1",
            "AuthorizationPolicy",
            {"selector": chosen, "action": "ALLOW", **_rules(service, istio)},
        ),
        *(
            instance(
                service,
                "networking.istio.io/v1",
                "DestinationRule",
                {
                    "host": f"{each}.{namespace}.svc.cluster.local",
                    "trafficPolicy": policy,
                    **({"subsets": subsets} if subsets else {}),
                },
                suffix=each.removeprefix(name),
            )
            for each in dict.fromkeys([name, *names])
        ),
        instance(
            service,
            "networking.istio.io/v1",
            "VirtualService",
            {
                "hosts": [host, *istio.hosts],
                "gateways": ["mesh", *istio.gateways],
                "http": [{"name": ROUTE, "route": destinations, "timeout": "5s", "retries": retries}],
            },
            annotations=_SHARED if _separate(service) else None,
        ),
    ]


def _locality(service: DecisionService, istio: Istio, context: ReconcileContext) -> dict[str, Any]:
    """Return where calls go when no pod of this region is well; outlier detection is how Istio learns of it."""
    targets = context.takes_over(service) if istio.failover is not None else ()
    if not targets:
        return {}
    first = targets[0].topology
    failover = [{"from": value, "to": first} for value in context.node_values(service) if value != first]
    return {"loadBalancer": {"localityLbSetting": {"enabled": True, "failover": failover}}}


def _rules(service: DecisionService, istio: Istio) -> dict[str, Any]:
    """Return who may call what. No rule allows nothing, which is how Istio reads it, too; it is said all the same."""
    callers = [
        f"{istio.trust_domain}/ns/{caller.namespace}/sa/{caller.service_account}"
        for caller in service.spec.network.callers
        if caller.service_account is not None
    ]
    for entrance in istio.gateway_service_accounts:
        namespace, _, account = entrance.partition("/")
        callers.append(f"{istio.trust_domain}/ns/{namespace}/sa/{account}")
    rules: list[dict[str, Any]] = []
    if callers:
        rules.append(
            {
                "from": [{"source": {"principals": callers}}],
                "to": [{"operation": {"paths": list(PATHS), "ports": [str(PORT)]}}],
            }
        )
    return {"rules": rules}


def _http_route(service: DecisionService, gateway: Gateway) -> dict[str, Any]:
    name = service.metadata.name
    parent: dict[str, Any] = {"name": gateway.name, "namespace": gateway.namespace}
    if gateway.section is not None:
        parent["sectionName"] = gateway.section
    names = [f"{name}-stable", f"{name}-canary"] if _separate(service) else [name]
    backends = [{"name": each, "port": 80, "weight": weight} for each, weight in zip(names, (100, 0), strict=False)]
    prefixes = ("/v1", "/v2", "/openapi.json")
    spec: dict[str, Any] = {
        "parentRefs": [parent],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": prefix}} for prefix in prefixes],
                "backendRefs": backends,
                "timeouts": {"request": "5s"},
            }
        ],
    }
    if gateway.hosts:
        spec["hostnames"] = list(gateway.hosts)
    return instance(
        service,
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        spec,
        annotations=_SHARED if _separate(service) else None,
    )
