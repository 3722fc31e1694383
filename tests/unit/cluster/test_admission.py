"""What is admitted and what is not, each refusal naming its rule and how to see the evidence."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster import ReconcileContext, desired_objects, load_service
from aboveboard.cluster.admission import Gatekeeper, wish_of
from aboveboard.cluster.judgement import POLICY, Judgement, Law, Select, judge
from aboveboard.cluster.releases import ReleaseSource
from aboveboard.errors import RequestRefused
from aboveboard.policy import PolicyPack, load_packs
from aboveboard.spec.regions import Regions, parse_regions
from tests.cluster_cases import CONTEXT, document
from tests.cluster_releases import release
from tests.release_cases import OTHER, Bank


class Case:
    """One bank, one approved release that passes, and somebody at the gate."""

    def __init__(self, root: Path, *, select: Select | None = None, regions: Regions | None = None) -> None:
        self.bank = Bank(root)
        self.champion = release(self.bank)
        self.source = ReleaseSource(root / "releases", self.bank.keys.trust_file, fetch=None, clock=self.bank.time)
        self.gate = Gatekeeper(
            self.source.verify,
            Law(load_packs, select=select),
            self.bank.time,
            {"eu-west": ("eu-west-1",), "eu-central": ("eu-c",)},
            regions,
        )

    def service(self, **spec: Any) -> dict[str, Any]:
        return document(**{"releases": {"champion": self.champion}, **spec})

    def pod(self, **spec: Any) -> dict[str, Any]:
        context = ReconcileContext(CONTEXT.image, CONTEXT.repository, node_regions={"eu-west": ("eu-west-1",)})
        template = next(
            item["spec"]["template"]
            for item in desired_objects(load_service(self.service(**spec)), context)
            if item["kind"] in ("StatefulSet", "Deployment")
        )
        return {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}

    def ask(self, item: dict[str, Any], operation: str = "CREATE") -> tuple[bool, str]:
        response = self.gate.answer(json.dumps(review(item, operation)).encode())["response"]
        assert response["uid"] == "u-1"
        return response["allowed"], response.get("status", {}).get("message", "")


def review(item: dict[str, Any], operation: str = "CREATE") -> dict[str, Any]:
    group, _, version = item["apiVersion"].rpartition("/")
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": {"group": group, "version": version, "kind": item["kind"]},
            "resource": {"group": group, "version": version, "resource": "any"},
            "operation": operation,
            "namespace": "lending",
            "object": None if operation == "DELETE" else item,
            "options": {"kind": "CreateOptions"},
        },
    }


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_what_holds_is_admitted(case: Case) -> None:
    assert case.ask(case.service()) == (True, "")
    assert case.ask(case.pod()) == (True, "")


def test_a_release_nobody_knows(case: Case) -> None:
    allowed, message = case.ask(document())
    assert not allowed
    assert "release-verified" in message
    assert "aboveboard release verify sha256:aaaa" in message


def test_a_release_nobody_else_approved(case: Case) -> None:
    digest = release(case.bank, "run-02", approved=False, auc=0.9)
    allowed, message = case.ask(case.service(releases={"champion": digest}))
    assert not allowed
    assert "0 of 1 approvals" in message


def test_a_release_that_was_withdrawn(case: Case) -> None:
    case.bank.store.withdraw(case.champion, withdrawer=OTHER, reason="income was mis-coded")
    allowed, message = case.ask(case.service())
    assert not allowed
    assert "release-verified" in message
    assert f"withdrawn by {OTHER}" in message
    assert "income was mis-coded" in message


def test_one_changed_byte(case: Case) -> None:
    blob = next(
        p for p in (case.bank.root / "releases" / "blobs" / "sha256").iterdir() if p.read_bytes() == b"tree\n"
    )
    blob.write_bytes(b"tREE\n")
    allowed, message = case.ask(case.service())
    assert not allowed
    assert "release-verified" in message


def test_every_release_is_judged_not_only_the_champion(case: Case) -> None:
    other = release(case.bank, "run-02", approved=False, auc=0.9)
    arm = {"name": "other", "release": other, "weight": 1}
    for releases in ({"challenger": {"release": other, "weight": 1}}, {"shadows": [other]}, {"arms": [arm]}):
        allowed, _ = case.ask(case.service(releases={"champion": case.champion, **releases}))
        assert not allowed


def test_arms_that_hold_are_admitted_with_their_pods(case: Case) -> None:
    other = release(case.bank, "run-02", auc=0.9)
    arms = [
        {"name": "control", "release": case.champion, "weight": 10},
        {"name": "other", "release": other, "weight": 10},
    ]
    releases = {"champion": case.champion, "arms": arms}
    assert case.ask(case.service(releases=releases)) == (True, "")
    pod = case.pod(releases=releases)
    assert case.ask(pod) == (True, "")
    pod["metadata"]["annotations"]["aboveboard.dev/releases"] = case.champion
    allowed, message = case.ask(pod)
    assert not allowed
    assert f"the pod loads {other[:19]}" in message


def test_a_verdict_that_says_pass_over_facts_that_do_not(case: Case) -> None:
    """The rules are applied again; the verdict in the release is not what is believed."""
    weak = release(case.bank, "run-02", auc=0.52)
    allowed, message = case.ask(case.service(releases={"champion": weak}))
    assert not allowed
    assert "policy-passes-today" in message
    assert "auc" in message.lower()
    assert "aboveboard gate run-02 --as-of 2026-11-21" in message


def test_the_law_is_that_of_the_day(case: Case) -> None:
    loaded: list[tuple[str, ...]] = []

    def packs(jurisdictions: Sequence[str]) -> list[PolicyPack]:
        loaded.append(tuple(jurisdictions))
        return load_packs(jurisdictions)

    law = Law(packs, kept=1)
    wish = wish_of(load_service(case.service()))
    for day in (date(2026, 11, 21), date(2026, 11, 21), date(2027, 12, 26), date(2026, 11, 21)):
        (finding,) = judge(wish, verify=case.source.verify, law=law, as_of=day).of(POLICY)
        assert day.isoformat() in finding.message
    assert loaded == [("eu", "us")], "packs are read once, whatever is asked"


def test_a_jurisdiction_it_was_not_judged_under(case: Case) -> None:
    allowed, message = case.ask(case.service(jurisdictions=["eu", "uk"]))
    assert not allowed
    assert "jurisdiction-judged" in message
    assert "not uk" in message


def test_a_region_it_may_not_run_in(case: Case) -> None:
    allowed, message = case.ask(case.service(regions=["eu-west", "us-east"]))
    assert not allowed
    assert "residency" in message
    assert "not us-east" in message


REGIONS = """\
apiVersion: aboveboard.dev/v1alpha1
kind: Regions
spec:
  regions:
    - {name: eu-west, cloud: aws, zones: [a], jurisdictions: [eu]}
    - {name: eu-central, cloud: aws, zones: [b], jurisdictions: [CENTRAL]}
  flows: []
