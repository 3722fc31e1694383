"""A release that was taken back, for a server that is running and for one that starts."""

from __future__ import annotations

import subprocess
import sys

from aboveboard.clock import system_clock
from aboveboard.release import Keyring, ReleaseStore
from aboveboard.settings import Home
from tests.integration.serving.process import Released, running

APPROVER = "approver@bank.example"


def test_no_way_leads_back_to_a_release_that_was_withdrawn(released: Released, home: Home) -> None:
    first, second = released.digests
    store = ReleaseStore(home.releases, keys=Keyring(home.keys), clock=system_clock)
    with running(home, release=first) as server, server.client() as client:
        answers = (client.post("/v1/decisions", json=request).json() for request in released.clients)
        decided = next(answer for answer in answers if answer["outcome"] == "decline")
        put = client.put("/v1/tracks", json={"tracks": {"champion": second}, "reason": "income was mis-coded"})
        assert put.status_code == 200, put.text
        store.withdraw(first, withdrawer=APPROVER, reason="income was mis-coded")
        for refused in (
            client.post("/v1/tracks/rollback", json={"reason": "by habit"}),
            client.put("/v1/tracks", json={"tracks": {"champion": first}, "reason": "by habit"}),
        ):
            assert refused.status_code == 409
            assert "withdrawn by" in refused.text
        assert client.post("/v1/decisions", json=released.clients[0]).json()["release"] == second
        told = client.get(f"/v1/decisions/{decided['decision_id']}/notice")
        assert told.status_code == 200, told.text
        assert told.json()["principal_reasons"], "what it decided is explained as before"
    started = subprocess.run(
        [sys.executable, "-m", "aboveboard", "--home", str(home.root), "serve", first, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 1
    assert "income was mis-coded" in started.stderr
