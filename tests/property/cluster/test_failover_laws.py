"""Whatever regions.yaml says, no call goes where the law of its people does not let their data go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aboveboard.cluster import desired_objects, load_service
from aboveboard.cluster.context import node_regions_of
from aboveboard.cluster.naming import TAKES_FROM_PREFIX
from aboveboard.spec.regions import FlowRule, Region, Regions, RegionsSpec, failover_set
from tests.cluster_cases import CONTEXT, ISTIO, document

LAWS = ("eu", "uk", "us", "in")
NAMES = ("a", "b", "c", "d", "e")


@st.composite
def regions(draw: st.DrawFn) -> Regions:
    """Regions and flows as they come, unchecked, so that what a file would refuse is tried, too."""
    places = tuple(
        Region(
            name=name,
            cloud="x",
            location=f"cloud-{name}",
            zones=("z",),
            jurisdictions=tuple(draw(st.lists(st.sampled_from(LAWS), min_size=1, max_size=2, unique=True))),
            failover=tuple(draw(st.lists(st.sampled_from([n for n in NAMES if n != name]), unique=True))),
        )
        for name in NAMES
    )
    effects = st.sampled_from(["allow", "deny", "local-copy"])
    flows = tuple(
        FlowRule.model_validate(
            {
                "name": f"rule-{number}",
                "from": draw(st.lists(st.sampled_from(LAWS), min_size=1, unique=True)),
                "to": draw(st.lists(st.sampled_from([*LAWS, "*"]), min_size=1, unique=True)),
                "effect": draw(effects),
                "citation": "a law",
            }
        )
        for number in range(draw(st.integers(0, 4)))
    )
    spec = RegionsSpec.model_construct(regions=places, flows=flows)
    return Regions.model_construct(api_version="aboveboard.dev/v1alpha1", kind="Regions", spec=spec)


def made(known: Regions, here: str, laws: list[str], *, failover: bool) -> list[dict[str, Any]]:
    istio = {**ISTIO, "failover": {}} if failover else ISTIO
    item = load_service(document(regions=[here], jurisdictions=laws, integrations={"istio": istio}))
    context = replace(CONTEXT, region=here, regions=known, node_regions=node_regions_of(known))
    return desired_objects(item, context)


def rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item["spec"] for item in objects if item["kind"] == "DestinationRule"]


def pod_labels(objects: list[dict[str, Any]]) -> set[str]:
    [labels] = [item["spec"]["template"]["metadata"]["labels"] for item in objects if item["kind"] == "StatefulSet"]
    return {key.removeprefix(TAKES_FROM_PREFIX) for key in labels if key.startswith(TAKES_FROM_PREFIX)}


anything = (
    regions(),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(LAWS), min_size=1, unique=True),
)


@given(*anything)
def test_traffic_falls_over_only_to_where_the_data_may_flow(known: Regions, here: str, laws: list[str]) -> None:
    allowed = {region.topology for region in failover_set(known, here)}
    for rule in rules(made(known, here, laws, failover=True)):
        policy = rule["trafficPolicy"]
        assert policy["outlierDetection"], "without it Istio never falls over"
        for each in policy.get("loadBalancer", {}).get("localityLbSetting", {}).get("failover", []):
            assert each["to"] in allowed
            assert each["from"] == f"cloud-{here}"


@given(*anything)
def test_pods_elsewhere_are_chosen_only_where_the_data_may_flow(known: Regions, here: str, laws: list[str]) -> None:
    """Istio's order of localities bars nobody; the labels do: every pod that the subset of `here` can choose."""
    objects = made(known, here, laws, failover=True)
    for rule in rules(objects):
        assert rule["subsets"] == [{"name": "allowed", "labels": {f"{TAKES_FROM_PREFIX}{here}": "true"}}]
    chosen = {place for place in NAMES if here in pod_labels(made(known, place, laws, failover=True))}
    assert here in chosen
    assert chosen <= {here} | {region.name for region in failover_set(known, here)}
    for place in chosen - {here}:
        judged = {*known.region(here).jurisdictions, *known.region(place).jurisdictions}
        assert judged <= set(laws), "nobody decides under a law the service is not judged by"


@given(*anything)
def test_without_failover_every_call_stays_in_its_region(known: Regions, here: str, laws: list[str]) -> None:
    objects = made(known, here, laws, failover=False)
    assert pod_labels(objects) == {here}
    for rule in rules(objects):
        assert "loadBalancer" not in rule["trafficPolicy"]
        assert rule["subsets"]


@given(*anything)
def test_every_route_goes_through_the_subset(known: Regions, here: str, laws: list[str]) -> None:
    for item in made(known, here, laws, failover=True):
        if item["kind"] == "VirtualService":
            for route in item["spec"]["http"]:
                assert {each["destination"]["subset"] for each in route["route"]} == {"allowed"}
