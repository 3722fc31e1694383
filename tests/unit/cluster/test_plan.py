"""What has to change, who acts, and what is said: the pure parts of the operator."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from aboveboard.cluster import desired_objects, load_service
from aboveboard.cluster.judgement import POLICY, RESIDENCY, VERIFIED, Finding, Judgement
from aboveboard.cluster.kube import PLURALS
from aboveboard.cluster.lease import DURATION_SECONDS, held_by, may_take, released, sighted
from aboveboard.cluster.operator import Seen
from aboveboard.cluster.plan import ROLLOUT_HASH, Action, Key, contains, plan, stamped
from aboveboard.cluster.status import Condition, judged, merged, workload_conditions
from aboveboard.errors import Conflict
from tests.cluster_cases import CASES

OWNER = "0000-uid"
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def objects(case: str = "canary") -> list[dict[str, Any]]:
    document, context = CASES[case]
    document = {**document, "metadata": {**document["metadata"], "uid": OWNER}}
    return desired_objects(load_service(document), context)


def in_cluster(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the API server gives them back: with its own fields and defaults."""
    return [{**stamped(copy.deepcopy(item)), "status": {"some": "status"}} for item in items]


def test_an_empty_cluster_gets_everything_in_order() -> None:
    desired = objects()
    changes = plan(desired, [], owner=OWNER)
    assert [change.key for change in changes] == [Key.of(item) for item in desired]
    assert {(change.action, change.reason) for change in changes} == {(Action.APPLY, "missing")}


def test_what_is_as_it_should_be_is_left_alone() -> None:
    desired = objects()
    assert plan(desired, in_cluster(desired), owner=OWNER) == []


def test_drift_and_change_are_told_apart() -> None:
    desired = objects()
    there = in_cluster(desired)
    there[3]["spec"]["egress"].pop()
    there[1]["metadata"]["annotations"]["aboveboard.dev/applied"] = "sha256:older"
    assert [(change.key.name, change.reason) for change in plan(desired, there, owner=OWNER)] == [
        ("loans", "changed"),
        ("loans-allow", "drifted"),
    ]


@pytest.mark.parametrize(
    ("case", "key", "door"),
    [
        ("plain", ("NetworkPolicy", "loans-default-deny"), {"ingress": [{}]}),
        ("plain", ("NetworkPolicy", "loans-default-deny"), {"egress": [{}]}),
        ("plain", ("NetworkPolicy", "loans-allow"), {"ingress": [{}]}),
        ("istio-failover", ("AuthorizationPolicy", "loans"), {"rules": [{}]}),
    ],
)
def test_a_door_that_somebody_puts_in_is_seen(case: str, key: tuple[str, str], door: dict[str, Any]) -> None:
    """What is not said is not compared: who may come in is said, also where it is nobody."""
    desired = objects(case)
    there = in_cluster(desired)
    [wall] = [item for item in there if (item["kind"], item["metadata"]["name"]) == key]
    for side in door:
        if not wall["spec"][side]:
            del wall["spec"][side]  # as the API server keeps an empty list
    assert plan(desired, there, owner=OWNER) == []
    wall["spec"].update(door)
    assert [(change.key.kind, change.reason) for change in plan(desired, there, owner=OWNER)] == [(key[0], "drifted")]


def test_deletions_come_last_and_backwards_and_only_of_what_is_ours() -> None:
    desired = objects("plain")
    there = in_cluster(objects("canary"))
    strangers = copy.deepcopy(there[-1])
    strangers["metadata"]["name"] = "stranger"
    strangers["metadata"]["ownerReferences"] = []
    changes = plan(desired, [*there, strangers], owner=OWNER)
    gone = [str(change.key) for change in changes if change.action is Action.DELETE]
    assert gone == [
        "autoscaling.k8s.io/v1/VerticalPodAutoscaler/loans",
        "monitoring.coreos.com/v1/PrometheusRule/loans",
        "monitoring.coreos.com/v1/ServiceMonitor/loans",
    ]
    assert [change.action for change in changes][-3:] == [Action.DELETE] * 3