"""
RULE = "{name: out, from: [eu], to: [uk], effect: EFFECT, citation: GDPR art. 45}"


def flowing(central: str = "eu", effect: str | None = None) -> Regions:
    text = REGIONS.replace("CENTRAL", central)
    if effect is not None:
        text = text.replace("flows: []", f"flows: [{RULE.replace('EFFECT', effect)}]")
    return parse_regions(text, name="regions.yaml")


@pytest.mark.parametrize(
    ("regions", "where", "said"),
    [
        (flowing(), ["eu-west", "eu-central"], None),
        (flowing("uk"), ["eu-west"], None),
        (flowing("us"), ["eu-west", "eu-central"], "no rule of eu lets data go to us"),
        (flowing("uk", "deny"), ["eu-central"], "may not flow to eu-central: denied: GDPR art. 45"),
        (flowing("uk", "allow"), ["eu-central"], "is under the law of uk, which does not judge this model"),
        (
            parse_regions(REGIONS.replace("CENTRAL", "eu").replace("eu-west", "eu-north"), name="r"),
            ["eu-west"],
            "no region",
        ),
    ],
)
def test_a_flow_of_data_that_no_rule_allows(
    tmp_path: Path, regions: Regions, where: list[str], said: str | None
) -> None:
    case = Case(tmp_path, regions=regions)
    allowed, message = case.ask(case.service(regions=where, jurisdictions=["eu", "us"]))
    if said is None:
        assert allowed, message
    else:
        assert not allowed
        assert "data-flow-allowed" in message
        assert said in message


def test_another_model(case: Case) -> None:
    allowed, message = case.ask(case.service(model="big-loans"))
    assert not allowed
    assert "release-of-the-model" in message


def test_a_service_that_is_not_valid(case: Case) -> None:
    item = case.service()
    item["spec"]["surprise"] = True
    allowed, message = case.ask(item)
    assert not allowed
    assert "surprise" in message


@pytest.mark.parametrize("key", ["aboveboard.dev/releases", "aboveboard.dev/jurisdictions", "aboveboard.dev/regions"])
def test_a_pod_that_does_not_say_what_it_is(case: Case, key: str) -> None:
    pod = case.pod()
    del pod["metadata"]["annotations"][key]
    assert not case.ask(pod)[0]


def test_a_pod_that_loads_something_else_than_it_says(case: Case) -> None:
    pod = case.pod()
    pod["spec"]["containers"][0]["args"][0] = "sha256:" + "e" * 64
    allowed, message = case.ask(pod)
    assert not allowed
    assert "which its annotation does not name" in message


def test_a_pod_that_may_leave_its_region(case: Case) -> None:
    def terms(pod: dict[str, Any]) -> Any:
        affinity = pod["spec"]["affinity"]["nodeAffinity"]
        return affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]

    widened, doubled, without = case.pod(), case.pod(), case.pod()
    terms(widened)[0]["matchExpressions"][0]["values"].append("us-east-1")
    terms(doubled).append({"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]})
    del without["spec"]["affinity"]
    for pod in (widened, doubled, without):
        allowed, message = case.ask(pod)
        assert not allowed
        assert "residency" in message


def test_going_is_always_allowed(case: Case) -> None:
    assert case.ask(document(), "DELETE")[0]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b'{"apiVersion":"v1","kind":"AdmissionReview","request":{}}', b"[" * 100_000]
)
def test_what_is_no_review(case: Case, body: bytes) -> None:
    with pytest.raises(RequestRefused):
        case.gate.answer(body)


def test_another_kind_is_not_waved_through(case: Case) -> None:
    assert not case.ask({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})[0]


def test_nothing_looked_at_is_nothing_shown() -> None:
    assert not Judgement(()).admitted
    assert not Judgement(()).holds("anything")
