"""Logs beside logs: regions that anchor each other, and a log nobody is to know of."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from aboveboard.audit import AuditLog, Query, events
from aboveboard.audit.anchoring import anchor, latest_anchor
from aboveboard.audit.confidential import open_confidential
from aboveboard.audit.proof import ConsistencyProof
from aboveboard.clock import timestamp
from aboveboard.errors import Misuse, NotAuthorised, NotVerified
from tests.audit_cases import NOW, ManualClock, decision, open_log


def suspicion(number: int = 1) -> events.SuspicionRaised:
    return events.SuspicionRaised(
        time=timestamp(NOW),
        subject=f"sub-{number}",
        case_id=f"case-{number}",
        actor="mlro",
        grounds="structuring",
        retention="P5Y",
    )


def test_a_region_vouches_for_another(tmp_path: Path) -> None:
    with (
        open_log(tmp_path / "eu", origin="bank.example/eu") as eu,
        open_log(tmp_path / "us", origin="bank.example/us") as us,
    ):
        assert latest_anchor(eu, "bank.example/us") is None
        us.append_all([decision(n) for n in range(5)])
        first = us.publish()
        assert anchor(eu, first.note, us.vkeys, actor="replication", clock=ManualClock()) is not None
        assert anchor(eu, first.note, us.vkeys, actor="replication", clock=ManualClock()) is None
        us.append_all([decision(n) for n in range(5, 9)])
        second = us.publish()
        with pytest.raises(Misuse, match="needs a proof"):
            anchor(eu, second.note, us.vkeys, actor="replication", clock=ManualClock())
        proof = us.prove_consistency(first.size)
        bad = ConsistencyProof(
            proof.origin, [("00" * 32), *proof.proof[1:]], proof.old_checkpoint, proof.new_checkpoint
        )
        with pytest.raises(NotVerified):
            anchor(eu, second.note, us.vkeys, actor="replication", clock=ManualClock(), proof=bad)
        anchor(eu, second.note, us.vkeys, actor="replication", clock=ManualClock(), proof=proof)
        found = latest_anchor(eu, "bank.example/us")
        assert found is not None
        assert (found.size, found.root) == (9, second.root.hex())
        with pytest.raises(NotVerified, match="split view"):
            anchor(eu, first.note, us.vkeys, actor="replication", clock=ManualClock())
        with pytest.raises(NotVerified):
            anchor(eu, second.note, eu.vkeys, actor="replication", clock=ManualClock())
        with pytest.raises(Misuse, match="itself"):
            anchor(eu, eu.publish().note, eu.vkeys, actor="replication", clock=ManualClock())


def test_a_rewritten_region_is_found_out(tmp_path: Path) -> None:
    """The operator of one region makes its log anew, with the same keys and another history."""
    with open_log(tmp_path / "eu", origin="bank.example/eu") as eu:
        with open_log(tmp_path / "us", origin="bank.example/us") as us:
            us.append_all([decision(n) for n in range(5)])
            anchor(eu, us.publish().note, us.vkeys, actor="replication", clock=ManualClock())
        forged_keys = tmp_path / "us" / "keys"
        with AuditLog.open(
            tmp_path / "forged", keys=forged_keys, origin="bank.example/us", clock=ManualClock()
        ) as forged:
            forged.append_all([decision(n, outcome="approve") for n in range(5)])
            five = forged.publish()
            forged.append(decision(6))
            six = forged.publish()
            with pytest.raises(NotVerified, match="split view"):
                anchor(eu, five.note, forged.vkeys, actor="replication", clock=ManualClock())
            with pytest.raises(NotVerified):
                anchor(
                    eu,
                    six.note,
                    forged.vkeys,
                    actor="replication",
                    clock=ManualClock(),
                    proof=forged.prove_consistency(five.size),
                )


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_general_log_does_not_know_of_a_confidential_one(tmp_path: Path) -> None:
    with open_log(tmp_path / "general") as general:
        general.append(decision(1, "sub-1"))
        general.publish()
    before = everything(tmp_path / "general")
    with open_confidential(
        tmp_path / "secret", origin="bank.example/c1", readers={"mlro"}, clock=ManualClock()
    ) as secret:
        secret.append(suspicion())
        secret.publish()
        assert everything(tmp_path / "general") == before
        found = secret.find(Query(subject="sub-1"), actor="mlro", purpose="case-1")
        assert [entry.kind for entry in found] == ["suspicion-raised/1"]
        for call in (
            lambda: secret.find(Query(), actor="clerk", purpose="curiosity"),
            lambda: secret.read(0, actor="clerk", purpose="curiosity"),
            lambda: secret.export("sub-1", actor="clerk", purpose="curiosity"),
            lambda: secret.receipt(index=0, actor="clerk", purpose="curiosity"),
            lambda: secret.erase("sub-1", actor="clerk", reason="curiosity", override="none"),
        ):
            with pytest.raises(NotAuthorised):
                call()
        assert isinstance(secret.read(0, actor="mlro", purpose="case-1"), events.SuspicionRaised)
        assert secret.fsck().clean
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o700
    with open_log(tmp_path / "general") as general:
        assert "suspicion" not in str(general.export("sub-1", actor="dpo", purpose="art. 15"))
        with pytest.raises(Misuse):
            general.append(suspicion())


def test_a_confidential_log_has_readers_and_keys_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(Misuse):
        open_confidential(tmp_path, origin="bank.example/c1", readers=[])
    with pytest.raises(Misuse):
        open_confidential(tmp_path, origin="bank.example/c1", readers=["mlro"], keys=tmp_path)
