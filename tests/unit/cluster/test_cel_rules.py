"""The CEL that the API server evaluates, evaluated here: on what is right, and on each thing that is wrong."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import cel
import pytest
from pydantic import ValidationError

from aboveboard.cluster import crd_documents, desired_objects, load_service
from aboveboard.cluster.policies import POD_RULES, admission_policies, webhook_configuration
from aboveboard.cluster.types import DecisionServiceSpec
from aboveboard.errors import SpecInvalid
from tests.cluster_cases import CASES, CHALLENGER, CHAMPION, PROMETHEUS, SHADOW, document
from tests.kubernetes_schemas import problems


def schema_of(kind: str) -> dict[str, Any]:
    crd = next(item for item in crd_documents() if item["spec"]["names"]["kind"] == kind)
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def defaulted(schema: dict[str, Any], value: Any) -> Any:
    """Fill in defaults as the API server does: from the outside inwards, where the parent is there."""
    if schema.get("type") == "object" and "properties" in schema and isinstance(value, dict):
        for key, child in schema["properties"].items():
            if key not in value and "default" in child:
                value[key] = copy.deepcopy(child["default"])
            if key in value:
                value[key] = defaulted(child, value[key])
    if schema.get("type") == "array" and isinstance(value, list):
        return [defaulted(schema["items"], item) for item in value]
    return value


def evaluate(expression: str, **variables: Any) -> Any:
    """Evaluate CEL with what Kubernetes adds to it of which we make use: `sum` of a list."""
    context = cel.Context(variables)
    context.add_function("sum", sum)
    return cel.evaluate(expression, context)


def broken(spec: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    schema = schema_of("DecisionService")
    new = defaulted(schema, copy.deepcopy(spec))
    before = defaulted(schema, copy.deepcopy(old)) if old is not None else new
    return [
        rule["message"]
        for rule in schema["x-kubernetes-validations"]
        if evaluate(rule["rule"], self=new, oldSelf=before) is not True
    ]


@pytest.mark.parametrize("case", CASES)
def test_what_is_right_passes(case: str) -> None:
    assert broken(CASES[case][0]["spec"]) == []


SEPARATE = {"form": "separate-pods"}
ENOUGH = {"prometheus": PROMETHEUS, "argoRollouts": {}, "gateway": {"name": "g", "namespace": "g"}}
SHARED = {"mode": "shared", "claim": "c"}


def arms(*each: tuple[str, str, int], **more: Any) -> dict[str, Any]:
    found = [{"name": name, "release": release, "weight": weight} for name, release, weight in each]
    return {"releases": {"champion": CHAMPION, "arms": found, **more}}


WRONG: dict[str, dict[str, Any]] = {
    "challenger to itself": {"releases": {"champion": CHAMPION, "challenger": {"release": CHAMPION, "weight": 1}}},
    "shadow to itself": {"releases": {"champion": CHAMPION, "shadows": [CHAMPION]}},
    "shadow to itself, being an arm": {
        "releases": {
            "champion": CHAMPION,
            "arms": [{"name": "a", "release": CHALLENGER, "weight": 1}],
            "shadows": [CHALLENGER],
        }
    },
    "two arms have one name": arms(("a", CHALLENGER, 1), ("a", SHADOW, 1)),
    "cannot be called champion": arms(("champion", CHALLENGER, 1)),
    "cannot be called champion, challenger or shadow": arms(("challenger", CHALLENGER, 1)),
    "a release of its own": arms(("a", CHALLENGER, 1), ("b", CHALLENGER, 1)),
    "each arm has a release of its own": arms(("a", CHALLENGER, 1), challenger={"release": CHALLENGER, "weight": 1}),
    "more than 100": arms(("a", CHALLENGER, 60), ("b", SHADOW, 41)),
    "add up to more than 100": arms(("a", CHALLENGER, 60), challenger={"release": SHADOW, "weight": 41}),
    "Argo Rollouts takes it through": {
        "rollout": SEPARATE,
        "integrations": ENOUGH,
        "journal": SHARED,
        **arms(("a", CHALLENGER, 1)),
    },
    "above scaling.max": {"scaling": {"min": 5, "max": 4}},
    "goes with mode shared": {"journal": {"mode": "shared"}},
    "and mode shared with a claim": {"journal": {"mode": "per-pod", "claim": "c"}},
    "exclude each other": {"integrations": {"istio": {}, "gateway": {"name": "g", "namespace": "g"}}},
    "asks Prometheus": {"integrations": {"keda": {}}},
    "Argo Rollouts takes it": {
        "rollout": SEPARATE,
        "integrations": ENOUGH,
        "journal": SHARED,
        "releases": {"champion": CHAMPION, "challenger": {"release": "sha256:" + "b" * 64, "weight": 1}},
    },
    "need integrations.argoRollouts": {
        "rollout": SEPARATE,
        "journal": SHARED,
        "integrations": {k: v for k, v in ENOUGH.items() if k != "argoRollouts"},
    },
    "to divide the traffic": {
        "rollout": SEPARATE,
        "journal": SHARED,
        "integrations": {k: v for k, v in ENOUGH.items() if k != "gateway"},
    },
    "cannot have a volume each": {"rollout": SEPARATE, "integrations": ENOUGH},
    "either subjectKeySecret or": {
        "access": {"subjectKeySecret": "s", "subjectKeyProviderClass": "s", "clientsSecret": "c"}
    },
    "subjectKeySecret or subjectKeyProviderClass": {"access": {"clientsSecret": "c"}},
    "clientsSecret or clientsProviderClass": {"access": {"subjectKeyProviderClass": "s"}},
    "databaseSecret or databaseProviderClass": {"log": {"keysSecret": "k"}},
    "keysSecret or keysProviderClass": {
        "log": {"databaseProviderClass": "d", "keysSecret": "k", "keysProviderClass": "k"}
    },
    "not both": {
        "log": {
            "databaseSecret": "d",
            "keysSecret": "k",
            "credentialsSecret": "c",
            "credentialsProviderClass": "c",
        }
    },
    "log.vault goes with": {"log": {"databaseSecret": "d", "keysSecret": "k", "kek": "vault:transit/audit"}},
    "such a key with log.vault": {
        "log": {
            "databaseSecret": "d",
            "keysSecret": "k",
            "kek": "awskms:alias/a",
            "vault": {"address": "https://vault", "role": "r"},
        }
    },
    "a weight of its own": {"rollout": {"steps": [{"weight": 5}, {"weight": 5}]}},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_refused_by_the_rule_and_by_the_type_alike(message: str) -> None:
    wrong = document(**WRONG[message])
    assert any(message.partition(", being")[0] in said for said in broken(wrong["spec"]))
    with pytest.raises(SpecInvalid):
        load_service(wrong)


def test_the_model_of_a_service_stays() -> None:
    old = document()["spec"]
    assert broken({**old, "model": "another"}, old) == [
        "the model of a service does not change: make another service"
    ]


PER_POD = {"mode": "per-pod", "size": "20Gi", "storageClass": "fast"}


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (PER_POD, PER_POD, False),
        (PER_POD, {**PER_POD, "size": "40Gi"}, True),
        (PER_POD, {**PER_POD, "storageClass": "slow"}, True),
        (PER_POD, {"mode": "per-pod", "size": "20Gi"}, True),
        ({"mode": "per-pod"}, PER_POD, True),
        (PER_POD, {"mode": "ephemeral", "size": "1Gi"}, False),
        (PER_POD, {"mode": "shared", "claim": "journals"}, False),
        ({"mode": "ephemeral", "size": "1Gi"}, {"mode": "per-pod", "size": "20Gi"}, False),
    ],
)
def test_volumes_that_are_there_stay_what_they_are(
    before: dict[str, Any], after: dict[str, Any], refused: bool
) -> None:
    """The API server refuses a StatefulSet with other claim templates; then nothing after it would be applied."""
    said = broken(document(journal=after)["spec"], document(journal=before)["spec"])
    assert [message.partition(" of volumes")[0] for message in said] == (
        ["journal.size and journal.storageClass"] if refused else []
    )


@pytest.mark.parametrize(
    ("kind", "name", "right"),
    [
        ("DecisionService", "loans", True),
        ("DecisionService", "l", True),
        ("DecisionService", "1st-loans", False),
        ("DecisionService", "loans.eu", False),
        ("DecisionService", "l" * 51, False),
        ("DecisionService", "loans-", False),
        ("Model", "1st-loans", True),
        ("Model", "loans.eu", False),
    ],
)
def test_names_that_other_objects_are_named_after(kind: str, name: str, right: bool) -> None:
    crd = next(item for item in crd_documents() if item["spec"]["names"]["kind"] == kind)
    rules = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"]
    held = all(cel.evaluate(rule["rule"], {"self": {"metadata": {"name": name}}}) is True for rule in rules)
    assert held is right
    if kind == "DecisionService":
        item = {**document(), "metadata": {"name": name, "namespace": "lending"}}
        with contextlib.nullcontext() if right else pytest.raises(SpecInvalid, match="DecisionService"):
            load_service(item)


@pytest.mark.parametrize("cidr", ["10.20.0.5/16", "10.20.0/16", "10.20.0.0/33", "fe80::1/64"])
def test_an_address_range_the_api_server_would_refuse_is_refused_before(cidr: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        load_service(document(network={"destinations": [{"name": "registry", "port": 443, "cidr": cidr}]}))
    assert [problem.path for problem in caught.value.problems] == ["spec.network.destinations.0.cidr"]


def test_defaults_of_the_definition_are_those_of_the_type() -> None:
    bare = document()["spec"]
    filled = defaulted(schema_of("DecisionService"), copy.deepcopy(bare))
    assert DecisionServiceSpec.model_validate(filled, by_alias=True, by_name=False) == (
        DecisionServiceSpec.model_validate(bare, by_alias=True, by_name=False)
    )


def test_schemas_are_structural() -> None:
    """No references, no null defaults, a type everywhere but for the values of several types that are listed."""
    open_ended: list[str] = []

    def walk(node: Any, path: str) -> None:
        assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "$defs", "const"} & node.keys(), path
        if node.get("x-kubernetes-preserve-unknown-fields"):
            open_ended.append(path)
        else:
            assert node.get("x-kubernetes-int-or-string") or isinstance(node.get("type"), str), path
        assert node.get("additionalProperties") is not False, path
        assert "null" not in repr(node.get("default")), path
        assert node.get("type") != "array" or "maxItems" in node, f"{path}: CEL needs a bound"
        for key, child in node.get("properties", {}).items():
            walk(child, f"{path}.{key}")
        for key in ("items", "additionalProperties"):
            if isinstance(node.get(key), dict):
                walk(node[key], f"{path}[]")

    for item in crd_documents():
        kind = item["spec"]["names"]["kind"]
        walk(schema_of(kind), kind)
    assert open_ended == [
        "Model.data.target.favourable",
        "Model.features[].categories[]",
        "Model.protected[].groups[].values[]",
        "Model.model.parameters[]",
        "Model.model.search.space[]",
        "PolicyPack.manifest.rules[].purposes",
        "PolicyPack.tests[].facts[]",
    ]


def pod() -> dict[str, Any]:
    item, context = CASES["istio"]
    workload = next(o for o in desired_objects(load_service(item), context) if o["kind"] == "Deployment")
    proxy = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.30.3"}
    made: dict[str, Any] = copy.deepcopy(workload["spec"]["template"])
    made["spec"]["initContainers"].insert(0, proxy)
    return made


def denied(item: dict[str, Any]) -> list[str]:
    spec = admission_policies()[0]["spec"]
    variables = {each["name"]: cel.evaluate(each["expression"], {"object": item}) for each in spec["variables"]}
    return [
        rule["message"]
        for rule in spec["validations"]
        if cel.evaluate(rule["expression"], {"object": item, "variables": variables}) is not True
    ]


def test_our_own_pods_pass() -> None:
    assert denied(pod()) == []


def change(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(item: Any) -> None:
        for key in path[:-1]:
            item = item[key]
        if to is None:
            del item[path[-1]]
        else:
            item[path[-1]] = to

    return apply


SERVER = ("spec", "containers", 0)
SECURITY = (*SERVER, "securityContext")


WRONG_PODS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (change(*SERVER, "image", to="registry.example/aboveboard:1.0"), "pinned by digest"),
    (change("spec", "initContainers", 1, "image", to="busybox"), "pinned by digest"),
    (
        change("spec", "volumes", 0, to={"name": "release", "image": {"reference": "registry.example/releases:v1"}}),
        "pinned by digest",
    ),
    (change("spec", "volumes", 0, to={"name": "release", "image": {}}), "pinned by digest"),
    (
        change("spec", "volumes", 0, to={"name": "release", "image": {"reference": "r/a@sha256:" + "1" * 64}}),
        "",
    ),
    (change(*SERVER, "image", to="r/a:latest@sha256:" + "1" * 64), "named latest"),
    (change(*SERVER, "name", to="istio-proxy"), ""),
    (change(*SECURITY, to=None), "restricted"),
    (change(*SECURITY, "runAsNonRoot", to=False), "restricted"),
    (change(*SECURITY, "readOnlyRootFilesystem", to=False), "restricted"),
    (change(*SECURITY, "allowPrivilegeEscalation", to=True), "restricted"),
    (change(*SECURITY, "privileged", to=True), "restricted"),
    (change(*SECURITY, "capabilities", to={"drop": ["NET_RAW"]}), "restricted"),
    (change(*SECURITY, "capabilities", to={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "restricted"),
    (change("spec", "securityContext", to=None), "seccomp"),
    (change("spec", "securityContext", "seccompProfile", "type", to="Unconfined"), "seccomp"),
    (change("spec", "ephemeralContainers", to=[{"name": "debugger", "image": "busybox"}]), "nobody debugs"),
    (change("spec", "ephemeralContainers", to=[]), ""),
    (change("spec", "hostNetwork", to=True), "of the host"),
    (change("spec", "volumes", 0, to={"name": "scratch", "hostPath": {"path": "/"}}), "of the host"),
    (change("metadata", "labels", "aboveboard.dev/residency", to=None), "residency"),
    (change("metadata", "annotations", to=None), "by digest"),
    (change("metadata", "annotations", "aboveboard.dev/releases", to="small-loans:latest"), "by digest"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_PODS)
def test_each_thing_that_is_wrong_with_a_pod(wrong: Callable[[dict[str, Any]], None], message: str) -> None:
    item = pod()
    wrong(item)
    said = denied(item)
    assert any(message in each for each in said) if message else said == [], said


def test_every_rule_can_refuse() -> None:
    bare = {
        "metadata": {},
        "spec": {"containers": [{"name": "c", "image": "x:latest"}], "hostPID": True, "ephemeralContainers": [{}]},
    }
    assert len(denied(bare)) == len(POD_RULES)


def test_debugging_is_asked_about_and_what_goes_is_not() -> None:
    spec = admission_policies()[0]["spec"]
    [rule] = spec["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["pods", "pods/ephemeralcontainers"]
    [going] = spec["matchConditions"]
    assert cel.evaluate(going["expression"], {"object": {"metadata": {"deletionTimestamp": "now"}}}) is False


def test_policies_and_webhook_are_valid_to_the_last_field() -> None:
    documents = [
        *admission_policies(),
        webhook_configuration(namespace="a", service="b", root=b"pem"),
        webhook_configuration(namespace="a", service="b", certificate="a/c"),
    ]
    assert [problem for item in documents for problem in problems(item)] == []


def test_the_webhook_asks_again_when_labels_change_and_lets_go_what_goes() -> None:
    services, models, packs, pods = webhook_configuration(namespace="a", service="b")["webhooks"]
    assert {each["failurePolicy"] for each in (services, models, packs, pods)} == {"Fail"}
    going = services["matchConditions"][0]["expression"]
    assert cel.evaluate(going, {"object": {"metadata": {}}}) is True
    assert cel.evaluate(going, {"object": {"metadata": {"deletionTimestamp": "now"}}}) is False
    changed = services["matchConditions"][1]["expression"]
    assert cel.evaluate(changed, {"object": {"spec": {"a": 1}}, "oldObject": {"spec": {"a": 1}}}) is False
    assert cel.evaluate(changed, {"object": {"spec": {"a": 2}}, "oldObject": {"spec": {"a": 1}}}) is True
    assert cel.evaluate(changed, {"object": {"spec": {"a": 2}}, "oldObject": None}) is True


def test_a_type_that_is_wrong_is_no_validation_error_of_pydantic() -> None:
    with pytest.raises(SpecInvalid) as caught:
        load_service({"kind": 1})
    assert isinstance(caught.value.__cause__, ValidationError)
    assert len(caught.value.problems) >= 4
