"""The Dockerfile: pinned, not root, in stages; and the bill of materials it puts in."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from aboveboard.cluster.pod import HOME, USER

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "deploy" / "images"
TEXT = re.sub(r"\\\n", " ", (IMAGES / "Dockerfile").read_text(encoding="utf-8"))
LINES = [line.strip() for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
STAGES: dict[str, list[str]] = {}
for _line in LINES:
    if _line.startswith("FROM "):
        STAGES[_line.split(" AS ")[1]] = [_line]
    elif STAGES:
        STAGES[list(STAGES)[-1]].append(_line)


def test_every_base_is_named_by_the_builder_and_has_no_default() -> None:
    assert "ARG PYTHON_IMAGE" in LINES
    assert not any(re.match(r"ARG PYTHON_IMAGE=", line) for line in LINES)
    bases = {stage[0].split()[1] for stage in STAGES.values()}
    assert bases <= {"${PYTHON_IMAGE}", "scratch", *STAGES}
    assert ":latest" not in TEXT


def test_what_runs_is_the_last_stage_is_not_root_and_has_no_compiler() -> None:
    name, runtime = list(STAGES.items())[-1]
    assert name == "runtime"
    assert f"USER {USER}:{USER}" in runtime
    assert runtime.index(f"USER {USER}:{USER}") > max(i for i, line in enumerate(runtime) if line.startswith("RUN"))
    assert "gcc" not in " ".join(runtime)
    assert any(HOME in line for line in runtime if line.startswith("ENV"))
    assert 'ENTRYPOINT ["aboveboard"]' in runtime
    assert not any(line.startswith("ADD") for line in LINES)


def test_dependencies_are_installed_by_their_hashes() -> None:
    [install] = [line for line in STAGES["build"] if "-r requirements/image.txt" in line]
    assert "--require-hashes" in install
    text = (ROOT / "requirements" / "image.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert {"kopf", "lightkube", "lightgbm", "polars", "psycopg"} <= set(pinned)
    assert "pytest" not in pinned
    assert len(re.findall("--hash=sha256:", text)) > len(pinned)


def test_the_image_has_the_versions_that_are_tested() -> None:
    def versions(name: str) -> dict[str, set[str]]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        found: dict[str, set[str]] = {}
        for package, version in re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE):
            found.setdefault(package, set()).add(version)
        return found

    image, runtime = versions("image.txt"), versions("runtime.txt")
    assert {name: image[name] for name in runtime} == runtime


def test_everything_copied_is_there_and_let_through() -> None:
    ignored = [
        line for line in (IMAGES / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert ignored[0] == "*"
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    for line in LINES:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), source


def test_nothing_that_runs_imports_the_tests_the_image_leaves_out() -> None:
    program = """
import sys, warnings
class Absent:
    def find_spec(self, name, path=None, target=None):
        if set(name.split(".")[1:]) & {"test", "tests"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
warnings.simplefilter("ignore")
import aboveboard.cli.app, aboveboard.cluster, aboveboard.models.fit, aboveboard.serving.server, aboveboard.training
import aboveboard.cli.demo, aboveboard.evaluation, aboveboard.data, aboveboard.policy, optuna, polars, regopy
import sklearn.linear_model, sklearn.isotonic, sklearn.metrics, scipy.stats, scipy.optimize, lightgbm
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_bill_of_materials_is_valid_and_always_the_same() -> None:
    made = [
        subprocess.run([sys.executable, IMAGES / "sbom.py"], check=True, capture_output=True).stdout for _ in "ab"
    ]
    assert made[0] == made[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made[0].decode()) is None
    names = {component["name"] for component in json.loads(made[0])["components"]}
    assert {"aboveboard", "lightgbm", "cryptography"} <= names