def test_an_autoscaler_makes_room_for_another_before_that_comes() -> None:
    """KEDA refuses to scale what a HorizontalPodAutoscaler scales, and the other way round they would fight."""
    item, context = CASES["canary"]
    with_uid = {**item, "metadata": {**item["metadata"], "uid": OWNER}}
    horizontal = desired_objects(load_service(with_uid), context)
    integrations = {**with_uid["spec"]["integrations"], "keda": {}}
    keda = desired_objects(
        load_service({**with_uid, "spec": {**with_uid["spec"], "integrations": integrations}}), context
    )
    for before, after in ((horizontal, keda), (keda, horizontal)):
        kinds = [
            (change.action, change.key.kind)
            for change in plan(after, in_cluster(before), owner=OWNER)
            if change.key.kind in ("HorizontalPodAutoscaler", "ScaledObject")
        ]
        assert [action for action, _ in kinds] == [Action.DELETE, Action.APPLY]


def test_somebody_elses_object_is_not_taken() -> None:
    desired = objects()
    there = in_cluster(desired)
    there[0]["metadata"]["ownerReferences"][0]["uid"] = "another"
    with pytest.raises(Conflict, match="belongs to something else"):
        plan(desired, there, owner=OWNER)


def test_what_nobody_owns_is_adopted_without_force() -> None:
    desired = objects()
    there = in_cluster(desired)
    del there[0]["metadata"]["ownerReferences"]
    (change,) = plan(desired, there, owner=OWNER)
    assert not change.ours


def test_weights_and_selectors_stay_with_the_rollout_controller() -> None:
    desired = objects("separate-pods-istio")
    there = in_cluster(desired)
    stable = next(item for item in there if Key.of(item).name == "loans-stable" and item["kind"] == "Service")
    stable["spec"]["selector"][ROLLOUT_HASH] = "abc"
    route = next(item for item in there if item["kind"] == "VirtualService")
    for backend, weight in zip(route["spec"]["http"][0]["route"], (75, 25), strict=True):
        backend["weight"] = weight
    assert plan(desired, there, owner=OWNER) == []
    route["spec"]["hosts"].append("somebody.example")
    (change,) = plan(desired, there, owner=OWNER)
    assert change.item is not None
    assert [backend["weight"] for backend in change.item["spec"]["http"][0]["route"]] == [75, 25]


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1, "default": 2}]}, {"a": [{"b": 1}]}, True),
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({"a": "x"}, {"a": {}}, False),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"cpu": "2"}, {"cpu": "1000m"}, False),
        ({"a": True}, {"a": "true"}, False),
    ],
)
def test_containing(found: Any, wanted: Any, expected: bool) -> None:
    assert contains(found, wanted) is expected


def test_keys_survive_being_written_down() -> None:
    for item in objects("separate-pods-istio"):
        assert Key.parse(str(Key.of(item))) == Key.of(item)


def test_the_operator_can_reach_every_kind_it_makes() -> None:
    kinds = {item["kind"] for case in CASES for item in objects(case)}
    assert kinds | {*("CronJob", "DecisionService", "Event", "Job", "Lease", "Model", "PolicyPack", "Secret")} == set(
        PLURALS
    )


class TestLease:
    def lease(self, holder: str, version: str) -> dict[str, Any]:
        return {"metadata": {"name": "l", "resourceVersion": version}, "spec": {"holderIdentity": holder}}

    def test_a_lease_that_is_renewed_stays_with_its_holder(self) -> None:
        first = sighted(self.lease("a", "1"), None, 0)
        assert not may_take(first, "b", DURATION_SECONDS - 1)
        assert not may_take(sighted(self.lease("a", "2"), first, 14), "b", 28)
        assert may_take(first, "a", 1)

    def test_a_lease_nobody_renews_is_free_after_its_time_on_our_own_clock(self) -> None:
        first = sighted(self.lease("a", "1"), None, 100)
        again = sighted(self.lease("a", "1"), first, 114)
        assert not may_take(again, "b", 114)
        assert may_take(again, "b", 116)

    def test_taking_over_counts_and_renewing_does_not(self) -> None:
        new = held_by(None, "a", name="l", namespace="n", at=AT)
        assert new["spec"]["leaseTransitions"] == 0
        assert new["spec"]["renewTime"] == "2026-11-21T09:30:00.000000Z"
        kept = held_by(new, "a", name="l", namespace="n", at=AT)
        assert kept["spec"]["leaseTransitions"] == 0
        taken = held_by(kept, "b", name="l", namespace="n", at=AT)
        assert (taken["spec"]["leaseTransitions"], taken["spec"]["holderIdentity"]) == (1, "b")

    def test_given_back_it_is_free_at_once(self) -> None:
        left = released(self.lease("a", "1"))
        left["metadata"]["resourceVersion"] = "2"
        assert may_take(sighted(left, None, 0), "b", 0)


