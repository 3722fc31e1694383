"""What holds of the objects of every decision service."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aboveboard.cluster import ReconcileContext, desired_objects, load_service
from aboveboard.cluster.context import REGION_LABEL
from aboveboard.cluster.pod import CLOSE_SECONDS, DRAIN_SECONDS, UNROUTE_SECONDS
from aboveboard.errors import GateRefused
from aboveboard.serving.keeper import LAST_SECONDS as KEEPER_LAST_SECONDS
from aboveboard.serving.options import DRAIN_SECONDS as SERVER_DRAIN_SECONDS
from tests.cluster_cases import CONTEXT, ISTIO, NETWORK, PROMETHEUS, document

REGIONS = ["eu-west", "eu-central", "us-east"]
DIGESTS = ["sha256:" + digit * 64 for digit in "abcdef"]


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    digests = draw(st.permutations(DIGESTS))
    integrations: dict[str, Any] = {"prometheus": PROMETHEUS}
    mesh = draw(st.sampled_from(["istio", "gateway", "none"]))
    if mesh == "istio":
        integrations["istio"] = ISTIO
    if mesh == "gateway":
        integrations["gateway"] = {"name": "g", "namespace": "g"}
    if draw(st.booleans()):
        integrations["keda"] = {}
    if draw(st.booleans()):
        integrations["verticalPodAutoscaler"] = {}
    releases: dict[str, Any] = {"champion": digests[0]}
    rollout: dict[str, Any] = {}
    journal = draw(
        st.sampled_from([{"mode": "per-pod"}, {"mode": "shared", "claim": "c"}, {"mode": "ephemeral", "size": "1Gi"}])
    )
    if mesh != "none" and journal["mode"] != "per-pod" and draw(st.booleans()):
        rollout = {"form": "separate-pods"}
        integrations["argoRollouts"] = {}
    else:
        if draw(st.booleans()):
            releases["challenger"] = {"release": digests[1], "weight": draw(st.integers(0, 60))}
        if draw(st.booleans()):
            control = {"name": "control", "release": digests[0], "weight": draw(st.integers(0, 20))}
            releases["arms"] = [control, {"name": "other", "release": digests[5], "weight": draw(st.integers(0, 20))}]
        releases["shadows"] = list(digests[2 : 2 + draw(st.integers(0, 3))])
    low = draw(st.integers(1, 20))
    return document(
        releases=releases,
        rollout=rollout,
        journal=journal,
        integrations=integrations,
        regions=draw(st.lists(st.sampled_from(REGIONS), min_size=1, unique=True)),
        scaling={"min": low, "max": low + draw(st.integers(0, 20))},
        network=draw(st.sampled_from([NETWORK, {}])),
        resources=draw(st.sampled_from([{}, {"gpu": {}}])),
    )


def templates(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item["spec"]["template"] for item in items if "template" in item.get("spec", {})]


@settings(max_examples=60)
@given(services())
def test_the_same_service_gives_the_same_objects(spec: dict[str, Any]) -> None:
    once = json.dumps(desired_objects(load_service(spec), CONTEXT))
    assert json.dumps(desired_objects(load_service(spec), CONTEXT)) == once


@settings(max_examples=60)
@given(services())
def test_every_object_has_a_name_of_its_own_and_the_labels_of_all(spec: dict[str, Any]) -> None:
    items = desired_objects(load_service(spec), CONTEXT)
    keys = [(item["kind"], item["metadata"]["name"]) for item in items]
    assert len(set(keys)) == len(keys)
    for item in items:
        assert item["metadata"]["namespace"] == "lending"
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "loans"


@settings(max_examples=60)
@given(services())
def test_every_pod_is_restricted_verified_bound_to_its_region_and_drained(spec: dict[str, Any]) -> None:
    (template,) = templates(desired_objects(load_service(spec), CONTEXT))
    pod = template["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in [*pod["initContainers"], *pod["containers"]]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "@sha256:" in container["image"]
        assert not any("secret" in json.dumps(variable).lower() for variable in container["env"])
    wanted = load_service(spec).spec.releases.digests()
    assert tuple(pod["initContainers"][0]["args"][: len(wanted)]) == wanted
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    (expression,) = term["matchExpressions"]
    assert expression == {"key": REGION_LABEL, "operator": "In", "values": spec["spec"]["regions"]}
    assert pod["terminationGracePeriodSeconds"] == UNROUTE_SECONDS + DRAIN_SECONDS + CLOSE_SECONDS
    assert DRAIN_SECONDS == SERVER_DRAIN_SECONDS
    assert CLOSE_SECONDS > KEEPER_LAST_SECONDS
    mounted = {mount["name"] for c in [*pod["initContainers"], *pod["containers"]] for mount in c["volumeMounts"]}
    offered = {volume["name"] for volume in pod["volumes"]}
    assert mounted - offered <= ({"home"} if spec["spec"]["journal"]["mode"] == "per-pod" else set())


@settings(max_examples=60)
@given(services())
def test_only_what_is_named_is_let_through(spec: dict[str, Any]) -> None:
    items = desired_objects(load_service(spec), CONTEXT)
    deny, allow = (item["spec"] for item in items if item["kind"] == "NetworkPolicy")
    assert deny["ingress"] == deny["egress"] == []
    assert deny["policyTypes"] == allow["policyTypes"] == ["Ingress", "Egress"]
    for rule in [*allow["egress"], *allow.get("ingress", [])]:
        assert rule.get("to") or rule.get("from"), "an empty peer would be everybody"
        assert rule["ports"]
        for peer in rule.get("to") or rule["from"]:
            assert peer.keys() <= {"namespaceSelector", "podSelector", "ipBlock"}
            assert peer.get("namespaceSelector") != {}


@settings(max_examples=40)
@given(services(), st.sampled_from(REGIONS))
def test_a_cluster_elsewhere_is_refused_and_one_there_narrows_down(spec: dict[str, Any], region: str) -> None:
    context = ReconcileContext(CONTEXT.image, CONTEXT.repository, region=region, node_regions={region: ("here",)})
    service = load_service(spec)
    if region not in service.spec.regions:
        try:
            desired_objects(service, context)
        except GateRefused as error:
            assert error.facts["rule"] == "residency"
            return
        raise AssertionError("it was let in")
    (template,) = templates(desired_objects(service, context))
    assert '"values": ["here"]' in json.dumps(template["spec"]["affinity"])
    assert template["metadata"]["labels"]["aboveboard.dev/residency"] == region
