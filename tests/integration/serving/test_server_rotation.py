"""Keys and certificates that change while a real server answers: the new works, the old stops, nothing drops."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from aboveboard.serving.access import new_key
from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, running
from tests.integration.serving.test_server_tls import certificate


class Mount:
    """A Secret as the kubelet mounts and updates it: `..data` is swapped in one rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._generation = 0

    def update(self, **files: str) -> None:
        self._generation += 1
        inner = self.folder / f"..{self._generation}"
        inner.mkdir(parents=True)
        for name, text in files.items():
            path = inner / name.replace("_", ".")
            path.write_text(text, encoding="utf-8")
            path.chmod(0o440)
        (self.folder / "..tmp").symlink_to(inner.name)
        (self.folder / "..tmp").rename(self.folder / "..data")
        for name in files:
            link = self.folder / name.replace("_", ".")
            if not link.is_symlink():
                link.symlink_to(f"..data/{link.name}")


def clients(**digests: str) -> str:
    entries = [{"name": name, "key_sha256": digest, "roles": ["decide"]} for name, digest in digests.items()]
    return json.dumps({"clients": entries})


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(server: Server, request: object, key: str) -> int:
    with server.client(authorization=f"Bearer {key}") as client:
        return client.post("/v1/decisions", json=request).status_code


@pytest.mark.parametrize("workers", [1, 2])
def test_api_keys_are_rotated_while_requests_run(
    released: Released, home: Home, tmp_path: Path, workers: int
) -> None:
    (old, old_digest), (new, new_digest), (kept, kept_digest) = new_key(), new_key(), new_key()
    mount = Mount(tmp_path / "clients")
    mount.update(clients_json=clients(front=old_digest, steady=kept_digest))
    path = mount.folder / "clients.json"
    answered: list[int] = []
    stop = threading.Event()

    with running(home, release=released.digests[0], clients=str(path), workers=workers) as server:

        def work() -> None:
            with server.client(authorization=f"Bearer {kept}") as client:
                while not stop.is_set():
                    answered.append(client.post("/v1/decisions", json=released.clients[0]).status_code)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            assert status(server, released.clients[0], old) == 200
            assert status(server, released.clients[0], new) == 401
            mount.update(clients_json=clients(front=new_digest, steady=kept_digest))
            # Every worker looks for itself: several answers in a row, each over a connection of its own.
            until(lambda: all(status(server, released.clients[0], new) == 200 for _ in range(8)))
            until(lambda: all(status(server, released.clients[0], old) == 401 for _ in range(8)))
            mount.update(clients_json="{ this is half of a file")
            time.sleep(1.5)
            assert status(server, released.clients[0], new) == 200
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert len(answered) > 10
    assert set(answered) == {200}


def test_the_certificate_is_rotated_while_connections_are_open(
    released: Released, home: Home, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    (made / "one").mkdir(parents=True)
    (made / "two").mkdir()
    served = tmp_path / "served"
    served.mkdir()
    contexts = {}
    for name in ("one", "two"):
        authority = certificate(made / name, "authority")
        certificate(made / name, "server", authority)
        contexts[name] = made / name / "authority.pem"

    def put(name: str, *files: str) -> None:
        for file in files:
            shutil.copy(made / name / file, served / "scratch")
            (served / "scratch").rename(served / file)

    def believed(name: str) -> bool:
        context = ssl.create_default_context(cafile=contexts[name])
        try:
            return httpx.get(f"{server.url}/livez", verify=context, timeout=10).status_code == 200
        except httpx.ConnectError:
            return False

    put("one", "server.pem", "server.key")
    options = {"certificate": str(served / "server.pem"), "certificate_key": str(served / "server.key")}
    with running(home, release=released.digests[0], **options) as server:
        context = ssl.create_default_context(cafile=contexts["one"])
        with httpx.Client(base_url=server.url, verify=context, timeout=10) as staying:
            assert staying.post("/v1/decisions", json=released.clients[0]).status_code == 200
            # Half of a renewal is not served, and breaks nothing.
            put("two", "server.pem")
            time.sleep(1.5)
            assert believed("one")
            put("two", "server.key")
            until(lambda: believed("two"))
            assert not believed("one")
            assert staying.post("/v1/decisions", json=released.clients[0]).status_code == 200
