"""The plan is arithmetic whose every figure says what it stands on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aboveboard.deploy.capacity import Demand, Figures, Ground, load_figures, plan_capacity
from aboveboard.errors import AboveboardError, Misuse, NotFound
from aboveboard.spec.regions import load_regions

REGIONS = load_regions(Path(__file__).parents[3] / "examples" / "regions.yaml")


def demand(tps: float = 2000.0, *regions: str, average: float = 0.3, zones: int = 3) -> Demand:
    return Demand(tps, average, regions or ("eu-west",), retention_months=25, zones=zones)


def test_every_figure_says_what_it_stands_on() -> None:
    for figure in msgspec.to_builtins(load_figures()).values():
        assert figure["ground"] in (Ground.MEASURED, Ground.ASSUMED)
        assert len(figure["source"]) > 20


def test_the_arithmetic_by_hand() -> None:
    figures = load_figures()
    values = {"decisions_per_core": 1000.0, "target_utilisation": 0.5, "cores_per_pod": 1.0, "journal_bytes": 2**20}
    given_figures = msgspec.structs.replace(
        figures,
        **{key: msgspec.structs.replace(getattr(figures, key), value=value) for key, value in values.items()},
        storage_headroom=msgspec.structs.replace(figures.storage_headroom, value=1.0),
    )
    [region] = plan_capacity(Demand(3000, 1.0, ("eu-west",), retention_months=1), given_figures).regions
    assert region.decisions_per_second_per_pod == 500
    assert region.max_replicas == 9  # six for the load, and a third more for a lost zone
    assert region.min_replicas == 7
    assert region.cpu_cores == 9
    # 3,000 decisions a second for 30.44 days of 1 MiB each, over seven pods
    assert region.journal_gib_per_pod == pytest.approx(3000 * 30.44 * 86_400 / 1024 / 7, rel=0.001)


def test_a_region_carries_what_it_may_take_over_and_no_more() -> None:
    plan = plan_capacity(demand(60_000, "eu-west", "eu-central", "br-south"), load_figures(), REGIONS)
    by_name = {region.region: region for region in plan.regions}
    assert by_name["eu-central"].takes_over == 20_000
    assert by_name["eu-west"].takes_over == 20_000
    assert by_name["br-south"].takes_over == 0
    assert by_name["eu-west"].max_replicas > by_name["br-south"].max_replicas


@given(
    tps=st.floats(0.1, 1e6),
    more=st.floats(1, 10),
    average=st.floats(0.01, 1),
    zones=st.integers(1, 6),
)
def test_more_demand_never_needs_less(tps: float, more: float, average: float, zones: int) -> None:
    figures = load_figures()
    [small] = plan_capacity(demand(tps, average=average, zones=zones), figures).regions
    [large] = plan_capacity(demand(tps * more, average=average, zones=zones), figures).regions
    for name in ("min_replicas", "max_replicas", "cpu_cores", "postgresql_gib", "kafka_partitions", "kafka_gib"):
        assert getattr(large, name) >= getattr(small, name)
    assert small.min_replicas <= small.max_replicas
    assert small.max_replicas >= zones
    if zones > 1:  # a lost zone leaves enough
        left = small.max_replicas - -(-small.max_replicas // zones)
        capacity = figures.decisions_per_core.value * figures.cores_per_pod.value
        assert left * capacity >= small.peak_tps * 0.999


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (demand(0), Misuse),
        (demand(float("nan")), Misuse),
        (demand(10, average=0), Misuse),
        (demand(10, "a", "a"), Misuse),
        (Demand(10, 0.5, (), 1), Misuse),
        (Demand(10, 0.5, ("eu-west",), 0), Misuse),
        (demand(10, "mars"), NotFound),
    ],
)
def test_a_demand_that_makes_no_sense_is_refused(wrong: Demand, kind: type[AboveboardError]) -> None:
    with pytest.raises(kind):
        plan_capacity(wrong, load_figures(), REGIONS)


def test_the_plan_is_a_document_with_its_figures() -> None:
    document = plan_capacity(demand(500, "eu-west", "us-east"), load_figures()).as_dict()
    assert [region["region"] for region in document["regions"]] == ["eu-west", "us-east"]
    assert document["cost_inputs_per_month"]["decisions"] == pytest.approx(500 * 0.3 * 30.44 * 86_400, rel=1e-6)
    assert msgspec.convert(document["figures"], Figures) == load_figures()