class TestSeen:
    def test_a_silent_watch_is_noticed_however_often_the_service_changes(self) -> None:
        now = [0.0]
        seen = Seen(lambda: now[0])
        seen.event("u", "1")
        service = {"metadata": {"uid": "u", "resourceVersion": "1"}}
        seen.listed([service])
        assert seen.silent_for() == 0
        for moment in (100, 200, 300):
            now[0] = moment
            service["metadata"]["resourceVersion"] = str(moment)
            seen.listed([service])
        assert seen.silent_for() == 200
        seen.event("u", "300")
        seen.listed([service])
        assert seen.silent_for() == 0

    def test_a_busy_watch_that_is_a_little_behind_is_not_silent(self) -> None:
        now = [0.0]
        seen = Seen(lambda: now[0])
        for version in range(1, 10):
            now[0] += 100
            seen.event("u", str(version))
            seen.listed([{"metadata": {"uid": "u", "resourceVersion": str(version + 1)}}])
            assert seen.silent_for() == 0

    def test_a_service_the_watch_never_mentioned(self) -> None:
        now = [0.0]
        seen = Seen(lambda: now[0])
        seen.listed([{"metadata": {"uid": "u", "resourceVersion": "1"}}])
        now[0] = 500
        assert seen.silent_for() == 500
        seen.listed([])
        assert seen.silent_for() == 0


class TestStatus:
    def test_what_was_not_looked_at_is_unknown(self) -> None:
        conditions = {c.type: c.holds for c in judged(Judgement((Finding(VERIFIED, False, "no signature"),)))}
        assert conditions == {"ReleaseVerified": False, "PolicyVerdict": None, "ResidencyHolds": None}

    def test_one_release_of_two_that_fails_is_a_failure(self) -> None:
        findings = [Finding(POLICY, True, "a"), Finding(POLICY, False, "b"), Finding(RESIDENCY, True, "c")]
        conditions = {c.type: (c.holds, c.message) for c in judged(Judgement(tuple(findings)))}
        assert conditions["PolicyVerdict"] == (False, f"{POLICY}: b")

    def test_a_transition_keeps_its_moment_until_the_answer_changes(self) -> None:
        before = merged([], [Condition("Ready", False, "NoPod")], generation=1, at=AT)
        later = AT.replace(hour=10)
        same = merged(before, [Condition("Ready", False, "Else", "x")], generation=2, at=later)
        assert same[0]["lastTransitionTime"] == before[0]["lastTransitionTime"]
        assert same[0]["observedGeneration"] == 2
        other = merged(same, [Condition("Ready", True, "Serving")], generation=2, at=later)
        assert other[0]["lastTransitionTime"] == "2026-11-21T10:30:00.000Z"

    @pytest.mark.parametrize(
        ("status", "ready", "progressing"),
        [
            ({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3}, True, False),
            ({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3}, False, True),
            ({"observedGeneration": 2, "replicas": 4, "readyReplicas": 3, "updatedReplicas": 1}, True, True),
            ({"observedGeneration": 2, "replicas": 3, "readyReplicas": 2, "updatedReplicas": 3}, False, True),
            ({"observedGeneration": "2", "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3}, True, False),
            ({}, False, True),
        ],
    )
    def test_ready_and_progressing(self, status: dict[str, Any], ready: bool, progressing: bool) -> None:
        conditions = workload_conditions({"metadata": {"generation": 2}, "status": status}, 3)
        assert [c.holds for c in conditions] == [ready, progressing]
