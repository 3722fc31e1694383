"""`aboveboard plan`: how much hardware a decision service needs."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of

_COLUMNS = (
    "region",
    "peak/s#",
    "of it taken over#",
    "pods",
    "per pod/s#",
    "cores#",
    "memory MiB#",
    "journal GiB/pod#",
    "Kafka partitions#",
    "Kafka GiB/broker#",
    "PostgreSQL",
)


@click.group(name="plan")
def command() -> None:
    """Plan what a decision service needs before it runs."""


@command.command()
@click.option("--tps", type=float, required=True, help="Decisions a second at the busiest, over all regions.")
@click.option("--regions", "names", required=True, help="Where it runs, separated by commas.")
@click.option(
    "--average", type=float, default=0.3, show_default=True, help="The average load, as a share of the peak."
)
@click.option("--retention", type=int, default=25, show_default=True, help="Months for which decisions are kept.")
@click.option(
    "--zones", type=int, default=3, show_default=True, help="Zones of a region; one may be lost at the peak."
)
@click.option("--per-core", type=float, help="Decisions a second that one core of yours makes: measure it.")
@click.option(
    "--regions-file",
    type=click.Path(path_type=Path),
    help="A regions.yaml: regions then carry what they may take over from another that fails.",
)
@json_option
def capacity(
    tps: float,
    names: str,
    average: float,
    retention: int,
    zones: int,
    per_core: float | None,
    regions_file: Path | None,
    as_json: bool,
) -> None:
    """Size pods, autoscaler, Kafka, PostgreSQL and storage, and list what to price.

    Every figure the plan rests on is shown with what it stands on: measured, assumed, or given by you.
    """
    import msgspec

    from aboveboard.deploy.capacity import Demand, Ground, load_figures, plan_capacity
    from aboveboard.errors import Misuse
    from aboveboard.spec.regions import load_regions

    out = output_of(as_json)
    figures = load_figures()
    if per_core is not None:
        if not 0 < per_core < 1e9:
            raise Misuse("--per-core is decisions a second, above 0", hint="measure it: make bench ARGS=serving")
        given = msgspec.structs.replace(
            figures.decisions_per_core, value=per_core, ground=Ground.GIVEN, source="given with --per-core"
        )
        figures = msgspec.structs.replace(figures, decisions_per_core=given)
    regions = load_regions(regions_file) if regions_file is not None else None
    asked = tuple(name.strip() for name in names.split(",") if name.strip())
    plan = plan_capacity(Demand(tps, average, asked, retention, zones), figures, regions)
    out.table(
        _COLUMNS,
        (
            (
                escape(region.region),
                f"{region.peak_tps:,.0f}",
                f"{region.takes_over:,.0f}",
                f"{region.min_replicas} to {region.max_replicas}",
                f"{region.decisions_per_second_per_pod:,}",
                f"{region.cpu_cores:,.0f}",
                f"{region.memory_mib:,}",
                f"{region.journal_gib_per_pod:,}",
                f"{region.kafka_partitions:,}",
                f"{region.kafka_gib:,}",
                f"{region.postgresql_cores} cores, {region.postgresql_gib:,} GiB",
            )
            for region in plan.regions
        ),
    )
    out.say()
    out.table(
        ("to price, per month", "units#"),
        ((name.replace("_", " "), f"{units:,.0f}") for name, units in plan.costs.items()),
    )
    out.say()
    out.table(
        ("rests on", "value#", "unit", "", "because"),
        (
            (name.replace("_", " "), f"{f['value']:,.10g}", f["unit"], f["ground"], escape(f["source"]))
            for name, f in msgspec.to_builtins(figures).items()
        ),
    )
    out.document(plan.as_dict())
