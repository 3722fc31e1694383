"""The image, built and run: as nobody, on a read-only root, through the trial's first start to a decision."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from aboveboard.cluster.pod import HOME, USER
from tests.chart_cases import CHART, render, value_sets
from tests.oci_image import Container, Image, built_image
from tests.registry_server import docker_registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
KEY = "abk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


@pytest.fixture(scope="module")
def image() -> Image:
    return built_image()


@pytest.fixture(scope="module")
def container(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Container:
    root, home = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("home")
    image.unpack(root)
    os.chown(home, USER, USER)
    return Container(image, root, home)


@pytest.fixture(scope="module")
def trains(container: Container) -> bool:
    """Whether the image has what training needs."""
    return any(container.root.glob("opt/venv/lib/python3*/site-packages/polars"))


@pytest.fixture(scope="module")
def installed(container: Container) -> dict[str, dict[str, Any]]:
    """The components of the bill of materials in the image, by their purl without qualifiers."""
    document = json.loads((container.root / "usr/share/aboveboard/sbom.cdx.json").read_text())
    return {each.get("purl", each["bom-ref"]).partition("?")[0]: each for each in document["components"]}


def files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            yield path, path.lstat()


def test_it_starts_as_nobody_and_carries_no_secret(image: Image) -> None:
    config = image.config["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["aboveboard"]
    names = {line.partition("=")[0] for line in config["Env"]}
    assert names == {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "ABOVEBOARD_HOME"}
    assert config["Labels"]["org.opencontainers.image.base.name"]
    history = " ".join(step.get("created_by", "") for step in image.config["history"])
    assert not re.search(r"//[^/ ]*@|password|token", history, re.IGNORECASE)


def test_a_new_release_of_ours_is_a_small_layer(image: Image) -> None:
    sizes = [layer["size"] for layer in image.manifest["layers"]]
    assert sum(sizes) < 280e6
    # The last two are Aboveboard itself and the bill of materials; what is below stays on the nodes.
    assert sum(sizes[-2:]) < 6e6


def test_nothing_in_it_can_be_changed_or_raises_privileges(container: Container) -> None:
    assert not [path for path, info in files(container.root) if info.st_mode & (stat.S_ISUID | stat.S_ISGID)]
    open_to_all = [
        path
        for path, info in files(container.root)
        if stat.S_ISREG(info.st_mode) and (info.st_mode & stat.S_IWOTH or USER in (info.st_uid, info.st_gid))
    ]
    assert not open_to_all
    finished = container.run(
        "python", "-c", "open('/opt/venv/x', 'w')"
    )  # an owner could not either: the file system is read-only
    assert "Read-only file system" in finished.stderr or "Permission denied" in finished.stderr
    assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1"} <= set(
        container.run("cat", "/proc/self/status").stdout.splitlines()
    )


def test_it_has_no_compiler_and_no_installer(container: Container) -> None:
    for program in ("gcc", "cc", "make", "pip", "pip3", "curl", "wget"):
        assert not list(container.root.glob(f"usr/bin/{program}")) + list(
            container.root.glob(f"opt/venv/bin/{program}")
        )
    assert not list(container.root.glob("opt/venv/lib/python3*/site-packages/setuptools"))


def test_every_library_finds_what_it_is_linked_against(container: Container) -> None:
    program = """
import ctypes, os, sysconfig
for folder, _, names in os.walk(sysconfig.get_path("purelib")):
    for name in names:
        if ".so" in name:
            try:
                ctypes.CDLL(os.path.join(folder, name), mode=os.RTLD_LAZY)
            except OSError as error:
                print(error)
