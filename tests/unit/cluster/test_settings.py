"""What a pod is told of the log and of traces is what the server reads; nothing of it is secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from aboveboard.cli.app import root
from aboveboard.cluster import desired_objects, load_service
from aboveboard.errors import SpecInvalid
from aboveboard.serving.telemetry import traces_asked
from aboveboard.settings import LogSettings, VaultIdentity
from tests.chart_cases import CHART
from tests.cluster_cases import CASES, document

VAULT = {"address": "https://vault.bank.example", "role": "loans"}


def made(case: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the settings and the pod of a service."""
    item, context = CASES[case]
    objects = desired_objects(load_service(item), context)
    [settings] = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
    [pod] = [each["spec"]["template"]["spec"] for each in objects if each["kind"] in ("Deployment", "StatefulSet")]
    return settings, pod


def test_the_server_finds_its_log_where_the_pod_mounts_it() -> None:
    settings, pod = made("one-log")
    log = LogSettings.from_environment(settings)
    [server] = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}

    def secret(path: str) -> dict[str, Any]:
        mount = mounts[path]
        assert mount["readOnly"] is True
        found: dict[str, Any] = volumes[mount["name"]]["secret"]
        return found

    assert log.database is not None
    assert log.keys is not None
    file = Path(log.database.removeprefix("file:"))
    assert secret(str(file.parent))["secretName"] == "log-database"
    assert [item["path"] for item in secret(str(file.parent))["items"]] == [file.name]
    assert secret(str(log.keys))["secretName"] == "log-keys"
    assert log.tiles == "s3://bank-log/loans?region=eu-west-1"
    assert log.kek == "awskms:alias/aboveboard"
    credentials = Path(settings["AWS_SHARED_CREDENTIALS_FILE"])
    assert secret(str(credentials.parent))["secretName"] == "log-credentials"


def test_what_a_store_outside_keeps_is_mounted_where_a_secret_would_be() -> None:
    settings, pod = made("secrets-store")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    classes = {
        "subject-key": "loans-subject-key",
        "clients": "loans-clients",
        "log-database": "log-database",
        "log-keys": "log-keys",
        "log-credentials": "log-credentials",
    }
    for name, provider_class in classes.items():
        assert volumes[name] == {
            "name": name,
            "csi": {
                "driver": "secrets-store.csi.k8s.io",
                "readOnly": True,
                "volumeAttributes": {"secretProviderClass": provider_class},
            },
        }
    assert not [volume for volume in volumes.values() if "secret" in volume]
    # The same files at the same places, none of them by a subPath, which would never be renewed.
    _, other = made("one-log")
    mounts = [
        {m["name"]: m for c in [*each["initContainers"], *each["containers"]] for m in c["volumeMounts"]}
        for each in (pod, other)
    ]
    for name in classes:
        assert mounts[0][name] == mounts[1][name]
        assert set(mounts[0][name]) == {"name", "mountPath", "readOnly"}
    assert "AWS_SHARED_CREDENTIALS_FILE" in settings
    # The driver's files belong to root and its group, whatever fsGroup says.
    assert pod["securityContext"]["supplementalGroups"] == [0]
    assert "supplementalGroups" not in other["securityContext"]


