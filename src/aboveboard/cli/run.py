"""`aboveboard run`: one pass of the pipeline, with its verdict as exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aboveboard.cli import exits
from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.output import Output, short
from aboveboard.cli.workspace import Workspace

if TYPE_CHECKING:
    from aboveboard.training import Observer, Run


@click.command(name="run")
@click.argument("spec_path", metavar="[MODEL.YAML]", type=click.Path(path_type=Path), default="model.yaml")
@click.option("--fast", is_flag=True, help="Skip the search: fit the parameters as the spec states them.")
@json_option
@click.pass_context
def command(ctx: click.Context, spec_path: Path, fast: bool, as_json: bool) -> int:
    """Data, training, evaluation and gate: one pass of the pipeline.

    Keeps the evidence (report, facts, verdict, model) as one run. Exit code: 0 the gate passes, 1 it fails,
    2 the evidence is insufficient.
    """
    from aboveboard.cli.evidence import show_report, show_verdict, verdict_document

    out = output_of(as_json)
    workspace = Workspace.of(ctx)
    run = run_with_progress(out, workspace, spec_path, trials=0 if fast else None)
    show_report(out, run.report)
    show_verdict(out, run.verdict)
    out.say(f"evidence  {short(run.directory)}")
    out.say(f"report    {short(run.directory / 'report.html')}")
    if run.verdict.verdict == "pass":
        out.next(f"aboveboard release create {run.record.id}", "sign it, then have somebody else approve it")
    else:
        out.next(
            f"aboveboard gate {run.record.id}", "judge it again after a policy change; mend the model and run again"
        )
    out.document({"run": run.record.id, "directory": str(run.directory), **verdict_document(run.verdict)})
    return exits.for_verdict(run.verdict.verdict)


def run_with_progress(out: Output, workspace: Workspace, spec_path: Path, *, trials: int | None) -> Run:
    """Run the pipeline with a live progress bar, recording its start and its verdict in the log."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from aboveboard.training import Progress, run_pipeline

    columns = (
        TextColumn("[bold]{task.description:<9}"),
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=out.console, transient=False) as bars, workspace.log() as log:
        tasks = {}

        def observe(progress: Progress) -> None:
            if progress.step not in tasks:
                tasks[progress.step] = bars.add_task(progress.step, total=1.0, note=progress.note)
            bars.update(tasks[progress.step], completed=progress.fraction, note=progress.note)

        observer: Observer = observe
        return run_pipeline(
            spec_path,
            home=workspace.home,
            log=log,
            token_key=workspace.token_key(),
            actor=workspace.actor,
            clock=workspace.clock,
            observe=observer,
            trials=trials,
        )