"""
    finished = container.run("python", "-c", program)
    assert (finished.returncode, finished.stdout) == (0, ""), finished.stderr


def test_everything_is_compiled_already(container: Container) -> None:
    [site] = container.root.glob("opt/venv/lib/python3*/site-packages")
    version = site.parent.name.removeprefix("python").replace(".", "")
    for package in ("aboveboard", "msgspec", "numpy", "sqlalchemy", "uvicorn"):
        for source in (site / package).rglob("*.py"):
            assert (source.parent / "__pycache__" / f"{source.stem}.cpython-{version}.pyc").exists(), source
    program = "import sys, asyncio; print(asyncio.__cached__, asyncio.__spec__.loader.path)"
    [cached, _] = container.run("python", "-c", program).stdout.split()
    assert (container.root / cached.lstrip("/")).exists()


def test_its_bill_of_materials_is_valid_and_complete(
    container: Container, installed: dict[str, dict[str, Any]]
) -> None:
    text = (container.root / "usr/share/aboveboard/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    references = re.findall(r'"bom-ref": "([^"]+)"', text)
    assert len(references) == len(set(references))
    for purl in re.findall(r'"purl": "([^"]+)"', text):
        assert PackageURL.from_string(purl).to_string().replace("%3A", ":") == purl.replace("%3A", ":")

    # What dpkg unpacked has a list of its files, named apart from the record that the bill is made of.
    debian = {
        f"pkg:deb/debian/{path.stem.partition(':')[0].replace('+', '%2B')}"
        for path in container.root.glob("var/lib/dpkg/info/*.list")
    }
    assert debian == {purl.partition("@")[0] for purl in installed if purl.startswith("pkg:deb/")}
    assert {"pkg:deb/debian/libgomp1", "pkg:deb/debian/libc6"} <= debian
    python = {
        re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower()
        for path in container.root.glob("opt/venv/lib/python3*/site-packages/*.dist-info")
    }
    assert {f"pkg:pypi/{name}" for name in python} == {
        purl.partition("@")[0] for purl in installed if purl.startswith("pkg:pypi/")
    }


def test_the_bill_names_what_wheels_bring_along(installed: dict[str, dict[str, Any]]) -> None:
    [rego] = [each for purl, each in installed.items() if purl.startswith("pkg:pypi/regopy@")]
    assert {each["name"] for each in rego["components"]} == {"openssl-libs"}
    [cryptography] = [each for purl, each in installed.items() if purl.startswith("pkg:pypi/cryptography@")]
    assert "openssl" in {each["name"] for each in cryptography["components"]}


def test_help_is_there_at_once(container: Container) -> None:
    finished = container.run("aboveboard", "--help")
    assert finished.returncode == 0, finished.stderr
    assert "serve" in finished.stdout


def test_without_training_it_says_so(container: Container, trains: bool) -> None:
    if trains:
        pytest.skip("this image trains")
    finished = container.run("aboveboard", "run", "model.yaml")
    assert finished.returncode == 64
    assert "without training" in finished.stderr


def trial_pod() -> dict[str, Any]:
    [workload] = [document for document in render(value_sets()["trial"]) if document["kind"] == "StatefulSet"]
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


@pytest.fixture(scope="module")
def trial(container: Container, trains: bool) -> Container:
    """The home after the first start of the chart's trial: by its own command, or, without training, by ours."""
    [road] = trial_pod()["initContainers"]
    if trains:
        finished = container.run(*road["command"])
    else:
        program = [sys.executable, "-m", "aboveboard", "--home", str(container.home), "demo", "--fast", "--no-serve"]
        finished = subprocess.run(program, capture_output=True, text=True, check=False)
        for folder, folders, names in os.walk(container.home):
            for name in [*folders, *names]:
                os.chown(Path(folder, name), USER, USER)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return container


def test_the_trial_starts_and_decides(trial: Container) -> None:
    [server] = trial_pod()["containers"]
    clients = {"name": "trial", "key_sha256": hashlib.sha256(KEY.encode()).hexdigest(), "roles": ["decide", "read"]}
    file = trial.home / "clients.json"
    file.write_text(json.dumps({"clients": [clients]}))
    os.chown(file, USER, USER)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ours = {"--host": "127.0.0.1", "--port": port, "--clients": f"{HOME}/clients.json"}
    arguments = [server["args"][0], *(f"{name}={value}" for name, value in ours.items())]
    assert {each.partition("=")[0] for each in server["args"][1:]} == ours.keys()
    settings = {each["name"]: each["value"] for each in server["env"]}
    command = trial.command([*server["command"], *arguments], **settings)
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{url}/readyz", timeout=2).close()  # noqa: S310
                    break
                except OSError:
                    assert process.poll() is None, process.stdout and process.stdout.read()
                    time.sleep(0.1)
            first = subprocess.run(
                [sys.executable, CHART / "files" / "first-decision.py"],
                env={"ABOVEBOARD_URL": url, "API_KEY": KEY},
                capture_output=True,
                text=True,
                check=False,
            )
            assert first.returncode == 0, first.stderr
            assert "decided:" in first.stdout
            # By which the Falco rules know our programs: the interpreter's file, below the image's root.
            programs = [Path(f"/proc/{pid}/exe").readlink() for pid in descendants(process.pid)]
            running = {str(each.relative_to(trial.root)) for each in programs if each.is_relative_to(trial.root)}
            assert running
            assert all(re.match(r"usr/(local/)?bin/python3", program) for program in running)
        finally:
            # The server is the first process of its namespace; unshare, above it, only waits.
            for pid in descendants(process.pid)[:1]:
                os.kill(pid, signal.SIGTERM)
        assert process.wait(timeout=60) in (0, 128 + signal.SIGTERM)


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, below) for each in (child, *descendants(child))]


def test_a_registry_gives_back_what_was_pushed(image: Image, tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    with docker_registry(tmp_path) as repository:
        place = f"docker://{repository.partition('/')[0]}/platform/aboveboard"
        copy = ["skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests"]
        layout = f"oci:{image.layout}:latest"
        subprocess.run([*copy, "--dest-tls-verify=false", layout, f"{place}:test"], check=True)
        named = f"{place}@{image.descriptor['digest']}"
        back = tmp_path / "back"
        subprocess.run([*copy, "--src-tls-verify=false", named, f"oci:{back}:latest"], check=True)
    assert Image(back).descriptor["digest"] == image.descriptor["digest"]
    assert Image(back).config == image.config


def test_built_again_it_is_the_same(image: Image) -> None:
    again = os.environ.get("ABOVEBOARD_IMAGE_AGAIN")
    if again is None:
        pytest.skip("ABOVEBOARD_IMAGE_AGAIN names no second build")
    assert Image(Path(again)).manifest["layers"] == image.manifest["layers"]
    assert Image(Path(again)).descriptor["digest"] == image.descriptor["digest"]
