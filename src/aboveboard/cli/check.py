"""`aboveboard check`: is this model.yaml valid, and what does it say?"""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.output import Output
from aboveboard.spec import ModelSpec, load_spec


@click.command(name="check")
@click.argument("spec_path", metavar="[MODEL.YAML]", type=click.Path(path_type=Path), default="model.yaml")
@json_option
def command(spec_path: Path, as_json: bool) -> None:
    """Check a model.yaml; report every mistake at once, with file, line and hint.

    Reads no data. To check the data against the contract as well: aboveboard run.
    """
    out = output_of(as_json)
    spec = load_spec(spec_path)
    show_contract(out, spec)
    out.say(f"[green]✓[/] {escape(str(spec_path))} is a valid model spec")
    out.next(f"aboveboard run {spec_path}")
    out.document({"valid": True, "model": spec.metadata.name, "spec": spec.model_dump(mode="json", by_alias=True)})


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
