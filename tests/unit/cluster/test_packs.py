"""Which PolicyPacks can be judged by, which judge where, and what happens when nobody knows."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster import crd_documents
from aboveboard.cluster.judgement import Law
from aboveboard.cluster.pack_status import differs, pack_status
from aboveboard.cluster.packs import PackBook, read_pack
from aboveboard.errors import Conflict, GateRefused, NotFound, SpecInvalid, StorageFailed
from aboveboard.policy import Verdict, load_packs
from tests.cluster_releases import passing_documents
from tests.kubernetes_schemas import problems
from tests.pack_cases import REGO, STRICTER, pack
from tests.unit.cluster.test_admission import Case

DAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOME = "aboveboard-system"
TEST = {
    "name": "a model that guesses",
    "as_of": "2026-06-01",
    "facts": {"model": {"purpose": "credit-decision"}, "performance": {"auc": {"value": 0.5}}},
    "expect": {"bank-auc": "fail"},
}


def book(*packs: dict[str, Any], at: list[float] | None = None, **how: Any) -> PackBook:
    moments = at if at is not None else [0.0]
    made = PackBook(HOME, lambda: moments[0], **how)
    made.replace(packs)
    return made


def selected(made: PackBook, namespace: str, *jurisdictions: str) -> list[str]:
    found = made.select(namespace, jurisdictions)
    return [each.name for each in (*found.general, *found.local)]


def test_a_pack_is_read_and_holds_to_its_definition() -> None:
    document = pack(tests=[TEST], namespaces=["lending"])
    assert read_pack(document).name == "bank"
    assert problems(document, crd_documents()) == []
    assert problems({**document, "spec": {**document["spec"], "notAField": 1}}, crd_documents())


def test_the_digest_is_that_of_what_judges() -> None:
    first = read_pack(pack())
    assert read_pack(pack(tests=[TEST])).digest == first.digest
    assert read_pack(pack(rego=REGO + "\n")).digest != first.digest
    assert read_pack(pack(version="1.0.1")).digest != first.digest


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (pack(rego=REGO.replace("if input", "if if input")), "does not compile"),
        (pack(rego=REGO.replace("packs.bank", "packs.eu")), "is not aboveboard.packs.bank"),
        (pack(effective_from=None), "does not say from when it is law"),
        (pack(name="eu", jurisdiction="eu"), "comes with Aboveboard"),
        (pack(tests=[{**TEST, "expect": {"bank-auc": "pass"}}]), "says fail, not pass"),
        (pack(tests=[{**TEST, "expect": {"bank-other": "pass"}}]), "no rule 'bank-other'"),
        (pack(effective_from="yesterday"), "effective_from"),
        ({**pack(), "metadata": {"name": "other", "namespace": HOME}}, "not the name of the resource"),
        ({"metadata": {"name": "bank"}}, "not a valid policy pack"),
        ({"metadata": {"name": "bank"}, "spec": {"manifest": [], "modules": {}}}, "manifest"),
    ],
)
def test_what_cannot_be_judged_by(document: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        read_pack(document)
    assert said in f"{caught.value.message} {' '.join(map(str, caught.value.problems))}"


def test_a_rule_without_a_citation() -> None:
    document = pack()
    del document["spec"]["manifest"]["rules"][0]["citation"]
    with pytest.raises(SpecInvalid) as caught:
        read_pack(document)
    assert "citation" in str(caught.value.problems[0])


def test_every_problem_at_once() -> None:
    document = pack(effective_from=None, rego=REGO.replace("packs.bank", "packs.eu"))
    document["metadata"]["name"] = "other"
    with pytest.raises(SpecInvalid) as caught:
        read_pack(document)
    assert len(caught.value.problems) == 3


def test_which_packs_judge_where() -> None:
    made = book(
        pack(name="everywhere"),
        pack(name="lending-only", namespaces=["lending"]),
        pack(name="swiss", jurisdiction="ch"),
        pack(name="own", namespace="cards"),
    )
    assert selected(made, "lending", "eu") == ["everywhere", "lending-only"]
    assert selected(made, "cards", "eu") == ["everywhere", "own"]
    assert selected(made, "cards", "eu", "ch") == ["everywhere", "swiss", "own"]


def test_an_invalid_pack_refuses_what_it_selects_and_nothing_else() -> None:
    made = book(pack(namespace="lending", rego="nonsense"), pack(name="swiss", jurisdiction="ch", rego="nonsense"))
    assert selected(made, "cards", "eu") == []
    with pytest.raises(GateRefused, match="lending/bank is not valid"):
        made.select("lending", ["eu"])
    with pytest.raises(GateRefused, match="swiss is not valid"):
        made.select("cards", ["ch"])


def test_nobody_judges_by_what_was_read_too_long_ago() -> None:
    at = [0.0]
    made = book(pack(), at=at, lasts=300)
    at[0] = 300
    assert selected(made, "lending") == ["bank"]
    at[0] = 301
    with pytest.raises(StorageFailed):
        made.select("lending", [])
    made.replace([])
    assert selected(made, "lending") == []
    with pytest.raises(StorageFailed):
        PackBook(HOME, lambda: 0.0).select("lending", [])


def test_every_scope_has_to_be_read() -> None:
    made = PackBook(HOME, lambda: 0.0, scopes=("lending", HOME))
    made.replace([pack(namespace="lending", name="own")], "lending")
    assert not made.readable()
    made.replace([pack()], HOME)
    assert selected(made, "lending") == ["bank", "own"]
    made.replace([], "lending")
    assert selected(made, "lending") == ["bank"]


def test_what_changed_is_told() -> None:
    made = book(pack(), pack(name="other"))
    assert made.put(pack()) == []
    assert made.put({**pack(), "status": {"rules": 1}}) == []
    assert made.put(pack(rego=STRICTER)) == [(HOME, "bank")]
    assert made.drop(pack()) == [(HOME, "bank")]
    assert made.drop(pack()) == []
    assert made.replace([pack(name="other"), pack(name="third")]) == [(HOME, "third")]


def test_a_tenants_pack_adds_to_the_law_and_never_stands_for_a_jurisdiction() -> None:
    facts = json.dumps(passing_documents()["facts"]).encode()
    made = book(pack(namespace="lending", jurisdiction="ch"))
    law = Law(load_packs, select=made.select)
    with pytest.raises(NotFound, match="no policy pack for jurisdiction 'ch'"):
        law.verdict(facts, ["eu", "us", "ch"], DAY, namespace="lending")
    made.replace([pack(jurisdiction="ch")])
    verdict = law.verdict(facts, ["eu", "us", "ch"], DAY, namespace="lending")
    assert "bank" in [record.name for record in verdict.packs]
    assert verdict.verdict is Verdict.PASS
    made.replace([pack(namespace="lending", rego=STRICTER)])
    assert law.verdict(facts, ["eu", "us"], DAY, namespace="lending").verdict is Verdict.FAIL
    assert law.verdict(facts, ["eu", "us"], DAY, namespace="cards").verdict is Verdict.PASS


def test_a_name_that_two_packs_have() -> None:
    facts = json.dumps(passing_documents()["facts"]).encode()
    made = book(pack(), pack(namespace="lending"))
    with pytest.raises(Conflict, match="named bank"):
        Law(load_packs, select=made.select).verdict(facts, ["eu", "us"], DAY, namespace="lending")
    general, own = made.all()
    assert made.rival(own) == general.key
    assert made.rival(general) is None
    status = pack_status(own, rival=made.rival(own), as_of=DAY, at=NOW)
    assert [(c["status"], c["reason"]) for c in status["conditions"]] == [("False", "NameTaken")]
    made.put(pack(namespaces=["cards"]))
    assert made.rival(own) is None


def test_the_status_of_a_pack() -> None:
    document = {**pack(effective_from="2026-11-22"), "status": {}}
    document["metadata"]["generation"] = 3
    made = book(document)
    (held,) = made.all()
    status = pack_status(held, rival=None, as_of=DAY, at=NOW)
    assert held.pack is not None
    assert (status["observedGeneration"], status["rules"], status["inForce"]) == (3, 1, 0)
    assert status["digest"] == held.pack.digest
    assert problems({**pack(), "status": status}, crd_documents()) == []
    assert pack_status(held, rival=None, as_of=date(2026, 11, 22), at=NOW)["inForce"] == 1
    document["status"] = status
    made.put(document)
    (held,) = made.all()
    assert not differs(pack_status(held, rival=None, as_of=DAY, at=NOW.replace(hour=13)), status)
    made.put({**pack(rego="nonsense"), "status": status})
    (held,) = made.all()
    broken = pack_status(held, rival=None, as_of=DAY, at=NOW)
    assert (broken["digest"], broken["conditions"][0]["reason"]) == (None, "Invalid")
    assert "package" in broken["conditions"][0]["message"]


def test_admission_judges_by_the_clusters_packs(tmp_path: Path) -> None:
    made = book(pack())
    case = Case(tmp_path, select=made.select)
    assert case.ask(case.service()) == (True, "")
    assert case.ask(case.pod()) == (True, "")
    made.replace([pack(namespace="lending", rego=STRICTER)])
    for item in (case.service(), case.pod()):
        allowed, message = case.ask(item)
        assert not allowed
        assert "bank-auc (Credit policy 4.1): ranks badly" in message
    made.replace([pack(namespace="cards", rego=STRICTER)])
    assert case.ask(case.service())[0]


def test_admission_fails_closed_while_packs_cannot_be_read(tmp_path: Path) -> None:
    case = Case(tmp_path, select=PackBook(HOME, lambda: 0.0).select)
    allowed, message = case.ask(case.service())
    assert not allowed
    assert "cannot be read" in message


def test_admission_of_a_pack(tmp_path: Path) -> None:
    case = Case(tmp_path)
    assert case.ask(pack(tests=[TEST])) == (True, "")
    allowed, message = case.ask(pack(rego=REGO.replace("if input", "if if input")))
    assert not allowed
    assert "does not compile" in message
    assert case.ask(pack(rego="nonsense"), "DELETE")[0]
