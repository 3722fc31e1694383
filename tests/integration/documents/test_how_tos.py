"""Every how-to runs: its ```sh blocks, in order, in a shell of their own; its ```json and ```yaml blocks parse.

A block that is not meant to run is marked ```console.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
HOW_TOS = sorted([ROOT / "docs" / "tutorial.md", *(ROOT / "docs" / "how-to").glob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(path.read_text(encoding="utf-8")) if kind == language]


def test_there_are_how_tos_and_they_are_linked() -> None:
    assert HOW_TOS
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [
        str(path.relative_to(ROOT / "docs"))
        for path in (ROOT / "docs").rglob("*.md")
        if path.name != "README.md" and str(path.relative_to(ROOT / "docs")) not in index
    ]
    assert missing == []


@pytest.mark.parametrize("path", HOW_TOS, ids=lambda path: path.stem)
def test_a_how_to_does_what_it_says(path: Path, tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(blocks(path, "sh"))
    finished = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ABOVEBOARD_HOME": str(tmp_path / "home"),
            "EXAMPLES": str(ROOT / "examples"),
            "NO_COLOR": "1",
        },
    )
    assert finished.returncode == 0, f"{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.stem)
def test_documents_in_documents_parse_and_links_lead_somewhere(path: Path) -> None:
    for body in blocks(path, "json"):
        json.loads(body)
    for body in blocks(path, "yaml"):
        YAML(typ="safe").load(body)
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", text):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
