"""TLS and mutual TLS, with certificates made for the test."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tritonclient.utils import InferenceServerException

from aboveboard.clock import system_clock
from aboveboard.errors import Misuse
from aboveboard.serving.options import ServerOptions
from aboveboard.settings import Home
from tests.integration.serving.process import Released, launch, running


def certificate(
    directory: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Write name.pem and name.key, signed by `issuer` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = system_clock()
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    (directory / f"{name}.pem").write_bytes(built.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / f"{name}.key").write_bytes(private)
    return built, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority = certificate(directory, "authority")
    for name in ("server", "client"):
        certificate(directory, name, authority)
    certificate(directory, "stranger")
    return directory


def context(certificates: Path, client: str | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=certificates / "authority.pem")
    if client is not None:
        made.load_cert_chain(certificates / f"{client}.pem", certificates / f"{client}.key")
    return made


def options(certificates: Path, **more: Any) -> dict[str, Any]:
    return {
        "certificate": str(certificates / "server.pem"),
        "certificate_key": str(certificates / "server.key"),
        **more,
    }


def test_speaks_tls_and_nothing_else(released: Released, home: Home, certificates: Path) -> None:
    with running(home, release=released.digests[0], **options(certificates)) as server:
        assert server.url.startswith("https://")
        with httpx.Client(base_url=server.url, verify=context(certificates), timeout=10) as client:
            assert client.post("/v1/decisions", json=released.clients[0]).status_code == 200
            assert client.get("/readyz").status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/livez", timeout=10)
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https", "http") + "/livez", timeout=10)


def test_clients_need_a_certificate_where_an_authority_is_named(
    released: Released, home: Home, certificates: Path
) -> None:
    mutual = options(certificates, client_authority=str(certificates / "authority.pem"))
    with running(home, release=released.digests[0], **mutual) as server:
        with httpx.Client(base_url=server.url, verify=context(certificates, "client"), timeout=10) as client:
            assert client.post("/v1/decisions", json=released.clients[0]).status_code == 200
        for stranger in (None, "stranger"):
            with (
                pytest.raises(httpx.TransportError),
                httpx.Client(base_url=server.url, verify=context(certificates, stranger), timeout=10) as client,
            ):
                client.get("/livez")


def test_grpc_asks_for_the_same_certificates(released: Released, home: Home, certificates: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mutual = options(certificates, client_authority=str(certificates / "authority.pem"), grpc_port=port)
    authority = str(certificates / "authority.pem")
    with running(home, release=released.digests[0], **mutual):
        known = tritonclient.grpc.InferenceServerClient(
            f"127.0.0.1:{port}",
            ssl=True,
            root_certificates=authority,
            private_key=str(certificates / "client.key"),
            certificate_chain=str(certificates / "client.pem"),
        )
        assert known.is_server_ready()
        known.close()
        for stranger in (
            tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}", ssl=True, root_certificates=authority),
            tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}"),
        ):
            with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
                stranger.is_server_ready()
            stranger.close()


def test_a_certificate_that_cannot_be_used_is_said_to_be_so(
    released: Released, home: Home, certificates: Path
) -> None:
    wrong = options(certificates, certificate_key=str(certificates / "client.key"))
    process = launch(home, release=released.digests[0], port=0, **wrong)
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("", 3)
    assert "belongs to it" in err


def test_halves_of_an_option_are_refused() -> None:
    with pytest.raises(Misuse):
        ServerOptions(release="x", certificate=Path("server.pem"))
    with pytest.raises(Misuse):
        ServerOptions(release="x", client_authority=Path("authority.pem"))
