"""A pack is tried before it is believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from aboveboard.policy import load_pack
from aboveboard.policy.rehearsal import PackTest, rehearse
from aboveboard.policy.verdict import Verdict
from tests.unit.policy.test_pack import MANIFEST

REGO = """\
package aboveboard.packs.br

answers["br-review"] := {"verdict": "pass", "message": "named"} if input.governance.humanReview == "desk"

answers["br-review"] := {"verdict": "fail", "message": "not named"} if input.governance.humanReview == null
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(rego: str) -> Path:
        folder = tmp_path / "br"
        folder.mkdir(exist_ok=True)
        (folder / "pack.yaml").write_text(MANIFEST, encoding="utf-8")
        (folder / "br.rego").write_text(rego, encoding="utf-8")
        return folder

    return write


def case(review: str | None, expected: Verdict, *, rule: str = "br-review", day: date = date(2026, 1, 1)) -> PackTest:
    facts = {"model": {"purpose": "credit-decision"}, "governance": {"humanReview": review}}
    return PackTest(name="a review", as_of=day, facts=facts, expect={rule: expected})


def test_tests_that_come_out_as_stated(write: Write) -> None:
    tests = [
        case("desk", Verdict.PASS),
        case(None, Verdict.FAIL),
        case("unknown", Verdict.FAIL),
        case("desk", Verdict.NOT_APPLICABLE, day=date(2031, 1, 1)),
    ]
    assert rehearse(load_pack(write(REGO)), tests) == []
    assert rehearse(load_pack(write(REGO)), []) == []


def test_tests_that_do_not(write: Write) -> None:
    tests = [case(None, Verdict.PASS), case("desk", Verdict.PASS, rule="br-other")]
    wrong, unknown = rehearse(load_pack(write(REGO)), tests)
    assert "br-review says fail, not pass: not named" in str(wrong)
    assert "no rule 'br-other'" in str(unknown)


def test_rego_that_does_not_compile(write: Write) -> None:
    (problem,) = rehearse(load_pack(write(REGO.replace("if input", "if if input"))), [case("desk", Verdict.PASS)])
    assert "does not compile" in str(problem)
