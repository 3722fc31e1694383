"""`aboveboard demo`: the whole road on real data, each step explained as it happens.

The demo calls what the other commands call and fakes nothing; its numbers are this run's numbers. One module per
leg of the road: `models` (check to gate), `release`, `decisions` (serve and replay), `proof` (audit and erasure).
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from aboveboard.cli.app import output_of
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import NotFound

_EXAMPLE = Path("examples") / "01-credit-default"


@click.command(name="demo")
@click.option("--fast", is_flag=True, help="Skip the search for parameters and replay fewer decisions.")
@click.option("--no-serve", is_flag=True, help="Stop the decision server at the end instead of leaving it up.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Of the decision server."
)
@click.option(
    "--example",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A directory with model.yaml and its data. Default: the credit-card example.",
)
@click.pass_context
def command(ctx: click.Context, fast: bool, no_serve: bool, port: int, example: Path | None) -> int:
    """Take a real model the whole road, step by step.

    30,000 real credit-card clients: contract check, training, fairness with intervals, the law as a gate (which
    refuses one model), a signed release, decisions with reasons over HTTP, and proofs that survive an erasure.
    State goes to a directory `demo` below the home and replaces the last demo's.
    """
    from aboveboard.cli.demo.decisions import DecisionServer, replay
    from aboveboard.cli.demo.models import judge_models
    from aboveboard.cli.demo.proof import prove_and_erase
    from aboveboard.cli.demo.release import sign_and_tamper
    from aboveboard.cli.demo.scene import Scene
    from aboveboard.cli.demo.summary import summarise

    started = time.monotonic()
    scene = Scene.set(output_of(False), Workspace.of(ctx).home, example or _find_example(), fast=fast)
    with scene:
        judged = judge_models(scene)
        release = sign_and_tamper(scene, judged)
        with DecisionServer(scene, release, port) as server:
            replayed = replay(scene, server, judged.champion, count=200 if fast else 400)
            proven = prove_and_erase(scene, server, replayed)
            summarise(
                scene,
                judged,
                release,
                replayed,
                proven,
                server,
                seconds=time.monotonic() - started,
                stays_up=not no_serve,
            )
            if not no_serve:
                server.wait()
    return 0


def _find_example() -> Path:
    """Return the credit-card example below the current directory or beside the sources."""
    for root in (Path.cwd(), *Path(__file__).parents):
        if (root / _EXAMPLE / "model.yaml").is_file():
            return root / _EXAMPLE
    raise NotFound(
        f"no {_EXAMPLE} here",
        hint="run the demo in a checkout of the project, or name a directory with --example",
    )
