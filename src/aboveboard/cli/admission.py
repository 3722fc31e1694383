"""`aboveboard admission`: the validating webhook, in the foreground."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aboveboard.cli.app import output_of
from aboveboard.cli.installation import Installation, installation_options, judging_process
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import Misuse

if TYPE_CHECKING:
    from aboveboard.cluster.webhook_trust import TrustApi, TrustedCertificate

    Share = Callable[[TrustApi], TrustedCertificate]


@click.command(name="admission")
@installation_options
@click.option(
    "--certificates",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where tls.crt and tls.key are, as cert-manager mounts them. They may be renewed there at any time.",
)
@click.option(
    "--self-signed",
    "names",
    metavar="NAME",
    multiple=True,
    help="Make the certificate there, for this host name, under a root of its own (ca.crt). Several may be given.",
)
@click.option(
    "--shared-secret",
    metavar="NAMESPACE/NAME",
    help="Share that certificate with the other replicas in this Secret, have the API server trust it, and renew it.",
)
@click.option("--host", default="0.0.0.0", show_default=True, help="Where to listen.")  # noqa: S104  in a pod
@click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    installation: Installation,
    certificates: Path,
    names: tuple[str, ...],
    shared_secret: str | None,
    host: str,
    port: int,
) -> None:
    """Answer the API server whether a DecisionService or one of its pods may be.

    A release has to be signed and approved, to pass the policy packs under the law of today, and to be meant for the
    jurisdictions and regions asked for. Whatever cannot be shown is refused. SIGTERM stops.
    """
    import asyncio

    from aboveboard.cluster.admission import Gatekeeper
    from aboveboard.cluster.certificates import ensure_self_signed
    from aboveboard.cluster.kube import Cluster
    from aboveboard.cluster.metrics import AdmissionMetrics
    from aboveboard.cluster.pack_following import PackFollowing
    from aboveboard.cluster.webhook import Webhook, WebhookOptions

    out = output_of(as_json=False)
    workspace = Workspace.of(ctx)
    source = installation.releases(workspace)
    beside: list[Callable[[], Coroutine[Any, Any, None]]] = []
    if shared_secret is not None:
        trusted = _shared(shared_secret, names, certificates, workspace)
        asyncio.run(_first(trusted))
        beside.append(lambda: _keep(trusted))
    elif names:
        ensure_self_signed(certificates, names, clock=workspace.clock)
    judging = ctx.with_resource(judging_process())
    book = installation.book(judging)
    metrics = AdmissionMetrics()
    gatekeeper = Gatekeeper(
        source.verify,
        installation.law(book, judging),
        workspace.clock,
        installation.nodes(),
        installation.regions,
        metrics.judged,
        rehearse=judging.rehearse,
    )
    options = WebhookOptions(certificates / "tls.crt", certificates / "tls.key", host=host, port=port)

    if book is not None:
        beside.append(PackFollowing(Cluster(), book).run)
    server = Webhook(
        gatekeeper, options, beside=beside, ready=lambda: book is None or book.readable(), metrics=metrics
    )
    out.say(f"[green]✓[/] admission at https://{host}:{port}/validate  [dim](Ctrl-C stops)[/]")
    server.run()
    if not server.started:
        raise Misuse(f"cannot listen on {host}:{port}", hint="choose another port, or stop what uses it")


def _shared(secret: str, names: tuple[str, ...], directory: Path, workspace: Workspace) -> Share:
    """Return how the certificate is shared, over a given connection to the API server."""
    from aboveboard.cluster.webhook_trust import TrustedCertificate

    namespace, _, name = secret.partition("/")
    if not namespace or not name:
        raise Misuse(f"{secret!r} does not name a Secret", hint="write it as namespace/name")
    if not names:
        raise Misuse("--shared-secret without --self-signed", hint="say for which host names the certificate is")
    return lambda api: TrustedCertificate(api, name, namespace, names, directory, workspace.clock)


async def _first(share: Share) -> None:
    from aboveboard.cluster.kube import Cluster

    api = Cluster()
    try:
        await share(api).first()
    finally:
        await api.close()


async def _keep(share: Share) -> None:
    from aboveboard.cluster.kube import Cluster

    await share(Cluster()).forever()
