"""The webhook over TLS, as the API server meets it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from aboveboard.cluster.certificates import ensure_self_signed
from aboveboard.cluster.metrics import AdmissionMetrics
from aboveboard.cluster.packs import PackBook
from aboveboard.cluster.webhook import LARGEST_REVIEW, Webhook, WebhookOptions
from aboveboard.errors import Misuse
from tests.unit.cluster.test_admission import Case, review

NAMES = ["localhost", "admission.aboveboard-system.svc"]


@contextlib.contextmanager
def webhook(gatekeeper: Any, directory: Path, **how: Any) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        options = WebhookOptions(
            directory / "tls.crt", directory / "tls.key", host="127.0.0.1", port=port, reload_seconds=0.05
        )
        server = Webhook(gatekeeper, options, **how)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


def client(root: bytes) -> httpx.Client:
    return httpx.Client(verify=ssl.create_default_context(cadata=root.decode()), trust_env=False)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, bytes]:
    directory = tmp_path / "tls"
    return directory, ensure_self_signed(directory, NAMES, clock=lambda: datetime.now(UTC))


def test_admits_and_refuses_over_tls(tmp_path: Path, tls: tuple[Path, bytes]) -> None:
    case = Case(tmp_path)
    directory, root = tls
    with webhook(case.gate, directory) as port, client(root) as session:
        url = f"https://localhost:{port}"
        good = session.post(f"{url}/validate", json=review(case.service())).json()
        assert good == {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {"uid": "u-1", "allowed": True},
        }
        bad = session.post(f"{url}/validate", json=review(case.service(jurisdictions=["uk"]))).json()["response"]
        assert bad["allowed"] is False
        assert "jurisdiction-judged" in bad["status"]["message"]
        assert session.get(f"{url}/readyz").status_code == 200
        assert session.post(f"{url}/validate", content=b"nonsense").status_code == 400
        assert session.post(f"{url}/validate", content=b" " * (LARGEST_REVIEW + 1)).status_code == 413


def test_is_ready_once_it_knows_the_packs(tmp_path: Path, tls: tuple[Path, bytes]) -> None:
    book = PackBook("aboveboard-system", time.monotonic)
    found = threading.Event()

    async def follow() -> None:
        while not found.is_set():
            await asyncio.sleep(0.01)
        book.replace([])

    case = Case(tmp_path, select=book.select)
    directory, root = tls
    with webhook(case.gate, directory, beside=[follow], ready=book.readable) as port, client(root) as session:
        url = f"https://localhost:{port}"
        assert session.get(f"{url}/readyz").status_code == 503
        assert session.get(f"{url}/livez").status_code == 200
        assert not session.post(f"{url}/validate", json=review(case.service())).json()["response"]["allowed"]
        found.set()
        while session.get(f"{url}/readyz").status_code != 200:
            time.sleep(0.01)
        assert session.post(f"{url}/validate", json=review(case.service())).json()["response"]["allowed"]


def test_counts_what_it_answers(tmp_path: Path, tls: tuple[Path, bytes]) -> None:
    metrics = AdmissionMetrics()
    case = Case(tmp_path)
    directory, root = tls
    gatekeeper = replace(case.gate, judged=metrics.judged)
    with webhook(gatekeeper, directory, metrics=metrics) as port, client(root) as session:
        url = f"https://localhost:{port}"
        session.post(f"{url}/validate", json=review(case.service()))
        session.post(f"{url}/validate", json=review(case.service(jurisdictions=["uk"])))
        text = session.get(f"{url}/metrics").text
    found = {family.name: family for family in text_string_to_metric_families(text)}
    requests = {
        (s.labels["verdict"], s.labels["rule"]): s.value for s in found["aboveboard_admission_requests"].samples
    }
    assert requests[("admitted", "")] == 1
    assert requests[("refused", "jurisdiction-judged")] == 1
    assert any(
        s.value == 2 for s in found["aboveboard_admission_duration_seconds"].samples if s.name.endswith("_count")
    )
    (expiry,) = found["aboveboard_admission_certificate_expiry_timestamp_seconds"].samples
    ends = x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes()).not_valid_after_utc
    assert expiry.value == ends.timestamp()


def test_fails_closed_when_it_breaks(tmp_path: Path, tls: tuple[Path, bytes]) -> None:
    """An answer that is not 200 is a refusal under failurePolicy Fail, and says nothing about the inside."""

    class Broken:
        def answer(self, body: bytes) -> dict[str, Any]:
            raise ZeroDivisionError("secret detail")

    directory, root = tls
    with webhook(Broken(), directory) as port, client(root) as session:
        answer = session.post(f"https://localhost:{port}/validate", content=b"{}")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path, tls: tuple[Path, bytes]) -> None:
    case = Case(tmp_path)
    directory, root = tls
    with webhook(case.gate, directory) as port:
        shutil.rmtree(directory)
        renewed = ensure_self_signed(directory, NAMES, clock=lambda: datetime.now(UTC))
        assert renewed != root
        for _ in range(100):
            with contextlib.suppress(httpx.ConnectError), client(renewed) as session:
                assert session.get(f"https://localhost:{port}/livez").status_code == 200
                break
            time.sleep(0.05)
        else:
            pytest.fail("the renewed certificate was never served")
        with client(root) as session, pytest.raises(httpx.ConnectError):
            session.get(f"https://localhost:{port}/livez")


def test_certificates_are_made_once_and_renewed_in_time(tmp_path: Path) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    first = ensure_self_signed(tmp_path, NAMES, clock=lambda: now)
    assert ensure_self_signed(tmp_path, NAMES, clock=lambda: now) == first
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600
    assert ensure_self_signed(tmp_path, [*NAMES, "another"], clock=lambda: now) != first
    second = (tmp_path / "ca.crt").read_bytes()
    assert ensure_self_signed(tmp_path, NAMES, clock=lambda: now.replace(year=2027)) != second
    (tmp_path / "tls.crt").write_text("nonsense")
    ensure_self_signed(tmp_path, NAMES, clock=lambda: now)
    assert (tmp_path / "tls.crt").read_bytes().startswith(b"-----BEGIN")


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="no such file"):
        Webhook(None, WebhookOptions(tmp_path / "a", tmp_path / "b"))  # type: ignore[arg-type]
