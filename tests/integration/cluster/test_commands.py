"""The cluster's commands as they are called."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from aboveboard.cli.app import root
from aboveboard.cli.installation import regions_of
from aboveboard.errors import Misuse
from tests.cluster_cases import document
from tests.cluster_releases import release
from tests.kubernetes_schemas import problems
from tests.registry_server import small_registry
from tests.release_cases import Bank
from tests.unit.cluster.test_admission import review


def test_crds_as_yaml_and_as_json(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("pem")
    options = ["crds", "--policies", "--webhook", "system/admission", "--root", str(tmp_path / "ca.crt")]
    text = CliRunner().invoke(root, options, catch_exceptions=False).output
    documents = [dict(item) for item in YAML(typ="safe", pure=True).load_all(text)]
    assert [item["kind"] for item in documents] == [
        *["CustomResourceDefinition"] * 3,
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    ]
    assert [problem for item in documents for problem in problems(item)] == []
    listed = json.loads(CliRunner().invoke(root, [*options, "--json"], catch_exceptions=False).output)
    assert listed["items"] == documents


@pytest.mark.parametrize("options", [["--webhook", "nonsense"], ["--webhook", "a/b"]])
def test_crds_put_wrongly(options: list[str]) -> None:
    assert isinstance(CliRunner().invoke(root, ["crds", *options]).exception, Misuse)


def test_regions() -> None:
    assert regions_of(["a=1", "a=2", "b=3"]) == {"a": ("1", "2"), "b": ("3",)}
    with pytest.raises(Misuse):
        regions_of(["a"])


def test_admission_as_a_process(tmp_path: Path) -> None:
    """From a registry, with a certificate of its own, to an answer; then SIGTERM."""
    bank = Bank(tmp_path)
    digest = release(bank)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with small_registry() as (repository, _):
        runner = CliRunner()
        pushed = runner.invoke(
            root, ["--home", str(tmp_path), "release", "push", digest, "--to", repository, "--plain-http"]
        )
        assert pushed.exit_code == 0, pushed.output
        command = [sys.executable, "-m", "aboveboard", "--home", str(tmp_path / "pod"), "admission"]
        command += [f"--releases={repository}", "--plain-http", f"--trust={bank.keys.trust_file}"]
        command += [
            "--without-cluster-packs",
            f"--certificates={tmp_path / 'tls'}",
            "--self-signed=localhost",
            "--host=127.0.0.1",
        ]
        with subprocess.Popen([*command, f"--port={port}"], stdout=subprocess.DEVNULL) as process:
            try:
                answer = ask(f"https://localhost:{port}/validate", tmp_path / "tls" / "ca.crt", digest)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
    assert answer["response"]["uid"] == "u-1"
    assert answer["response"]["allowed"] is True, answer


def ask(url: str, authority: Path, digest: str) -> Any:
    body = review(document(releases={"champion": digest}))
    for _ in range(300):
        try:
            context = ssl.create_default_context(cafile=str(authority))
            with httpx.Client(verify=context, trust_env=False, timeout=30) as session:
                return session.post(url, json=body).json()
        except (httpx.ConnectError, FileNotFoundError):
            time.sleep(0.1)
    raise AssertionError("the webhook never answered")
