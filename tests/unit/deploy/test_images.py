"""The Dockerfile: pinned, not root, in stages; and the bill of materials it puts in."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement

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
IMAGE_PACKAGES = set(
    re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "image.txt").read_text(encoding="utf-8"), re.MULTILINE)
)
IMAGE_EXTRAS = {"aws", "cluster", "grpc", "kafka", "oidc", "otel", "postgres", "vault"}


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
    assert runtime.index(f"USER {USER}:{USER}") > max(i for i, line in enumerate(runtime) if line.startswith("COPY"))
    below = STAGES[runtime[0].split()[1]]
    assert below[0].startswith("FROM ${PYTHON_IMAGE}")
    assert not {"gcc", "binutils", "python3-dev"} & set(" ".join([*below, *runtime]).split())
    assert any(HOME in line for line in runtime if line.startswith("ENV"))
    assert 'ENTRYPOINT ["aboveboard"]' in runtime
    assert not any(line.startswith("ADD") for line in LINES)


def test_dependencies_are_installed_by_their_hashes() -> None:
    [install] = [line for line in STAGES["build"] if "-r requirements/image.txt" in line]
    assert "--require-hashes" in install
    assert "--only-binary=:all:" in install
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


def test_the_linters_have_nothing_to_say() -> None:
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    programs = {name: shutil.which(name, path=place) for name in ("hadolint", "shellcheck")}
    if not any(programs.values()):
        pytest.skip("neither hadolint nor shellcheck is installed")
    for name, files in {"hadolint": ["Dockerfile"], "shellcheck": [f.name for f in IMAGES.glob("*.sh")]}.items():
        if program := programs[name]:
            finished = subprocess.run([program, *files], cwd=IMAGES, capture_output=True, text=True, check=False)
            assert (finished.returncode, finished.stdout) == (0, ""), finished.stdout


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


def required(package: str, extras: set[str]) -> set[str]:
    """Return what an installed package requires here, by normal names."""
    wanted = [Requirement(text) for text in importlib.metadata.requires(package) or ()]
    return {
        re.sub(r"[-_.]+", "-", each.name).lower()
        for each in wanted
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    }


def test_an_image_without_training_leaves_out_what_only_training_needs() -> None:
    text = (IMAGES / "finish.sh").read_text(encoding="utf-8")
    [left_out] = re.findall(r'^training="([^"]+)"$', text, re.MULTILINE)
    training = {"polars", "polars-runtime-32", "scikit-learn", "scipy", "optuna"}
    needed: set[str] = set()
    todo = ["aboveboard"]
    while todo:
        package = todo.pop()
        if package in needed | training:
            continue
        needed.add(package)
        extras = {"aboveboard": IMAGE_EXTRAS, "psycopg": {"binary"}}.get(package, set())
        todo += required(package, extras)
    alone = {package for each in training for package in required(each, set())} - needed - training
    only = training | {package for package in alone | {"cloudpickle"} if package in IMAGE_PACKAGES}
    assert set(left_out.split()) == only - {"colorama"}  # asked for on Windows only


def test_an_image_without_training_serves_verifies_operates_and_admits() -> None:
    program = """
import sys
sys.modules.update(dict.fromkeys(("polars", "scipy", "sklearn", "optuna", "joblib", "lightgbm")))
import aboveboard.cluster.admission, aboveboard.cluster.operator, aboveboard.cluster.webhook, aboveboard.streaming
import aboveboard.policy, aboveboard.release, aboveboard.serving.server, aboveboard.serving.grpc
from aboveboard.cli import admission, audit, deploy, events, operator, release, render, serve, subject, witness
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_bill_of_materials_is_valid_and_always_the_same() -> None:
    made = [
        subprocess.run([sys.executable, IMAGES / "sbom.py"], check=True, capture_output=True).stdout for _ in "ab"
    ]
    assert made[0] == made[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made[0].decode()) is None
    document = json.loads(made[0])
    components = {component["name"]: component for component in document["components"]}
    assert {"aboveboard", "lightgbm", "cryptography"} <= components.keys()
    assert document["metadata"]["component"]["version"] == components["aboveboard"]["version"]
    # What a wheel says that it has compiled in.
    assert "openssl" in {each["name"] for each in components["cryptography"]["components"]}
    for purl in re.findall(r'"purl": "([^"]+)"', made[0].decode()):
        assert PackageURL.from_string(purl).to_string().replace("%3A", ":") == purl


DPKG = """\
Package: libstdc++6
Status: install ok installed
Architecture: amd64
Source: gcc-14 (14.2.0-19)
Version: 14.2.0-19+b1
Description: GNU Standard C++ Library v3
 Version: 1 of this text is no field.

Package: login
Status: install ok installed
Architecture: amd64
Version: 1:4.16.0-2

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""


def test_debian_packages_are_named_with_their_source(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(DPKG)
    debian_components = runpy.run_path(str(IMAGES / "sbom.py"))["debian_components"]
    assert [each["purl"] for each in debian_components(tmp_path / "status", "debian-13")] == [
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19%2Bb1?arch=amd64&distro=debian-13&upstream=gcc-14%4014.2.0-19",
        "pkg:deb/debian/login@1:4.16.0-2?arch=amd64&distro=debian-13&upstream=login",
    ]
    assert list(debian_components(tmp_path / "absent", "debian-13")) == []


def test_python_itself_is_named_where_no_package_of_debian_has_it() -> None:
    interpreter = runpy.run_path(str(IMAGES / "sbom.py"))["interpreter"]
    assert list(interpreter(Path("/usr"))) == []
    [python] = interpreter(Path("/usr/local"))
    assert python["cpe"].startswith(f"cpe:2.3:a:python:python:{platform.python_version()}:")
