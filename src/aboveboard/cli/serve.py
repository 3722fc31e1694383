"""`aboveboard serve`: the decision server, in the foreground."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.workspace import Workspace

if TYPE_CHECKING:
    from aboveboard.serving.server import Served
    from aboveboard.serving.tracks import ArmPlan


PEM = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(name="serve")
@click.argument("release")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 answers to other machines, too.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free port.")
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Speak the Open Inference Protocol over gRPC here, too.",
)
@click.option(
    "--clients",
    type=click.Path(path_type=Path, dir_okay=False),
    help="API keys and roles; without it, only this machine is answered.",
)
@click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    help="An identity provider, and what its tokens allow (OpenID Connect).",
)
@click.option("--certificate", type=PEM, help="The server's certificate chain; with it, only TLS is spoken.")
@click.option("--certificate-key", type=PEM, help="The key that belongs to it.")
@click.option("--client-authority", type=PEM, help="Whose certificates clients must have: mutual TLS.")
@click.option("--challenger", metavar="RELEASE", help="A release that decides about a share of the people.")
@click.option(
    "--weight",
    type=click.FloatRange(0, 100),
    default=0.0,
    show_default=True,
    help="The challenger's share, in per cent.",
)
@click.option(
    "--arm",
    "arms",
    metavar="NAME=RELEASE@WEIGHT",
    multiple=True,
    callback=lambda _context, _option, given: tuple(arm_of(text) for text in given),
    help="An arm of an A/B test: a release that decides about a share of the people, in per cent, under a name.",
)
@click.option(
    "--shadow", "shadows", metavar="RELEASE", multiple=True, help="A release that scores, and answers nobody."
)
@click.option(
    "--tracks-by",
    metavar="TEXT",
    help="Who alone says which releases are in service, e.g. a resource of a cluster: PUT /v1/tracks is refused.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that answer, behind one port: one for each core.",
)
@click.option(
    "--database",
    metavar="URL",
    help="Keep the log in PostgreSQL, with every other server on it; or file:PATH, where a URL with a password is. "
    "Default: $ABOVEBOARD_LOG_DATABASE, else the home.",
)
@click.option(
    "--tiles",
    metavar="PLACE",
    help="Publish the log in s3://BUCKET/PREFIX or file:DIRECTORY. Default: $ABOVEBOARD_LOG_TILES, else the "
    "database or the home.",
)
@click.option(
    "--kek",
    metavar="KEY",
    help="The log's key-encryption key: file:PATH, awskms:KEY or vault:[MOUNT/]KEY. Default: $ABOVEBOARD_LOG_KEK, "
    "else a file in the home.",
)
@click.option("--origin", help="The audit log's name on its checkpoints. Default: the one it was opened with first.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    release: str,
    host: str,
    port: int,
    grpc_port: int,
    clients: Path | None,
    identity: Path | None,
    certificate: Path | None,
    certificate_key: Path | None,
    client_authority: Path | None,
    challenger: str | None,
    weight: float,
    arms: tuple[ArmPlan, ...],
    shadows: tuple[str, ...],
    tracks_by: str | None,
    workers: int,
    database: str | None,
    tiles: str | None,
    kek: str | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Answer decisions over HTTP from a verified release.

    RELEASE is a digest, the beginning of one, or a model's name for its newest release. A release that is unsigned,
    unapproved or damaged is refused. Every decision is in the log before it is answered. SIGTERM drains and stops.
    With OTEL_EXPORTER_OTLP_ENDPOINT in the environment, traces of the requests are sent there.
    """
    from aboveboard.serving.options import ServerOptions
    from aboveboard.serving.server import serve
    from aboveboard.serving.telemetry import traces_asked

    out = output_of(as_json)
    workspace = Workspace.of(ctx)

    def ready(url: str, served: Served) -> None:
        # In one write: whoever started this process may read one line and go away.
        out.say(
            f"[green]✓[/] serving [bold]{escape(served.name)}[/] {served.digest[:19]} at {url}\n"
            f"  POST {url}/v1/decisions · {url}/openapi.json · {url}/metrics  [dim](Ctrl-C stops)[/]"
        )
        out.document({"url": url, "model": served.name, "release": served.digest})

    serve(
        workspace.home,
        ServerOptions(
            release=release,
            challenger=challenger,
            weight=weight,
            shadows=shadows,
            arms=arms,
            tracks_by=tracks_by,
            clients=clients,
            identity=identity,
            certificate=certificate,
            certificate_key=certificate_key,
            client_authority=client_authority,
            host=host,
            port=port,
            grpc_port=grpc_port,
            origin=origin or workspace.origin(),
            log=replace(
                workspace.where,
                database=database or workspace.where.database,
                tiles=tiles or workspace.where.tiles,
                kek=kek or workspace.where.kek,
            ),
            workers=workers,
            traces=traces_asked(os.environ),
        ),
        actor=workspace.actor,
        clock=workspace.clock,
        on_ready=ready,
    )


def arm_of(text: str) -> ArmPlan:
    """Return the arm that NAME=RELEASE@WEIGHT asks for; a release may have an @ of its own.

    Raises `BadParameter`.
    """
    import msgspec

    from aboveboard.serving.tracks import ArmPlan

    name, _, rest = text.partition("=")
    release, _, weight = rest.rpartition("@")
    try:
        if not release:
            raise ValueError("there is no release before a weight")
        return msgspec.convert({"name": name, "release": release, "weight": float(weight)}, ArmPlan)
    except (ValueError, msgspec.ValidationError) as error:
        raise click.BadParameter(
            f"{text!r} is not NAME=RELEASE@WEIGHT with a weight from 0 to 100, e.g. longer-history=loans-2@10"
        ) from error