def test_a_pod_logs_in_to_vault_with_a_token_made_for_vault() -> None:
    settings, pod = made("secrets-store")
    log = LogSettings.from_environment(settings)
    assert log.kek == "vault:transit/audit"
    assert log.vault == VaultIdentity(
        "loans", Path("/etc/aboveboard/vault-token/token"), mount="clusters/eu-west", namespace="lending"
    )
    assert settings["VAULT_ADDR"] == "https://vault.vault:8200"
    assert "VAULT_TOKEN" not in settings
    [server] = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in server["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    [source] = volumes[mounts[str(log.vault.token.parent)]]["projected"]["sources"]
    assert source["serviceAccountToken"] == {"audience": "vault", "expirationSeconds": 600, "path": "token"}
    ca = Path(settings["VAULT_CACERT"])
    config_map = volumes[mounts[str(ca.parent)]]["configMap"]
    assert (config_map["name"], config_map["items"]) == ("vault-ca", [{"key": "ca.crt", "path": ca.name}])
    # Neither the API server's token, nor Vault's for the container that needs it not.
    assert pod["automountServiceAccountToken"] is False
    [verifier] = pod["initContainers"]
    assert "vault-token" not in {mount["name"] for mount in verifier["volumeMounts"]}


def test_pods_may_be_somebody_to_a_cloud() -> None:
    item, context = CASES["secrets-store"]
    [account] = [o for o in desired_objects(load_service(item), context) if o["kind"] == "ServiceAccount"]
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/loans"}
    assert account["metadata"]["annotations"] == role
    assert account["automountServiceAccountToken"] is False


def test_a_pods_own_log_has_the_pods_name_and_a_shared_one_the_name_in_its_keys() -> None:
    def origin(case: str) -> list[str]:
        return [str(each) for each in made(case)[1]["containers"][0]["args"] if each.startswith("--origin")]

    assert origin("plain") == ["--origin=aboveboard.local/log/$(POD_NAME)"]
    assert origin("one-log") == []


def test_the_keys_of_a_log_are_all_it_takes_to_open_it_again_without_writing(tmp_path: Path) -> None:
    """What docs/operations/cluster.md has made on a trusted machine, mounted read-only and handed to a group."""
    environment = {"ABOVEBOARD_HOME": str(tmp_path / "home"), "ABOVEBOARD_LOG_KEYS": str(tmp_path / "keys")}
    arguments = ["audit", "key", "--origin", "bank.example/credit"]
    assert CliRunner().invoke(root, arguments, env=environment).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    values = yaml.safe_load((CHART / "examples" / "one-log.yaml").read_text(encoding="utf-8"))
    [secret] = [each for each in values["externalSecrets"]["secrets"] if each["name"].endswith("log-keys")]
    # The example leaves the key-encryption key to a key service.
    assert set(before) == {*secret["properties"], "audit-kek.key"}
    environment["ABOVEBOARD_HOME"] = str(tmp_path / "pod")
    shown = CliRunner().invoke(root, ["audit", "key"], env=environment)
    assert shown.output.startswith("bank.example/credit+")
    assert {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before


def test_pods_leave_the_tracks_to_the_resource() -> None:
    for item, context in CASES.values():
        for each in desired_objects(load_service(item), context):
            if each["kind"] in ("Deployment", "StatefulSet", "Rollout"):
                [server] = each["spec"]["template"]["spec"]["containers"]
                assert "--tracks-by=DecisionService lending/loans" in server["args"]


def test_without_a_log_or_traces_nothing_is_said_of_them() -> None:
    settings, _ = made("plain")
    assert LogSettings.from_environment(settings) == LogSettings()
    assert not traces_asked(settings)


def test_traces_are_asked_for_in_words_the_server_takes_and_the_network_lets_them_out() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    settings, _ = made("one-log")
    assert traces_asked(settings)
    assert settings["OTEL_SERVICE_NAME"] == "loans"
    item, context = CASES["one-log"]
    [egress] = [
        each["spec"]["egress"]
        for each in desired_objects(load_service(item), context)
        if each["kind"] == "NetworkPolicy" and each["spec"].get("egress")
    ]
    [collector] = [rule for rule in egress if rule["ports"] == [{"protocol": "TCP", "port": 4318}]]
    [peer] = collector["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "collector"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"integrations": {"tracing": {"endpoint": "http://c:4318"}}}, "namespace or its cidr"),
        ({"integrations": {"tracing": {"endpoint": "http://c", "namespace": "o"}}}, "pattern"),
        ({"integrations": {"tracing": {"endpoint": "grpc://c:4317", "namespace": "o"}}}, "pattern"),
        ({"log": {"databaseSecret": "d"}}, "keysSecret or keysProviderClass"),
        ({"log": {"keysSecret": "k"}}, "databaseSecret or databaseProviderClass"),
        ({"log": {"databaseSecret": "d", "databaseProviderClass": "d", "keysSecret": "k"}}, "databaseProviderClass"),
        (
            {
                "log": {
                    "databaseSecret": "d",
                    "keysSecret": "k",
                    "credentialsSecret": "c",
                    "credentialsProviderClass": "c",
                }
            },
            "not both",
        ),
        ({"log": {"databaseSecret": "d", "keysSecret": "k", "kek": "vault:transit/audit"}}, "kek of Vault's"),
        ({"log": {"databaseSecret": "d", "keysSecret": "k", "vault": VAULT}}, "kek of Vault's"),
        (
            {
                "log": {
                    "databaseSecret": "d",
                    "keysSecret": "k",
                    "kek": "vault:audit",
                    "vault": {**VAULT, "address": "http://vault:8200"},
                }
            },
            "pattern",
        ),
        (
            {
                "log": {
                    "databaseSecret": "d",
                    "keysSecret": "k",
                    "kek": "vault:audit",
                    "vault": {**VAULT, "tokenSeconds": 60},
                }
            },
            "600",
        ),
        ({"access": {"subjectKeySecret": "s"}}, "clientsSecret or clientsProviderClass"),
        ({"access": {"clientsProviderClass": "c"}}, "subjectKeySecret or subjectKeyProviderClass"),
        (
            {"access": {"subjectKeySecret": "s", "subjectKeyProviderClass": "s", "clientsSecret": "c"}},
            "subjectKeySecret or subjectKeyProviderClass",
        ),
        ({"log": {"databaseSecret": "d", "keysSecret": "k", "kek": "file:/tmp/kek"}}, "pattern"),
        ({"log": {"databaseSecret": "d", "keysSecret": "k", "tiles": "file:/tmp"}}, "pattern"),
        ({"log": {"database": "postgresql://u:secret@h/d", "keysSecret": "k"}}, "database"),
    ],
)
def test_what_cannot_work_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        load_service(document(**changed))
    assert says in str([problem.message for problem in caught.value.problems]) + str(
        [problem.path for problem in caught.value.problems]
    )
