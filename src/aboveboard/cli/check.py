"""`aboveboard check`: is this model.yaml valid, and what does it say?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.output import Output
from aboveboard.errors import SpecInvalid
from aboveboard.spec import ModelSpec, load_spec

if TYPE_CHECKING:
    from aboveboard.spec.regions import FlowVerdict


@click.command(name="check")
@click.argument("spec_path", metavar="[MODEL.YAML]", type=click.Path(path_type=Path), default="model.yaml")
@click.option(
    "--regions",
    "regions_path",
    type=click.Path(path_type=Path),
    help="A regions.yaml; refuse a region it does not know and a flow of data it does not allow.",
)
@json_option
def command(spec_path: Path, regions_path: Path | None, as_json: bool) -> None:
    """Check a model.yaml; report every mistake at once, with file, line and hint.

    Reads no data. To check the data against the contract as well: aboveboard run.
    """
    out = output_of(as_json)
    spec = load_spec(spec_path)
    flows = check_residency(spec, spec_path, regions_path) if regions_path is not None else []
    show_contract(out, spec)
    for flow in flows:
        out.say(f"[green]✓[/] data may flow from {flow.source} to {flow.target}: {escape(flow.reason)}")
    out.say(f"[green]✓[/] {escape(str(spec_path))} is a valid model spec")
    out.next(f"aboveboard run {spec_path}")
    out.document(
        {
            "valid": True,
            "model": spec.metadata.name,
            "spec": spec.model_dump(mode="json", by_alias=True),
            "flows": [flow.as_dict() for flow in flows],
        }
    )


def check_residency(spec: ModelSpec, spec_path: Path, regions_path: Path) -> list[FlowVerdict]:
    """Return how the model's data flow to where it runs. Raises `SpecInvalid` where a region or a flow is barred."""
    from aboveboard.spec.regions import judge_flow, load_regions, residency_problems

    regions = load_regions(regions_path)
    if problems := residency_problems(spec, regions, name=str(spec_path)):
        raise SpecInvalid(
            f"{spec_path}: the model may not run everywhere it asks to",
            problems,
            hint=f"what may flow where, and by which law, is in {regions_path}",
        )
    source = regions.region(spec.spec.data.source.region)
    return [
        judge_flow(regions.spec.flows, source, regions.region(name), spec.spec.purpose) for name in spec.spec.regions
    ]


def show_contract(out: Output, spec: ModelSpec) -> None:
    """Print what the model may use, and what is protected."""
    body = spec.spec
    out.say(
        f"[bold]{escape(spec.metadata.name)}[/]  {body.purpose} · {body.materiality} materiality · "
        f"jurisdictions {', '.join(body.jurisdictions)} · owner {escape(spec.metadata.owner)}"
    )
    out.table(
        ("may use", "type", "contract", "class", "legal basis", "score grows when it", "reason code"),
        (
            (
                escape(feature.name),
                feature.type,
                escape(_contract(feature.minimum, feature.maximum, feature.categories, feature.max_missing)),
                feature.classification,
                body.legal_basis_of(feature),
                {"increasing": "grows", "decreasing": "falls", "none": "[dim]free[/]"}[feature.monotonic],
                escape(body.reason_texts(feature)[0]),
            )
            for feature in body.features
        ),
    )
    used = {feature.name for feature in body.features}
    out.table(
        ("protected", "column", "groups", "compared with", "used as a feature"),
        (
            (
                escape(attribute.name),
                escape(attribute.column),
                escape(", ".join(group.name for group in attribute.groups)),
                escape(attribute.reference),
                "[red]yes[/]" if attribute.column in used else "[green]no[/]",
            )
            for attribute in body.protected
        ),
    )


def _contract(
    minimum: float | None, maximum: float | None, categories: tuple[object, ...] | None, max_missing: float
) -> str:
    parts = []
    if minimum is not None or maximum is not None:
        low = "" if minimum is None else f"{minimum:,.10g}"
        high = "" if maximum is None else f"{maximum:,.10g}"
        parts.append(f"{low} … {high}".strip())
    if categories is not None:
        shown = ", ".join(str(category) for category in categories[:4])
        parts.append(shown + (f" (+{len(categories) - 4})" if len(categories) > 4 else ""))
    if max_missing:
        parts.append(f"missing ≤ {max_missing:.0%}")
    return "; ".join(parts)
