"""The chart, rendered by Helm itself: what it makes is valid, restricted, and what it was."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest

from aboveboard.cli.app import COMMANDS
from aboveboard.cluster import crd_documents, desired_objects, load_service
from aboveboard.cluster.kube import PLURALS
from aboveboard.deploy.manifests import to_yaml
from aboveboard.deploy.render import context_of
from aboveboard.deploy.values import Values
from tests.chart_cases import API_KEY, CHART, NAMESPACE, example, merged, pod_specs, render, rendered, value_sets
from tests.conftest import Golden
from tests.deploy_cases import IMAGE, REPOSITORY, regions, service
from tests.gatekeeper_constraints import constraint_definition
from tests.golden.test_metrics_reference import control_plane
from tests.kubernetes_schemas import problems
from tests.prometheus_server import check_rules

SETS = value_sets()
EVERY_SET = pytest.mark.parametrize("name", SETS)


@EVERY_SET
def test_helm_lint_finds_nothing(name: str) -> None:
    report = helm.lint(CHART, SETS[name], strict=True, namespace=NAMESPACE, kube_version="v1.36.0")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@EVERY_SET
def test_every_object_is_valid_and_what_it_was(name: str, golden: Golden) -> None:
    documents = render(SETS[name])
    made = [constraint_definition(document) for document in documents if document["kind"] == "ConstraintTemplate"]
    own = [*crd_documents(), *made]
    assert [problem for document in documents for problem in problems(document, own)] == []
    names = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in documents]
    assert len(set(names)) == len(names)
    golden(f"deploy/chart/{name}.yaml", to_yaml(documents))


@EVERY_SET
def test_templates_and_types_agree_on_every_default(name: str) -> None:
    spelt_out = Values.model_validate(SETS[name], by_alias=True, by_name=False)
    document = spelt_out.model_dump(mode="json", by_alias=True, exclude_none=True)
    # A decision service's own defaults are the API server's business; the chart hands on what was written.
    document["decisionServices"] = SETS[name].get("decisionServices", [])
    document["integrations"] = SETS[name].get("integrations", {})
    document["log"] = SETS[name].get("log")
    assert render(document) == render(SETS[name])


@EVERY_SET
def test_every_pod_is_restricted(name: str) -> None:
    """Pod Security Standards, level restricted, and a little more."""
    for where, pod in pod_specs(render(SETS[name])):
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["runAsUser"] > 10_000, where
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), where
        assert all("hostPath" not in volume for volume in pod.get("volumes", [])), where
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, where
            assert security["readOnlyRootFilesystem"] is True, where
            assert security["capabilities"] == {"drop": ["ALL"]}, where
            assert container["resources"]["limits"]["memory"], where
            assert container["resources"]["requests"]["cpu"], where
            for variable in container.get("env", []):
                given = variable.get("value", "")
                assert "_KEY" not in variable["name"] or not given or given.startswith("/etc/aboveboard/"), where


@EVERY_SET
def test_every_decision_service_is_one_the_operator_reads(name: str) -> None:
    for document in render(SETS[name]):
        if document["kind"] == "DecisionService":
            load_service(document)


def test_integrations_of_the_cluster_reach_its_services_and_their_own_win() -> None:
    own = {"prometheus": {"address": "http://own.example:9090"}}
    values = merged(SETS["production-with-service"], {})
    values["decisionServices"][0]["spec"]["integrations"] = own
    [service] = [document for document in render(values) if document["kind"] == "DecisionService"]
    integrations = service["spec"]["integrations"]
    assert integrations["prometheus"]["address"] == "http://own.example:9090"
    assert integrations["istio"]["hosts"] == ["decisions.bank.example"]


def test_the_log_of_the_cluster_is_that_of_every_service_that_says_nothing_of_it() -> None:
    values = merged(SETS["production-with-one-log"], {})
    [silent] = values["decisionServices"]
    own = {"databaseSecret": "own-database", "keysSecret": "own-keys"}
    values["decisionServices"] = [
        silent,
        merged(silent, {"name": "own", "spec": {"log": own}}),
        merged(silent, {"name": "none", "spec": {"log": None}}),
    ]
    logs = {
        d["metadata"]["name"]: d["spec"].get("log", "says nothing")
        for d in render(values)
        if d["kind"] == "DecisionService"
    }
    # A log is one thing: nothing of the cluster's gets into one of their own.
    assert logs == {"credit-default": values["log"], "own": own, "none": "says nothing"}


FORBIDDEN = {"secrets", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "*"}


def test_no_person_reads_secrets_opens_shells_or_becomes_somebody_else() -> None:
    roles = [d for d in render(SETS["production"]) if d["kind"] == "ClusterRole" and ":" in d["metadata"]["name"]]
    assert {role["metadata"]["name"].partition(":")[2] for role in roles} == {
        "data-scientist", "validator", "approver", "auditor", "operator",
    }  # fmt: skip
    for role in roles:
        for rule in role["rules"]:
            assert not FORBIDDEN & set(rule["resources"]), role["metadata"]["name"]
            assert not {"impersonate", "escalate", "bind", "*"} & set(rule["verbs"]), role["metadata"]["name"]
            assert "*" not in rule["apiGroups"]


def verbs(role: str, resource: str) -> set[str]:
    [found] = [
        d for d in render(SETS["production"]) if d["metadata"]["name"] == f"aboveboard:{role}" and "rules" in d
    ]
    return {verb for rule in found["rules"] if resource in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.parametrize(
    ("role", "writes"),
    [
        ("data-scientist", {"models"}),
        ("validator", {"policypacks"}),
        ("approver", {"decisionservices"}),
        ("auditor", set()),
        ("operator", {"decisionservices"}),
    ],
)
def test_each_person_writes_their_own_thing_and_reads_the_rest(role: str, writes: set[str]) -> None:
    for resource in ("models", "policypacks", "decisionservices"):
        assert "list" in verbs(role, resource)
        assert ("patch" in verbs(role, resource)) == (resource in writes)
    assert "create" not in verbs("operator", "decisionservices")


def test_a_tenant_has_a_quota_limits_walls_and_keeps_its_evidence() -> None:
    documents = [d for d in render(SETS["production"]) if d["metadata"].get("namespace") == "credit-staging"]
    assert {d["kind"] for d in documents} == {
        "ConfigMap", "ResourceQuota", "LimitRange", "NetworkPolicy", "RoleBinding",
    }  # fmt: skip
    [trust] = [d for d in documents if d["kind"] == "ConfigMap"]
    assert trust["metadata"]["name"] == "aboveboard-trust"
    assert trust["data"] == {"trust.json": SETS["production"]["trust"]["document"]}
    [wall] = [d for d in documents if d["kind"] == "NetworkPolicy"]
    assert wall["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for namespace in (d for d in render(SETS["production"]) if d["kind"] == "Namespace"):
        labels = namespace["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        assert namespace["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def wrong(*path: str, value: Any) -> dict[str, Any]:
    document: Any = value
    for key in reversed(path):
        document = {key: document}
    return merged(SETS["control-plane"], document)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (wrong("imgae", value={}), "imgae"),
        (wrong("image", "digest", value="latest"), "digest"),
        (wrong("admission", "failurePolicy", value="Ignore"), "failurePolicy"),
        (wrong("admission", "certificates", value="none"), "certificates"),
        (wrong("trial", "apiKey", value="secret"), "apiKey"),
        (wrong("tenants", value=[{"namespace": "Prod", "environment": "production"}]), "namespace"),
        (wrong("decisionServices", value=[{"name": "x", "spec": {"model": "m"}}]), "releases"),
        (wrong("kafka", "brokers", value="three"), "brokers"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(helm.HelmError, match=says):
        render(values)


def test_a_control_plane_without_a_registry_says_what_to_do() -> None:
    with pytest.raises(helm.HelmError, match=r"registry\.repository: name the OCI repository"):
        render({})


def test_every_example_file_is_held_to_this() -> None:
    for path in sorted(Path(CHART / "examples").glob("*.yaml")):
        values = example(path.stem)
        assert any(all(case.get(key) is not None for key in values) for case in SETS.values()), path.name


ADMISSION_SECRET = "aboveboard-admission-certificate"


def rules_of(kind: str, name: str) -> list[dict[str, Any]]:
    [found] = [d for d in render(SETS["control-plane"]) if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    rules: list[dict[str, Any]] = found["rules"]
    return rules


def test_the_operator_may_touch_what_it_makes_and_nothing_else() -> None:
    rules = rules_of("ClusterRole", "aboveboard-operator")
    made = {resource for rule in rules if "create" in rule["verbs"] for resource in rule["resources"]} - {"events"}
    assert made == set(PLURALS.values()) - {
        *("leases", "decisionservices", "events", "models", "policypacks", "secrets")
    }
    for rule in rules:
        assert not FORBIDDEN & set(rule["resources"])
        assert not {"impersonate", "escalate", "bind", "*", "deletecollection"} & set(rule["verbs"])
    assert [rule["resources"] for rule in rules_of("Role", "aboveboard-operator")] == [["leases"]]


def test_everything_a_service_becomes_is_of_a_group_the_operator_may_write() -> None:
    allowed = {
        (group, resource)
        for rule in rules_of("ClusterRole", "aboveboard-operator")
        if "patch" in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    place = regions().region("eu-west")
    context = context_of(regions(), place, image=IMAGE, repository=REPOSITORY)
    for document in desired_objects(service(), context):
        group = document["apiVersion"].rpartition("/")[0]
        assert (group, PLURALS[document["kind"]]) in allowed


def test_without_cert_manager_the_webhook_looks_after_its_certificate_itself() -> None:
    """Helm makes no key; the webhook may read and write one Secret, and patch one configuration, by name."""
    documents = [document for _, document in rendered(SETS["control-plane"])]
    [configuration] = [d for d in documents if d["kind"] == "ValidatingWebhookConfiguration"]
    for webhook in configuration["webhooks"]:
        assert "caBundle" not in webhook["clientConfig"]
        assert webhook["failurePolicy"] == "Fail"
        assert webhook["clientConfig"]["service"]["namespace"] == NAMESPACE
    [secret] = [d for d in documents if d["kind"] == "Secret" and d["metadata"]["name"] == ADMISSION_SECRET]
    assert "data" not in secret
    [rule] = rules_of("Role", "aboveboard-admission")
    assert (rule["resources"], rule["resourceNames"]) == (["secrets"], [ADMISSION_SECRET])
    assert set(rule["verbs"]) == {"get", "update"}
    packs, webhooks = rules_of("ClusterRole", "aboveboard-admission")
    assert (packs["resources"], packs["verbs"]) == (["policypacks"], ["list", "watch"])
    assert webhooks["resourceNames"] == [configuration["metadata"]["name"]]
    assert webhooks["verbs"] == ["get", "patch"]
    [deployment] = [
        d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == "aboveboard-admission"
    ]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--shared-secret={NAMESPACE}/{ADMISSION_SECRET}" in arguments
    assert f"--self-signed=aboveboard-admission.{NAMESPACE}.svc" in arguments


def test_with_cert_manager_helm_makes_no_key() -> None:
    documents = render(SETS["production"])
    assert [d for d in documents if d["kind"] == "Secret"] == []
    [configuration] = [d for d in documents if d["kind"] == "ValidatingWebhookConfiguration"]
    assert configuration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": f"{NAMESPACE}/aboveboard-admission"
    }


def test_a_renewed_certificate_is_under_the_root_that_is_trusted_already() -> None:
    documents = render(SETS["production"])
    issuers = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "Issuer"}
    certificates = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "Certificate"}
    served = certificates["aboveboard-admission"]
    authority = issuers[served["issuerRef"]["name"]]
    [root] = [c for c in certificates.values() if c["secretName"] == authority["ca"]["secretName"]]
    assert root["isCA"] is True
    assert root["privateKey"]["rotationPolicy"] == "Never"
    assert int(root["duration"].rstrip("h")) > 20 * int(served["duration"].rstrip("h"))


def test_nothing_secret_is_in_a_config_map_or_an_argument() -> None:
    for name, values in SETS.items():
        for document in render(values):
            if document["kind"] != "Secret":
                assert API_KEY not in str(document), name
                assert "PRIVATE KEY" not in str(document), name


def test_containers_are_started_with_options_the_commands_have() -> None:
    checked = set()
    for values in SETS.values():
        for where, pod in pod_specs(render(values)):
            for container in [*pod.get("initContainers", []), *pod["containers"]]:
                words: list[str] = [*container["command"], "", ""]
                program, name = words[:2]
                if program == "aboveboard" and name in COMMANDS:
                    command = importlib.import_module(f"aboveboard.cli.{name}").command
                    for word in container["command"][2:]:
                        command = command.commands[word]
                    known = {option for parameter in command.params for option in parameter.opts}
                    given = {
                        argument.partition("=")[0] for argument in container["args"] if argument.startswith("--")
                    }
                    assert given <= known, f"{where}: {name} does not take {given - known}"
                    checked.add(" ".join(container["command"][1:]))
    assert checked == {"serve", "operator", "admission", "events relay", "events collect"}


def test_alerts_of_the_control_plane_ask_for_what_is_counted(tmp_path: Path) -> None:
    documents = render(SETS["monitored"])
    [rule] = [d for d in documents if d["kind"] == "PrometheusRule"]
    check_rules(rule["spec"]["groups"], tmp_path)
    asked = {
        name
        for group in rule["spec"]["groups"]
        for alert in group["rules"]
        for name in re.findall(r"aboveboard_[a-z_]+", alert["expr"])
    }
    counted = {family.name + ("_total" if family.type == "counter" else "") for family in control_plane()}
    assert asked
    assert asked <= counted


def test_prometheus_reaches_the_control_plane_and_believes_the_webhook() -> None:
    documents = render(SETS["monitored"])
    monitors = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "PodMonitor"}
    assert set(monitors) == {"aboveboard-operator", "aboveboard-admission"}
    deployments = {d["metadata"]["name"]: d for d in documents if d["kind"] == "Deployment"}
    policies = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "NetworkPolicy"}
    for name, monitor in monitors.items():
        pod = deployments[name]["spec"]["template"]
        assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        [endpoint] = monitor["podMetricsEndpoints"]
        assert endpoint["port"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
        ports = [port["port"] for rule in policies[name]["ingress"] for port in rule["ports"]]
        assert endpoint["port"] in ports
    [endpoint] = monitors["aboveboard-admission"]["podMetricsEndpoints"]
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] == ADMISSION_SECRET
    assert endpoint["tlsConfig"]["serverName"] == f"aboveboard-admission.{NAMESPACE}.svc"
