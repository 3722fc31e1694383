"""Requests made from the server's own OpenAPI document, sensible and not: each is answered as the document says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aboveboard.settings import Home
from tests.integration.serving.process import Released, running

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
]


@pytest.mark.slow
def test_answers_as_its_openapi_document_says(released: Released, home: Home, tmp_path: Path) -> None:
    with running(home, release=released.digests[0]) as server:
        with server.client() as client:
            decided = client.post("/v1/decisions", json=released.clients[0]).json()
        known = {
            "name": "credit-default",
            "version": released.digests[0],
            "decision_id": decided["decision_id"],
            "code": "not-found",
            "purpose": "testing",
        }
        lines = ["[parameters]", *(f"{name} = {json.dumps(value)}" for name, value in known.items())]
        (tmp_path / "schemathesis.toml").write_text("\n".join(lines))
        finished = subprocess.run(
            [
                shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis",
                "run",
                f"{server.url}/openapi.json",
                f"--checks={','.join(CHECKS)}",
                "--phases=examples,coverage,fuzzing",
                "--max-examples=15",
                "--seed=1",
                "--generation-database=none",
                "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
