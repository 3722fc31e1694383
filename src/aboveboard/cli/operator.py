"""`aboveboard operator`: the operator, in the foreground."""

from __future__ import annotations

import os
import socket

import click

from aboveboard.cli import exits
from aboveboard.cli.app import output_of
from aboveboard.cli.installation import Installation, installation_options, judging_process
from aboveboard.cli.workspace import Workspace


@click.command(name="operator")
@installation_options
@click.option("--image", required=True, help="The image of the decision server, by digest.")
@click.option("--region", help="The region this cluster is in; a service that may not run there is refused.")
@click.option("--registry-secret", help="The Secret with the registry's credentials, in the services' namespaces.")
@click.option(
    "--trust-config-map", default="aboveboard-trust", show_default=True, help="Its trust.json goes into pods."
)
@click.option(
    "--dns-namespace",
    default="kube-system",
    show_default=True,
    help="Where the cluster's DNS is: pods reach it there.",
)
@click.option("--namespace", help="Look after this namespace only. Default: all of them.")
@click.option(
    "--lease-namespace", default="aboveboard-system", show_default=True, help="Where the Lease is that says who acts."
)
@click.option("--resync", type=click.IntRange(10, 86_400), default=600, show_default=True, help="Seconds.")
@click.option(
    "--health-port", type=click.IntRange(1, 65535), default=8081, show_default=True, help="/livez, /readyz."
)
@click.pass_context
def command(
    ctx: click.Context,
    installation: Installation,
    image: str,
    region: str | None,
    registry_secret: str | None,
    trust_config_map: str,
    dns_namespace: str,
    namespace: str | None,
    lease_namespace: str,
    resync: int,
    health_port: int,
) -> int:
    """Bring every DecisionService of a cluster to what it says, and keep it there.

    Several may run; the holder of a Lease acts. Needs the extra: pip install 'aboveboard[cluster]'. SIGTERM stops.
    """
    import asyncio
    import signal
    import time

    from aboveboard.cluster.context import ReconcileContext
    from aboveboard.cluster.controller import Controller
    from aboveboard.cluster.election import Election
    from aboveboard.cluster.kube import Cluster
    from aboveboard.cluster.operator import Operator, OperatorOptions

    out = output_of(as_json=False)
    workspace = Workspace.of(ctx)
    source = installation.releases(workspace)
    context = ReconcileContext(
        image=image,
        repository=installation.repository,
        trust_config_map=trust_config_map,
        registry_secret=registry_secret,
        registry_is_plain_http=installation.plain_http,
        region=region,
        node_regions=installation.nodes(),
        regions=installation.regions,
        dns_namespace=dns_namespace,
    )

    judging = ctx.with_resource(judging_process())

    async def act() -> bool:
        api = Cluster()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{os.getpid()}"
        election = Election(
            api,
            name="aboveboard-operator",
            namespace=lease_namespace,
            identity=identity,
            clock=workspace.clock,
            timer=time.monotonic,
        )
        book = installation.book(judging, namespace=namespace)
        controller = Controller(
            api, context, verify=source.verify, law=installation.law(book, judging), clock=workspace.clock
        )
        options = OperatorOptions(namespace=namespace, resync=resync, health_port=health_port)
        out.say(f"[green]✓[/] operator {identity}; /livez on port {health_port}  [dim](Ctrl-C stops)[/]")
        try:
            operator = Operator(
                api, controller, election, options, timer=time.monotonic, clock=workspace.clock, book=book
            )
            return await operator.run(stop)
        finally:
            await api.close()

    return exits.PASS if asyncio.run(act()) else exits.FAIL
