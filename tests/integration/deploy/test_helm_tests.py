"""What `helm test` runs in a cluster, run here against the servers themselves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chart_cases import API_KEY, CHART, render, value_sets
from tests.deploy_cases import EXAMPLES


def test_the_first_decision_is_made_with_the_key_the_chart_hands_out(tmp_path: Path) -> None:
    environment = {**os.environ, "ABOVEBOARD_HOME": str(tmp_path / "home"), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}

    def run(*arguments: str) -> None:
        command = [sys.executable, "-m", "aboveboard", *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    run("run", "--fast", str(EXAMPLES / "01-credit-default" / "model.yaml"))
    run("--actor", "ada@bank.example", "release", "create", "latest")
    for approver in ("grace@bank.example", "mary@bank.example"):
        run("--actor", approver, "release", "approve", "credit-default")
    [secret] = [d for d in render(value_sets()["trial"]) if d["kind"] == "Secret"]
    clients = tmp_path / "clients.json"
    clients.write_text(secret["stringData"]["clients.json"], encoding="utf-8")
    clients.chmod(0o400)
    command = [sys.executable, "-m", "aboveboard", "serve", "credit-default", "--port=0", f"--clients={clients}"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
            script = [sys.executable, str(CHART / "files" / "first-decision.py")]
            asked = {**environment, "ABOVEBOARD_URL": url, "API_KEY": API_KEY}
            finished = subprocess.run(script, env=asked, capture_output=True, text=True, timeout=60, check=False)
            assert finished.returncode == 0, finished.stderr
            assert finished.stdout.startswith("decided: ")
            stranger = {**asked, "API_KEY": "abk_" + "x" * 43}
            assert subprocess.run(script, env=stranger, capture_output=True, timeout=60, check=False).returncode != 0
        finally:
            server.terminate()


def test_the_webhook_refuses_what_nobody_released(tmp_path: Path) -> None:
    trust = tmp_path / "trust.json"
    trust.write_text('{"keys": []}', encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ABOVEBOARD_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    command = [
        *(sys.executable, "-m", "aboveboard", "admission", f"--trust={trust}", "--releases=127.0.0.1:9/releases"),
        *("--plain-http", f"--certificates={tmp_path}", "--self-signed=localhost", f"--port={port}"),
        "--without-cluster-packs",
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as webhook:
        try:
            asked = {
                **environment,
                "ADMISSION_URL": f"https://localhost:{port}/validate",
                "AUTHORITY": str(tmp_path / "ca.crt"),
            }
            while not (tmp_path / "ca.crt").exists() and webhook.poll() is None:
                time.sleep(0.1)
            assert webhook.poll() is None
            script = [sys.executable, str(CHART / "files" / "refuses.py")]
            finished = subprocess.run(script, env=asked, capture_output=True, text=True, timeout=90, check=False)
            assert finished.returncode == 0, finished.stderr
            assert finished.stdout.startswith("refused, as it must be: ")
        finally:
            webhook.terminate()


@pytest.mark.parametrize("name", ["first-decision.py", "refuses.py"])
def test_scripts_need_nothing_but_the_standard_library(name: str) -> None:
    tree = compile((CHART / "files" / name).read_text(encoding="utf-8"), name, "exec")
    imported = {constant for constant in tree.co_names if constant in sys.stdlib_module_names}
    assert imported >= {"json", "os", "time"}
    assert "aboveboard" not in tree.co_names
