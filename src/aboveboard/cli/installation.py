"""What the operator and the webhook share: where releases come from, whose signatures count, which law."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
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
    from aboveboard.spec.regions import Regions

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Installation:
    """The shared options of one process, and what is made of them."""

    repository: str
    plain_http: bool
    trust: Path
    extra: tuple[Path, ...]
    policy_namespace: str
    without_cluster_packs: bool
    node_regions: tuple[str, ...]
    regions_file: Path | None

    @cached_property
    def regions(self) -> Regions | None:
        """What regions.yaml says, where one is given. Raises `SpecInvalid`, `NotFound`."""
        from aboveboard.spec.regions import load_regions

        return load_regions(self.regions_file) if self.regions_file is not None else None

    def nodes(self) -> Mapping[str, tuple[str, ...]]:
        """Return what nodes say of themselves by region of ours: as in the options, else in regions.yaml."""
        from aboveboard.cluster.context import node_regions_of

        return {**node_regions_of(self.regions), **regions_of(self.node_regions)}

    def releases(self, workspace: Workspace) -> ReleaseSource:
        """Return where verified releases come from: this home, and the registry for what is not here."""
        from aboveboard.cluster.releases import ReleaseSource
        from aboveboard.release.registry import from_environment

        if not self.trust.is_file():
            raise Misuse(f"{self.trust}: no such file", hint="mount the trust.json of your organisation there")
        # An admission is answered within seconds, also while the registry is silent.
        registry = from_environment(self.repository, plain_http=self.plain_http, timeout_seconds=3)
        return ReleaseSource(workspace.home.releases, self.trust, fetch=registry.fetch, clock=workspace.clock)

    def law(self, book: PackBook | None, judging: JudgingProcess) -> Law:
        """Return the law by which this process judges: the built-in packs, those given, and the cluster's."""
        from aboveboard.cluster.judgement import Law
        from aboveboard.policy import load_packs

        return Law(
            lambda jurisdictions: load_packs(jurisdictions, self.extra),
            select=book.select if book is not None else None,
            judge=judging.verdict,
        )

    def book(self, judging: JudgingProcess, *, namespace: str | None = None) -> PackBook | None:
        """Return an empty book of the cluster's packs; with a `namespace`, of that and the policy namespace only."""
        import time

        from aboveboard.cluster.packs import PackBook

        if self.without_cluster_packs:
            return None
        scopes = (None,) if namespace is None else tuple(dict.fromkeys([namespace, self.policy_namespace]))
        return PackBook(self.policy_namespace, time.monotonic, scopes, rehearse=judging.rehearse)


def installation_options(function: F) -> F:
    """Add the shared options to a command, which gets them as `installation`."""

    @wraps(function)
    def wrapped(
        *arguments: Any,
        repository: str,
        plain_http: bool,
        trust: Path,
        extra: tuple[Path, ...],
        policy_namespace: str,
        without_cluster_packs: bool,
        node_regions: tuple[str, ...],
        regions_file: Path | None,
        **options: Any,
    ) -> Any:
        installation = Installation(
            repository, plain_http, trust, extra, policy_namespace, without_cluster_packs, node_regions, regions_file
        )
        return function(*arguments, installation=installation, **options)

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
            click.option(
                "--regions",
                "regions_file",
                type=click.Path(path_type=Path, dir_okay=False),
                help="regions.yaml: how nodes name our regions, which data may flow where, and which may take over.",
            ),
        ]
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # click's decorators keep the signature


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


def regions_of(pairs: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the nodes' values by region, from `REGION=VALUE` pairs."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        region, equals, value = pair.partition("=")
        if not (region and equals and value):
            raise Misuse(f"{pair!r} does not say which region has which value", hint="write eu-west=eu-west-1")
        found[region] = (*found.get(region, ()), value)
    return found
