"""What is served and what is asked: the example's release, and files with one request a line."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from aboveboard.audit import AuditLog
from aboveboard.clock import system_clock
from aboveboard.files import secret_bytes
from aboveboard.models import Model
from aboveboard.release import Keyring, ReleaseStore, Role
from aboveboard.serving.deployment import deploy
from aboveboard.settings import Home
from aboveboard.spec import load_spec
from aboveboard.training import run_pipeline
from bench.serving.open_loop import PLACEHOLDER

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-credit-default"
AUTHOR, APPROVERS = "author@bank.example", ("approver@bank.example", "validator@bank.example")
ORIGIN = "aboveboard.local/log"
REQUESTS = 4_000
"""Different requests, sent round and round."""
BATCH = 100
"""Decisions in one request of the batch form."""
DECISIONS = "/v1/decisions"
BATCHES = "/v1/decisions/batch"
PREDICTIONS = "/v2/models/credit-default/infer"


def released(root: Path) -> tuple[Home, str]:
    """Take the example the whole road and return where it is and the digest of its release."""
    home = Home(root)
    keys, now = Keyring(home.keys), system_clock()
    keys.ensure(AUTHOR, [Role.AUTHOR], at=now)
    for approver in APPROVERS:
        keys.ensure(approver, [Role.APPROVER, Role.VALIDATOR], at=now)
    store = ReleaseStore(home.releases, keys=keys, clock=system_clock)
    with AuditLog.open(home.audit, keys=home.keys, origin=ORIGIN, clock=system_clock, writer="bench") as log:
        run = run_pipeline(
            EXAMPLE / "model.yaml",
            home=home,
            log=log,
            token_key=secret_bytes(home.subject_key),
            actor=AUTHOR,
            clock=system_clock,
            trials=0,
        )
    release = store.create(run.directory, author=AUTHOR)
    for approver in APPROVERS:
        store.approve(release.digest, approver=approver)
    return home, release.digest


def model_of(home: Home, digest: str) -> Model:
    """Return the model of a release, to know what the server will answer."""
    store = ReleaseStore(home.releases, keys=Keyring(home.keys), clock=system_clock)
    return deploy(digest, store.verify(digest).files).model


def requests(directory: Path) -> dict[str, Path]:
    """Write one request a line for each path, and return where they are."""
    decisions, predictions = directory / "decisions.txt", directory / "predictions.txt"
    rows = [(number, features, cohort) for number, (features, cohort) in enumerate(_people())]
    _write(decisions, [_decision(f"client-{number}", features, cohort) for number, features, cohort in rows])
    _write(predictions, [{"inputs": _tensors(features)} for _, features, _ in rows])
    return {DECISIONS: decisions, PREDICTIONS: predictions}


def variants(directory: Path, model: Model) -> dict[str, Path]:
    """Write requests that differ from those of `requests` in one thing each, and return where they are by name."""
    written: dict[str, list[dict[str, object]]] = defaultdict(list)
    for number, (features, cohort) in enumerate(_people()):
        decision = _decision(f"client-{number}", features, cohort)
        score = model.score(model.encoding.encode(features)[None, :])[0]
        written["favourable" if score >= model.approve_at else "adverse"].append(decision)
        written["new"].append({**decision, "subject": f"client-{PLACEHOLDER.decode()}"})
        written["keyed"].append({**decision, "idempotency_key": f"application-{PLACEHOLDER.decode()}"})
        written["explained"].append({"inputs": _tensors(features), "parameters": {"reasons": True}})
        if number % BATCH == 0:
            batch: list[object] = []
            written["batches"].append({"requests": batch})
        batch.append(decision)
    for name, documents in written.items():
        _write(directory / f"{name}.txt", documents)
    return {name: directory / f"{name}.txt" for name in written}


def clients_file(path: Path) -> str:
    """Write a `clients.json` with one client who may ask for decisions, and return its API key."""
    key = "abk_the-key-of-the-benchmark"
    digest = hashlib.sha256(key.encode()).hexdigest()
    path.write_text(json.dumps({"clients": [{"name": "bench", "key_sha256": digest, "roles": ["decide"]}]}))
    path.chmod(0o600)
    return key


def certificate(directory: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine, signed by itself (ECDSA P-256), and return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = system_clock()
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = directory / "server.pem", directory / "server.key"
    paths[0].write_bytes(built.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def _people() -> list[tuple[dict[str, int], dict[str, int]]]:
    spec = load_spec(EXAMPLE / "model.yaml").spec
    frame = pl.read_parquet(EXAMPLE / spec.data.source.path).head(REQUESTS)
    return [
        (
            {feature.name: row[feature.name] for feature in spec.features},
            {attribute.name: row[attribute.column] for attribute in spec.protected},
        )
        for row in frame.to_dicts()
    ]


def _decision(subject: str, features: dict[str, int], cohort: dict[str, int]) -> dict[str, object]:
    return {"subject": subject, "locale": "en", "features": features, "cohort": cohort}


def _tensors(features: dict[str, int]) -> list[dict[str, object]]:
    return [{"name": n, "shape": [1], "datatype": "INT64", "data": [value]} for n, value in features.items()]


def _write(path: Path, documents: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(document, separators=(",", ":")) + "\n" for document in documents))
