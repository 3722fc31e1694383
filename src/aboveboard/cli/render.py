"""`aboveboard render`: what a service is in one region, as manifests for kubectl, Flux or KServe."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.errors import Conflict


@click.command(name="render")
@click.argument("service_path", metavar="[SERVICE.YAML]", type=click.Path(path_type=Path), default="service.yaml")
@click.option("--region", required=True, help="One of regions.yaml.")
@click.option(
    "--regions",
    "regions_path",
    type=click.Path(path_type=Path),
    default="regions.yaml",
    show_default=True,
    help="Where models may run, and whose law holds there.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The directory to write to."
)
@click.option(
    "--form",
    type=click.Choice(["resource", "objects", "kserve"]),
    default="resource",
    show_default=True,
    help="For our operator, for Kubernetes without it, or for KServe.",
)
@click.option("--image", help="The decision server, registry/name@sha256:…; for objects and kserve.")
@click.option("--repository", help="The OCI repository of releases, registry/name; for objects and kserve.")
@click.option("--registry-secret", help="A Secret with credentials for both.")
@click.option("--force", is_flag=True, help="Write into a directory that holds other files.")
@json_option
def command(
    service_path: Path,
    region: str,
    regions_path: Path,
    out: Path,
    form: str,
    image: str | None,
    repository: str | None,
    registry_secret: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the manifests of a DecisionService in one region.

    A region the service may not run in is refused, and so is one under a law the service is not judged under.
    """
    from aboveboard.deploy.render import Form, context_of, render
    from aboveboard.deploy.services import load_service_file
    from aboveboard.files import write_atomically
    from aboveboard.spec.regions import load_regions

    output = output_of(as_json)
    regions = load_regions(regions_path)
    place = regions.region(region)
    context = None
    if image is not None and repository is not None:
        context = context_of(regions, place, image=image, repository=repository, registry_secret=registry_secret)
    files = render(load_service_file(service_path), place, Form(form), context)
    if not force and out.is_dir() and {path.name for path in out.iterdir()} - files.keys():
        raise Conflict(f"{out} holds other files", hint="name another directory, or give --force")
    for name, text in files.items():
        write_atomically(out / name, text.encode())
    for name in files:
        output.say(f"[green]✓[/] {escape(str(out / name))}")
    output.next(f"kubectl apply --server-side -f {out}")
    output.document({"region": region, "form": form, "files": [str(out / name) for name in files]})
