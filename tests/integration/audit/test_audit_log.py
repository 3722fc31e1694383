"""The audit log through its front door, on a real disk."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aboveboard.audit import AsyncRecorder, AuditLog, Erased, Options, Query, events, verifier
from aboveboard.audit.verifier import VerificationFailed
from aboveboard.clock import timestamp
from aboveboard.errors import Misuse, NotFound, NotVerified, Retained
from tests.audit_cases import NOW, ORIGIN, ManualClock, approval, decision, open_log

WHO: dict[str, Any] = {"actor": "auditor@bank.example", "purpose": "test"}


def test_an_event_is_provable_once_published(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        acknowledgements = log.append_all([decision(n, f"sub-{n}") for n in range(700)])
        assert [item.ordinal for item in acknowledgements] == list(range(700))
        first = log.publish()
        receipt = json.loads(log.receipt("dec-000300", **WHO).to_json())
        assert verifier.verify_receipt(receipt, [log.vkey])["index"] == receipt["index"]
        assert receipt["record"]["decision_id"] == "dec-000300"
        log.append(approval())
        second = log.publish()
        assert second.size > first.size == 700
        proof = json.loads(msgspec.json.encode(log.prove_consistency(first.size, second.size)))
        assert verifier.verify_consistency(proof, log.vkeys)["old_size"] == 700


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n) for n in range(10)])
        before = log.publish()
    with open_log(tmp_path) as log:
        assert log.latest() == before
        log.append(decision(10))
        after = log.publish()
        assert after.size == 11
        log.prove_consistency(before.size)
        event = log.read(3, **WHO)
        assert isinstance(event, events.Decision)
        assert event.decision_id == "dec-000003"
        assert log.fsck().as_dict()["findings"] == []


def test_a_changed_receipt_is_refused(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n) for n in range(5)])
        receipt = json.loads(log.receipt("dec-000002", **WHO).to_json())
        receipt["record"]["score"] = 0.732
        with pytest.raises(VerificationFailed, match="not what the log holds"):
            verifier.verify_receipt(receipt, log.vkeys)


def test_the_verifier_stands_alone(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n) for n in range(300)])
        (tmp_path / "receipt.json").write_bytes(log.receipt("dec-000002", **WHO).to_json())
        log.publish()
    alone = shutil.copy(verifier.__file__, tmp_path / "verifier.py")

    def run(document: Path) -> subprocess.CompletedProcess[str]:
        key = tmp_path / "keys" / "audit-log.vkey"
        command = [sys.executable, "-I", str(alone), str(document), "--key", str(key)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = run(tmp_path / "receipt.json")
    assert (good.returncode, good.stdout[:9]) == (0, "verified:")
    assert run(tmp_path / "audit" / "tiles").returncode == 0
    tile = tmp_path / "audit" / "tiles" / "tile" / "0" / "000"
    tile.write_bytes(tile.read_bytes()[:-1] + b"\0")
    bad = run(tmp_path / "audit" / "tiles")
    assert (bad.returncode, bad.stderr[:13]) == (1, "NOT VERIFIED:")
    assert "aboveboard." not in Path(verifier.__file__).read_text().replace("aboveboard-receipt", "")


def test_erasing_a_person_keeps_every_proof(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_log(tmp_path, clock=clock) as log:
        log.append_all([decision(n, "sub-a" if n % 2 else "sub-b") for n in range(6)])
        before = log.publish()
        receipt = json.loads(log.receipt("dec-000001", **WHO).to_json())
        with pytest.raises(Retained) as barred:
            log.erase("sub-a", actor="dpo", reason="GDPR art. 17")
        assert barred.value.facts["until"] == "2029-01-01"
        clock.advance(days=800)
        erased = log.erase("sub-a", actor="dpo", reason="GDPR art. 17")
        assert (erased.erased_entries, erased.keys_destroyed) == ([1, 3, 5], 1)
        log.publish()
        for leaf in range(6):
            proof = json.loads(msgspec.json.encode(log.prove(leaf)))
            verifier.verify_inclusion(proof, log.vkeys)
        verifier.verify_receipt(receipt, log.vkeys)
        log.prove_consistency(before.size)
        with pytest.raises(Erased):
            log.read(1, **WHO)
        with pytest.raises(NotFound):
            log.receipt("dec-000001", **WHO)
        assert log.find(Query(subject="sub-a"), **WHO) == []
        assert log.find(Query(decision_id="dec-000001"), **WHO) == []
        assert isinstance(log.read(0, **WHO), events.Decision)
        report = log.fsck()
        assert report.as_dict()["findings"] == []
        assert report.erased == 3


def test_nothing_of_an_erased_person_is_left_on_the_disk(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        token = "sub-" + "0123456789abcdef" * 2
        log.append(decision(1, token, features={"IBAN_COUNTRY": "XYZZY"}))
        log.append(decision(2, "sub-other"))
        log.publish()
        log.export(token, **WHO)
        log.erase(token, actor="dpo", reason="court", override="court order 17/26")
        log.publish()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "audit").rglob("*") if path.is_file())
    assert token.encode() not in everything
    assert b"dec-000001" not in everything
    assert b"XYZZY" not in everything
    assert b"dec-000002" in everything  # the search would have found it


def test_a_deferred_erasure_is_carried_out_when_the_hold_ends(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_log(tmp_path, clock=clock) as log:
        log.append(decision(1, "sub-a", retention="P1M"))
        log.append(decision(2, "sub-a", retention="P5Y"))
        asked = log.erase("sub-a", actor="dpo", reason="art. 17", defer=True)
        assert (asked.keys_destroyed, asked.deferred_until) == (0, "2031-12-01")
        assert log.run_due_erasures() == []
        clock.advance(days=60)
        assert log.run_due_erasures() == []  # one key went, the other stays
        log.publish()
        with pytest.raises(Erased):
            log.read(0, **WHO)
        assert isinstance(log.read(1, **WHO), events.Decision)
        log.append(decision(3, "sub-a", time=timestamp(clock()), retention="P10Y"))
        clock.advance(days=366 * 5)
        assert log.run_due_erasures() == [asked.erasure_id]
        log.publish()
        with pytest.raises(Erased):
            log.read(1, **WHO)
        # What came after the request was not asked about.
        assert [entry.decision_id for entry in log.find(Query(subject="sub-a"), **WHO)] == ["dec-000003"]
        assert log.fsck().as_dict()["findings"] == []


def test_a_hold_bars_erasure_until_it_is_lifted(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_log(tmp_path, clock=clock) as log:
        log.append(decision(1, "sub-a", retention="P1D"))
        clock.advance(days=60)
        hold = log.place_hold("sub-a", until=date(2032, 1, 1), basis="AML inquiry", actor="legal")
        with pytest.raises(Retained, match="AML inquiry"):
            log.erase("sub-a", actor="dpo", reason="art. 17")
        log.lift_hold(hold, actor="legal", reason="closed")
        assert log.erase("sub-a", actor="dpo", reason="art. 17").keys_destroyed == 1
        with pytest.raises(NotFound):
            log.lift_hold(hold, actor="legal", reason="closed")


def test_access_to_personal_data_is_logged_without_the_token(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(decision(1, "sub-a"))
        log.publish()
        log.find(Query(subject="sub-a"), actor="mallory", purpose="curiosity")
        export = log.export("sub-a", actor="dpo", purpose="GDPR art. 15")
        assert [item["actor"] for item in export["accesses"]] == ["mallory"]
        assert [item["event"]["decision_id"] for item in export["entries"]] == ["dec-000001"]
        assert export["holds"][0]["until"] == "2029-01-01"
        with pytest.raises(Misuse):
            log.read(0, actor="", purpose="none given")


def test_search(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n % 3}", outcome="approve" if n % 2 else "decline") for n in range(12)])
        log.append(approval())
        log.publish()

        def numbers(**query: object) -> list[str | None]:
            return [entry.decision_id for entry in log.find(Query(**query), **WHO)]  # type: ignore[arg-type]

        assert numbers(decision_id="dec-000004") == ["dec-000004"]
        assert numbers(subject="sub-1") == [f"dec-{n:06d}" for n in (10, 7, 4, 1)]
        assert numbers(subject="sub-1", outcome="decline") == ["dec-000010", "dec-000004"]
        assert numbers(release="sha256:unknown") == []
        assert len(numbers(since=timestamp(NOW), kind="decision/1")) == 12
        assert numbers(until=timestamp(NOW)) == []
        assert numbers(kind="release-approved/1") == [None]


def test_a_server_awaits_durability(tmp_path: Path) -> None:
    async def serve(log: AuditLog) -> int:
        recorder = AsyncRecorder(log)
        answers = await asyncio.gather(*(recorder.append(decision(n, f"sub-{n}")) for n in range(500)))
        return len({answer.ordinal for answer in answers})

    with open_log(tmp_path) as log:
        assert asyncio.run(serve(log)) == 500
        assert log.publish().size == 500


def test_two_processes_write_two_journals_into_one_tree(tmp_path: Path) -> None:
    with open_log(tmp_path) as one, open_log(tmp_path) as two:
        assert one.append(decision(1)).writer == "main"
        assert two.append(decision(2)).writer == "main-2"
        one.append(decision(3))
        assert two.publish().size == 3
        assert one.publish().size == 3
        assert one.fsck().as_dict()["findings"] == []


def test_keys_are_private_and_a_log_keeps_its_name(tmp_path: Path) -> None:
    with open_log(tmp_path):
        pass
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for path in (tmp_path / "keys").glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Misuse):
        open_log(tmp_path, origin="other.example/log")
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "keys" / "audit-kek.key", tmp_path / "other")
    with pytest.raises(NotVerified, match=ORIGIN):
        open_log(tmp_path, origin="other.example/log", keys=tmp_path / "other")


def test_rotation_wraps_every_key_anew(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append_all([decision(n, f"sub-{n}") for n in range(20)])
        log.publish()
        assert log.rotate_vault_key(actor="security") == 20
        log.append(decision(20, "sub-new"))
        log.publish()
        assert isinstance(log.read(3, **WHO), events.Decision)
    with open_log(tmp_path) as log:
        assert isinstance(log.read(3, **WHO), events.Decision)
        assert log.fsck().as_dict()["findings"] == []


def test_suspicions_have_no_place_in_a_general_log(tmp_path: Path) -> None:
    event = events.SuspicionRaised(
        time=timestamp(NOW), subject="sub-a", case_id="c-1", actor="mlro", grounds="structuring", retention="P5Y"
    )
    with open_log(tmp_path) as log, pytest.raises(Misuse):
        log.append(event)
    with open_log(tmp_path / "sar", options=Options(readers=frozenset({"mlro"}))) as log:
        log.append(event)
