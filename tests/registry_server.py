"""An OCI registry for tests: a small one with the referrers API, and Debian's docker-registry, which has none."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Small(ThreadingHTTPServer):
    """Blobs and manifests in memory, the referrers API included; credentials where they are set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.authorization: str | None = None


class _Handler(BaseHTTPRequestHandler):
    server: Small

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the parent has it
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        if server.authorization is not None and self.headers.get("Authorization") != server.authorization:
            self.answer(401, WWW_Authenticate='Basic realm="registry"')
            return
        path, _, query = self.path.partition("?")
        kind, _, name = re.sub(r"^/v2/models/releases/", "", path).partition("/")
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if self.command == "POST":
            self.answer(202, Location="/v2/models/releases/blobs/uploads/1")
        elif self.command == "PUT" and kind == "blobs":
            assert query == f"digest={digest}"
            server.blobs[digest] = body
            self.answer(201)
        elif self.command == "PUT":
            server.manifests[name] = body
            subject = json.loads(body).get("subject")
            self.answer(201, **({"OCI_Subject": subject["digest"]} if subject else {}))
        elif kind == "referrers":
            about = [
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": d, "size": len(m)}
                for d, m in server.manifests.items()
                if (json.loads(m).get("subject") or {}).get("digest") == name
            ]
            self.answer(200, json.dumps({"schemaVersion": 2, "manifests": about}).encode())
        else:
            content = (server.blobs if kind == "blobs" else server.manifests).get(name)
            self.answer(404) if content is None else self.answer(200, content)

    do_GET = do_HEAD = do_PUT = do_POST = handle_any  # noqa: N815  as the parent calls them


@contextlib.contextmanager
def small_registry() -> Iterator[tuple[str, Small]]:
    """Yield the repository and the registry itself."""
    with Small() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}/models/releases", server
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def docker_registry(root: Path) -> Iterator[str]:
    """Yield a repository of Debian's docker-registry; skip the test where it is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    config = root / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\nlog: {{level: error}}\n"
    )
    with subprocess.Popen([program, "serve", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
                    break
                time.sleep(0.05)
            yield f"127.0.0.1:{port}/models/releases"
        finally:
            process.terminate()
