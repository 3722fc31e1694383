"""Options that the operator and the webhook share: where releases come from, whose signatures count, which law."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aboveboard.cli.workspace import Workspace
from aboveboard.errors import Misuse

if TYPE_CHECKING:
    from aboveboard.cluster.judgement import Law
    from aboveboard.cluster.judging import JudgingProcess
    from aboveboard.cluster.packs import PackBook
    from aboveboard.cluster.releases import ReleaseSource

F = TypeVar("F", bound=Callable[..., Any])


def installation_options(function: F) -> F:
    """Add the shared options to a command."""
    for option in reversed(
        [
            click.option("--releases", "repository", required=True, help="The OCI repository releases come from."),
            click.option("--plain-http", is_flag=True, help="For a registry on this machine, without TLS."),
            click.option(
                "--trust",
                required=True,
                type=click.Path(path_type=Path, dir_okay=False),
                help="The trust.json that says whose signatures count.",
            ),
            click.option(
                "--pack",
                "extra",
                type=click.Path(path_type=Path, exists=True, file_okay=False),
                multiple=True,
                help="A further policy pack. May be given several times.",
            ),
            click.option(
                "--policy-namespace",
                default="aboveboard-system",
                show_default=True,
                help="The namespace whose PolicyPacks judge everywhere; those elsewhere judge their own.",
            ),
            click.option(
                "--without-cluster-packs",
                is_flag=True,
                help="Judge without the cluster's PolicyPacks: for trying out, where there is no cluster.",
            ),
            click.option(
                "--node-region",
                "node_regions",
                metavar="REGION=VALUE",
                multiple=True,
                help="A value of topology.kubernetes.io/region for a region of ours. May be given several times.",
            ),
        ]
    ):
        function = option(function)
    return function


def release_source(workspace: Workspace, repository: str, trust: Path, *, plain_http: bool) -> ReleaseSource:
    """Return where verified releases come from: this home, and the registry for what is not here."""
    from aboveboard.cluster.releases import ReleaseSource
    from aboveboard.release.registry import from_environment

    if not trust.is_file():
        raise Misuse(f"{trust}: no such file", hint="mount the trust.json of your organisation there")
    # An admission is answered within seconds, also while the registry is silent.
    registry = from_environment(repository, plain_http=plain_http, timeout_seconds=3)
    return ReleaseSource(workspace.home.releases, trust, fetch=registry.fetch, clock=workspace.clock)


@contextlib.contextmanager
def judging_process() -> Iterator[JudgingProcess]:
    """Have packs judge in a process of its own for as long as this is entered."""
    import time

    from aboveboard.cluster.judging import JudgingProcess

    judging = JudgingProcess(time.monotonic)
    judging.start()
    try:
        yield judging
    finally:
        judging.close()


def law_of(extra: Sequence[Path], book: PackBook | None, judging: JudgingProcess) -> Law:
    """Return the law by which this process judges: the built-in packs, those in `extra`, and the cluster's."""
    from aboveboard.cluster.judgement import Law
    from aboveboard.policy import load_packs

    return Law(
        lambda jurisdictions: load_packs(jurisdictions, extra),
        select=book.select if book is not None else None,
        judge=judging.verdict,
    )


def book_of(
    policy_namespace: str, judging: JudgingProcess, *, without: bool, namespace: str | None = None
) -> PackBook | None:
    """Return an empty book of the cluster's packs; with a `namespace`, of that one and the policy namespace only."""
    import time

    from aboveboard.cluster.packs import PackBook

    if without:
        return None
    scopes = (None,) if namespace is None else tuple(dict.fromkeys([namespace, policy_namespace]))
    return PackBook(policy_namespace, time.monotonic, scopes, rehearse=judging.rehearse)


def regions_of(pairs: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the nodes' values by region, from `REGION=VALUE` pairs."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        region, equals, value = pair.partition("=")
        if not (region and equals and value):
            raise Misuse(f"{pair!r} does not say which region has which value", hint="write eu-west=eu-west-1")
        found[region] = (*found.get(region, ()), value)
    return found
