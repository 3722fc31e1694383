"""Containers of rendered pods, run on this machine as a kubelet runs them: bubblewrap in place of a runtime.

The command line, the environment, the mount points, the user, the read-only root and the lack of capabilities are the
pod's. What is not its own is the network, so ports are others here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@dataclass
class Pod:
    """A pod with one container that can be killed and started again, its volumes staying what they are."""

    spec: dict[str, Any]
    volumes: dict[str, Path]
    shared: Sequence[Path]
    log: Path
    ports: dict[int, int] = field(default_factory=dict)
    """By port of the container, the one on this machine."""
    process: subprocess.Popen[bytes] | None = None
    pid: int = 0

    @property
    def container(self) -> dict[str, Any]:
        [container] = self.spec["containers"]
        found: dict[str, Any] = container
        return found

    def start(self) -> None:
        """Start the container, again if need be."""
        for port in self.container.get("ports", []):
            self.ports[port["containerPort"]] = free_port()
        read, write = os.pipe()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                ["bwrap", "--info-fd", str(write), *self._sandbox(), "--", *self._user(), *self._command()],
                stdout=output,
                stderr=output,
                pass_fds=[write],
            )
        os.close(write)
        with os.fdopen(read) as told:
            text = told.read()
        assert text, self.log.read_text()
        self.pid = json.loads(text)["child-pid"]

    def well(self, probe: str) -> bool:
        """Ask as the kubelet does: `livenessProbe`, `readinessProbe`, `startupProbe`."""
        asked = self.container[probe]["httpGet"]
        [port] = [port["containerPort"] for port in self.container["ports"] if port["name"] == asked["port"]]
        return self.get(asked["path"], port) is not None

    def get(self, path: str, port: int) -> str | None:
        """Return what an answer of 200 says, if that is the answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return None

    def wait_until_ready(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not self.well("readinessProbe"):
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the container as the kernel does one that is out of memory."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(30)

    def stop(self) -> int:
        """End the container as the kubelet does, within the pod's grace period; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(self.spec["terminationGracePeriodSeconds"])

    def peak_memory(self) -> int:
        """Return the most memory that the container's process held, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(kilobytes) * 1024

    def _command(self) -> list[str]:
        words = [*self.container["command"], *self.container.get("args", [])]
        for port, here in self.ports.items():
            words = [re.sub(rf"^(--[a-z-]*port=){port}$", rf"\g<1>{here}", word) for word in words]
        return words

    def _user(self) -> list[str]:
        security = self.spec["securityContext"]
        assert self.container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        if os.geteuid() != 0:
            return []
        return [
            "setpriv",
            f"--reuid={security['runAsUser']}",
            f"--regid={security['runAsGroup']}",
            f"--groups={security['fsGroup']}",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--no-new-privs",
        ]

    def _sandbox(self) -> list[str]:
        """Say what the container sees: its image (programs, Python, ourselves), its volumes, and nothing else."""
        security = self.spec["securityContext"]
        words = ["--die-with-parent", "--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--clearenv"]
        if os.geteuid() != 0:
            words += ["--unshare-user", "--uid", str(security["runAsUser"]), "--gid", str(security["runAsGroup"])]
        words += ["--tmpfs", "/"]
        own = [place for place in (sys.base_prefix, sys.prefix, str(ROOT / "src")) if not place.startswith("/usr/")]
        places = [*own, *(mount["mountPath"] for mount in self.container["volumeMounts"])]
        words += _directories(places)
        for path in SYSTEM:
            if Path(path).is_symlink():
                words += ["--symlink", str(Path(path).readlink()), path]
            elif Path(path).is_dir():
                words += ["--ro-bind", path, path]
        words += ["--proc", "/proc", "--dev", "/dev"]
        for mount in self.container["volumeMounts"]:
            how = "--ro-bind" if mount.get("readOnly") else "--bind"
            words += [how, str(self.volumes[mount["name"]]), mount["mountPath"]]
        # Ourselves last: a checkout may be below what is a volume in the pod, such as /tmp.
        volumes = {mount["mountPath"] for mount in self.container["volumeMounts"]}
        words += _directories([place for place in own if volumes & {str(parent) for parent in Path(place).parents}])
        for place in dict.fromkeys(own):
            words += ["--ro-bind", place, place]
        for shared in self.shared:
            words += ["--bind", str(shared), str(shared)]
        assert self.container["securityContext"]["readOnlyRootFilesystem"] is True
        words += ["--remount-ro", "/", "--setenv", "PATH", f"{sys.prefix}/bin:/usr/bin:/bin"]
        for variable in self.container.get("env", []):
            words += ["--setenv", variable["name"], variable["value"]]
        return words


def _directories(places: Iterable[str]) -> list[str]:
    """Return what makes the directories above `places`, for everybody to enter."""
    above = sorted({str(parent) for place in places for parent in Path(place).parents if parent.name})
    return [word for directory in above for word in ("--perms", "0755", "--dir", directory)]


@contextmanager
def pods(
    workload: dict[str, Any],
    secrets: Mapping[str, Mapping[str, bytes]],
    directory: Path,
    *,
    shared: Sequence[Path] = (),
) -> Iterator[list[Pod]]:
    """Yield the pods of a Deployment, not started; what is running at the end of the block is killed.

    `shared` are directories that stand for the network: sockets of servers. Skips the test where there is no
    bubblewrap, or it may not make namespaces.
    """
    if shutil.which("bwrap") is None:
        pytest.skip("bwrap is not installed (Debian: bubblewrap)")
    if subprocess.run(["bwrap", "--unshare-pid", "--ro-bind", "/", "/", "true"], capture_output=True).returncode:
        pytest.skip("bwrap may not make namespaces here")
    spec = workload["spec"]["template"]["spec"]
    made = []
    for number in range(workload["spec"]["replicas"]):
        home = directory / f"{workload['metadata']['name']}-{number}"
        home.mkdir()
        volumes = {volume["name"]: _volume(volume, spec, secrets, home) for volume in spec["volumes"]}
        made.append(Pod(spec, volumes, shared, home / "container.log"))
    try:
        yield made
    finally:
        for pod in made:
            if pod.process is not None and pod.process.poll() is None:
                pod.kill()


def _volume(
    volume: dict[str, Any], spec: dict[str, Any], secrets: Mapping[str, Mapping[str, bytes]], home: Path
) -> Path:
    """Make a volume's directory. Files of a Secret belong to root and are read by the pod's group."""
    place: Path = home / volume["name"]
    group = spec["securityContext"]["fsGroup"]
    place.mkdir()
    if "emptyDir" in volume:
        place.chmod(0o777)
        return place
    wanted = volume["secret"]
    content = secrets[wanted["secretName"]]
    items = wanted.get("items") or [{"key": key, "path": key} for key in content]
    for item in items:
        path = place / item["path"]
        path.write_bytes(content[item["key"]])
        if os.geteuid() == 0:
            os.chown(path, 0, group)
            path.chmod(wanted["defaultMode"])
        else:
            path.chmod(0o400)
    return place
