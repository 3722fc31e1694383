"""`aboveboard release push` and `fetch`: releases to and from an OCI registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
from rich.markup import escape

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import StorageFailed

_PLAIN_HTTP = click.option("--plain-http", is_flag=True, help="For a registry on this machine, without TLS.")


@click.command()
@click.argument("release")
@click.option("--to", "repository", required=True, help="The repository, e.g. registry.bank.example/models/releases.")
@_PLAIN_HTTP
@json_option
@click.pass_context
def push(ctx: click.Context, release: str, repository: str, plain_http: bool, as_json: bool) -> None:
    """Store a release and every statement about it in an OCI registry.

    User and password are those of `docker login` (DOCKER_CONFIG). Push again after an approval or a withdrawal.
    """
    from aboveboard.release.registry import from_environment

    out = output_of(as_json)
    registry = from_environment(repository, plain_http=plain_http)
    digest, statements = Workspace.of(ctx).releases().push(release, registry)
    out.say(f"[green]✓[/] {escape(repository)}@{digest}  with {statements} statements")
    out.document({"release": digest, "repository": repository, "statements": statements})


@click.command()
@click.argument("releases", metavar="DIGEST...", nargs=-1, required=True)
@click.option(
    "--from", "repository", required=True, help="The repository, e.g. registry.bank.example/models/releases."
)
@click.option("--trust", type=click.Path(path_type=Path, dir_okay=False), help="A trust.json to put in place first.")
@click.option(
    "--subject-key", type=click.Path(path_type=Path, dir_okay=False), help="A subject.key to put in place first."
)
@click.option(
    "--volume",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder to look for blobs in first, e.g. where image volumes are mounted.",
)
@_PLAIN_HTTP
@json_option
@click.pass_context
def fetch(
    ctx: click.Context,
    releases: tuple[str, ...],
    repository: str,
    trust: Path | None,
    subject_key: Path | None,
    folder: Path | None,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Fetch releases from an OCI registry by digest, and verify every byte, signature and approval.

    What is here already is not transferred again, but approvals and withdrawals are asked for. Where the registry
    cannot be asked, what is here and holds is enough: a pod starts from its volume. This is what a pod does before
    its decision server starts; where anything does not hold, it does not start.
    """
    from aboveboard.files import close_to_group, storage_errors, write_atomically
    from aboveboard.release.manifest import hexadecimal
    from aboveboard.release.registry import from_environment
    from aboveboard.release.volume import Blobs, Volume

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    for digest in releases:
        hexadecimal(digest)
    keys = workspace.home.keys
    if keys.is_dir():
        close_to_group(keys)
    for source, target in ((trust, keys / "trust.json"), (subject_key, workspace.home.subject_key)):
        if source is not None:
            with storage_errors(source):
                keys.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_atomically(target, source.read_bytes(), mode=0o600)
    store = workspace.releases()
    registry = from_environment(repository, plain_http=plain_http)
    volumes = [Volume(folder)] if folder is not None else []
    away: StorageFailed | None = None

    def from_registry(digest: str, here: Blobs) -> Mapping[str, bytes]:
        nonlocal away
        if away is not None:  # one that is silent is waited for once, not for every release
            raise away
        try:
            return registry.fetch(digest, here, *volumes)
        except StorageFailed as error:
            away = error
            raise

    for digest in releases:
        verified, unasked = store.verify_current(digest, from_registry)
        if unasked is not None:
            out.say(f"[yellow]not asked for what was said about it since:[/] {escape(unasked.message)}")
        approvers = ", ".join(approval.approver for approval in verified.approvals)
        out.say(
            f"[green]✓[/] {digest}  signed by {escape(verified.document.author)}, approved by {escape(approvers)}"
        )
    out.document({"releases": list(releases), "verified": True})
