"""Which change of which object concerns which service."""

from __future__ import annotations

from typing import Any

import pytest

from aboveboard.cluster import desired_objects, load_service
from aboveboard.cluster.kube import PLURALS
from aboveboard.cluster.owned import LABELS, WATCHED, OwnedObjects, owner_of
from tests.cluster_cases import CASES


def item(uid: str = "d-1", *, owner: str | None = "s-1", ready: int = 3, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"uid": uid, "name": "loans", "resourceVersion": str(ready), "generation": 1}
    if owner is not None:
        reference = {"apiVersion": "aboveboard.dev/v1alpha1", "kind": "DecisionService", "name": "loans"}
        metadata["ownerReferences"] = [{**reference, "uid": owner, "controller": True}]
    return {"metadata": metadata, "spec": spec, "status": {"readyReplicas": ready, "conditions": [ready]}}


def test_what_matters_about_a_workload() -> None:
    objects = OwnedObjects("Deployment")
    assert objects.listed([item()]) == {"s-1"}
    assert objects.listed([item()]) == set()
    assert objects.happened("MODIFIED", item(ready=2)) == {"s-1"}
    assert objects.happened("MODIFIED", item(ready=2)) == set()
    assert objects.happened("MODIFIED", item(ready=2, paused=True)) == {"s-1"}
    assert objects.happened("BOOKMARK", item(ready=1)) == set()


def test_the_status_of_anything_else_does_not() -> None:
    objects = OwnedObjects("HorizontalPodAutoscaler")
    assert objects.happened("ADDED", item()) == {"s-1"}
    assert objects.happened("MODIFIED", item(ready=1)) == set()
    assert objects.happened("MODIFIED", item(ready=1, maxReplicas=1)) == {"s-1"}


def test_what_goes_or_changes_hands() -> None:
    objects = OwnedObjects("Service")
    objects.listed([item(), item("d-2", owner="s-2")])
    assert objects.happened("DELETED", item()) == {"s-1"}
    assert objects.happened("DELETED", item()) == set()
    assert objects.happened("MODIFIED", item("d-2", owner="s-3")) == {"s-2", "s-3"}
    assert objects.listed([]) == {"s-3"}


def test_what_belongs_to_nobody_of_ours() -> None:
    objects = OwnedObjects("Service")
    other = item()
    other["metadata"]["ownerReferences"][0]["kind"] = "Other"
    not_controlled = item()
    del not_controlled["metadata"]["ownerReferences"][0]["controller"]
    for stranger in (item(owner=None), other, not_controlled):
        assert owner_of(stranger) is None
        assert objects.happened("ADDED", stranger) == set()
        assert objects.happened("DELETED", stranger) == set()


@pytest.mark.parametrize("case", CASES)
def test_what_is_watched_is_what_is_made(case: str) -> None:
    document, context = CASES[case]
    document = {**document, "metadata": {**document["metadata"], "uid": "s-1"}}
    for made in desired_objects(load_service(document), context):
        assert LABELS.items() <= made["metadata"]["labels"].items()
        assert owner_of(made) == "s-1"
        assert WATCHED.get(made["kind"], made["apiVersion"]) == made["apiVersion"]


def test_every_kind_that_is_watched_can_be_reached() -> None:
    assert set(WATCHED) <= set(PLURALS)
