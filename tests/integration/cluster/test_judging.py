"""Judging in a process of its own: the same verdicts, and nobody waits for a pack that never ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster.certificates import ensure_self_signed
from aboveboard.cluster.judgement import Law
from aboveboard.cluster.judging import JudgingProcess, Overran
from aboveboard.cluster.packs import PackBook, read_pack
from aboveboard.errors import GateRefused, SpecInvalid
from aboveboard.policy import PolicyPack, gate, load_packs
from aboveboard.policy.rehearsal import PackTest
from tests.integration.cluster.test_webhook import NAMES, client, webhook
from tests.pack_cases import REGO, pack
from tests.unit.cluster.test_admission import Case, review

FACTS = (Path(__file__).parents[2] / "golden" / "data" / "policy-facts.json").read_bytes()
DAY = date(2026, 11, 21)
ENDLESS = """\
package aboveboard.packs.bank

answers["bank-auc"] := {"verdict": "pass", "message": "found"} if {
    some a in numbers.range(1, 2000)
    some b in numbers.range(1, 2000)
    some c in numbers.range(1, 2000)
    a * b * c == 0 - 1
}
"""
"""It tries eight thousand million products, one after the other."""
GREEDY = """\
package aboveboard.packs.bank

answers["bank-auc"] := {"verdict": "pass", "message": "large"} if {
    count([[a, b] | some a in numbers.range(1, 5000); some b in numbers.range(1, 5000)]) > 1
}
"""
TEST = {"name": "any", "as_of": "2026-06-01", "facts": {"model": {}}, "expect": {"bank-auc": "pass"}}


@pytest.fixture(scope="module")
def judging() -> Iterator[JudgingProcess]:
    made = JudgingProcess(time.monotonic)
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[JudgingProcess]:
    """One that gives up soon."""
    made = JudgingProcess(time.monotonic, limit=1.5, whole=10)
    yield made
    made.close()


def bank(rego: str, name: str = "bank") -> PolicyPack:
    return read_pack(pack(rego=rego, name=name), rehearse=lambda pack, tests: [])


def test_the_verdict_is_that_of_the_gate(judging: JudgingProcess) -> None:
    packs = [*load_packs(["eu", "us"]), bank(REGO)]
    assert judging.verdict(FACTS, packs, DAY) == gate(json.loads(FACTS), packs, DAY)
    assert judging.verdict(FACTS, packs, date(2025, 1, 1)) == gate(json.loads(FACTS), packs, date(2025, 1, 1))


def test_what_the_gate_refuses_is_refused(judging: JudgingProcess) -> None:
    with pytest.raises(GateRefused, match="two packs have the same name"):
        judging.verdict(FACTS, [bank(REGO), bank(REGO)], DAY)
    with pytest.raises(GateRefused, match="not JSON"):
        judging.verdict(b"{", [bank(REGO)], DAY)
    assert judging.verdict(FACTS, [bank(REGO)], DAY).packs[0].name == "bank"


def test_a_rehearsal_says_what_is_wrong(judging: JudgingProcess) -> None:
    tests = [PackTest.model_validate_json(json.dumps({**TEST, "facts": {"performance": {"auc": {"value": 0.5}}}}))]
    assert judging.rehearse(bank(REGO), []) == []
    [problem] = judging.rehearse(bank(REGO), tests)
    assert "says fail, not pass" in problem.message
    [problem] = judging.rehearse(bank("package aboveboard.packs.bank\nanswers["), [])
    assert "does not compile" in problem.message


def test_a_pack_without_end_is_given_up_by_name_and_the_next_is_heard(hasty: JudgingProcess) -> None:
    good, endless = bank(REGO, "good"), bank(ENDLESS)
    began = time.monotonic()
    with pytest.raises(Overran, match=r"policy pack bank did not come to an end within 1\.5 s"):
        hasty.verdict(FACTS, [good, endless], DAY)
    assert time.monotonic() - began < 60
    assert hasty.verdict(FACTS, [good], DAY).packs[0].name == "good"
    # For a while nobody waits for it again; the process that answered is not disturbed.
    process = hasty._process
    with pytest.raises(Overran, match="bank was given up a moment ago"):
        hasty.verdict(FACTS, [good, endless], DAY)
    assert hasty._process is process
    with pytest.raises(Overran, match="bank was given up a moment ago"):
        hasty.rehearse(endless, [])


def test_a_pack_that_takes_all_memory_ends_its_process_only(judging: JudgingProcess) -> None:
    greedy = bank(GREEDY)
    with pytest.raises(Overran, match="policy pack bank needed more memory"):
        judging.verdict(FACTS, [greedy], DAY)
    assert judging.verdict(FACTS, [bank(REGO)], DAY).packs[0].name == "bank"


def test_a_process_that_was_killed_is_replaced(judging: JudgingProcess) -> None:
    judging.verdict(FACTS, [bank(REGO)], DAY)
    assert judging._process is not None
    os.kill(judging._process.pid or 0, signal.SIGKILL)
    judging._process.join()
    assert judging.verdict(FACTS, [bank(REGO)], DAY).packs[0].name == "bank"


def test_a_pack_whose_tests_never_end_is_not_believed_and_not_remembered(hasty: JudgingProcess) -> None:
    document = pack(rego=ENDLESS, tests=[TEST])
    with pytest.raises(Overran):
        read_pack(document, rehearse=hasty.rehearse)
    book = PackBook("aboveboard-system", time.monotonic, rehearse=hasty.rehearse)
    book.replace([document])
    [held] = book.all()
    assert isinstance(held.error, SpecInvalid)
    with pytest.raises(GateRefused, match="given up"):
        book.select("lending", ["eu"])
    book.rehearse = lambda pack, tests: []
    book.replace([document])
    assert book.all()[0].error is None, "it was bad luck"


def test_the_webhook_refuses_what_never_ends_and_goes_on(tmp_path: Path, hasty: JudgingProcess) -> None:
    endless = pack(rego=ENDLESS, namespace="elsewhere")
    book = PackBook("aboveboard-system", time.monotonic)
    book.replace([endless])
    case = Case(tmp_path)
    law = Law(load_packs, select=book.select, judge=hasty.verdict)
    gatekeeper = type(case.gate)(
        case.source.verify, law, case.bank.time, case.gate.node_regions, rehearse=hasty.rehearse
    )
    directory = tmp_path / "tls"
    root = ensure_self_signed(directory, NAMES, clock=lambda: datetime.now(UTC))

    def wanted(namespace: str, item: dict[str, Any]) -> dict[str, Any]:
        asked = review(item)
        asked["request"]["namespace"] = namespace
        return asked

    with webhook(gatekeeper, directory) as port, client(root) as session:

        def ask(namespace: str, item: dict[str, Any]) -> dict[str, Any]:
            answer = session.post(f"https://localhost:{port}/validate", json=wanted(namespace, item), timeout=30)
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()["response"]
            return found

        refused = ask("elsewhere", case.service())
        assert not refused["allowed"]
        assert "policy pack bank did not come to an end within 1.5 s" in refused["status"]["message"]
        assert ask("lending", case.service())["allowed"]
        refused = ask("elsewhere", pack(rego=ENDLESS.replace("2000", "1999"), tests=[TEST]))
        assert not refused["allowed"]
        assert "did not come to an end" in refused["status"]["message"]
        assert ask("elsewhere", pack())["allowed"]
