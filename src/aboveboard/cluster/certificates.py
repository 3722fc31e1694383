"""A certificate for the webhook where there is no cert-manager: a root of its own, and a certificate under it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aboveboard.clock import Clock
from aboveboard.files import storage_errors, write_atomically

ROOT_DAYS = 3650
SERVER_DAYS = 365
RENEW_DAYS = 30
"""A certificate that ends sooner is made anew at the start."""


def ensure_self_signed(directory: Path, names: Sequence[str], *, clock: Clock) -> bytes:
    """Make `ca.crt`, `tls.crt` and `tls.key` in a directory unless they are there and last; return the root, in PEM.

    The root's private key is used once and never kept: a renewal makes a new root, which has to be told to the API
    server as the first one was.
    """
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _there(directory, names, clock()):
            return (directory / "ca.crt").read_bytes()
    root, server, key = make(names, at=clock())
    write_atomically(directory / "tls.key", key, mode=0o600)
    write_atomically(directory / "tls.crt", server)
    write_atomically(directory / "ca.crt", root)
    return root


def make(names: Sequence[str], *, at: datetime) -> tuple[bytes, bytes, bytes]:
    """Return root, server certificate and the server's private key, in PEM; ECDSA over P-256."""
    root_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aboveboard admission root")])
    begin = at - timedelta(minutes=5)
    root = (
        x509.CertificateBuilder()
        .subject_name(root_name)
        .issuer_name(root_name)
        .public_key(root_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(at + timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    server = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(root_name)
        .public_key(server_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(at + timedelta(days=SERVER_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    key = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return root.public_bytes(Encoding.PEM), server.public_bytes(Encoding.PEM), key


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def lasts(certificate: bytes, names: Sequence[str], now: datetime, renew: timedelta) -> bool:
    """Tell whether a certificate (PEM) covers some host names, and does so for longer than `renew`."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
        found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    covered = set(found.get_values_for_type(x509.DNSName))
    return set(names) <= covered and parsed.not_valid_before_utc <= now < parsed.not_valid_after_utc - renew


def _there(directory: Path, names: Sequence[str], now: datetime) -> bool:
    if not all((directory / name).is_file() for name in ("ca.crt", "tls.crt", "tls.key")):
        return False
    return lasts((directory / "tls.crt").read_bytes(), names, now, timedelta(days=RENEW_DAYS))
