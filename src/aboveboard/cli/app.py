"""The root command: finds the command asked for, imports only that, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from aboveboard import __version__
from aboveboard.cli import exits
from aboveboard.errors import AboveboardError, Misuse

if TYPE_CHECKING:
    from aboveboard.cli.output import Output
    from aboveboard.settings import Settings

# What `--help` shows, in the order of the road. Importing the modules would take longer than reading the list.
COMMANDS = {
    "demo": "Take a real model the whole road, step by step.",
    "init": "Write a model.yaml for a file of your own data.",
    "check": "Check a model.yaml; report every mistake at once.",
    "run": "Data, training, evaluation and gate: one pass of the pipeline.",
    "runs": "List the runs kept here, or show one.",
    "gate": "Judge a run again, today or as of another day.",
    "release": "Create, approve, list, show and verify releases.",
    "serve": "Answer decisions over HTTP from a verified release.",
    "render": "Write the manifests of a DecisionService in one region.",
    "deploy": "Propose what should run where, as a commit to a Git repository.",
    "plan": "Plan what a decision service needs before it runs.",
    "decide": "Decide about one applicant, or a file of them, with reasons.",
    "review": "Decide what waits for a person: referred by a model, or contested.",
    "contest": "Contest a decision for the person it is about: a human looks at it.",
    "outcome": "Tell what became of a decision, or of a file of them.",
    "audit": "Checkpoints, proofs, search and fsck of the tamper-evident log.",
    "subject": "Show, export or erase what is held about a person.",
    "events": "Decisions from the log to Kafka, outcomes from Kafka into the log.",
    "witness": "Cosign the checkpoints of other people's logs.",
    "operator": "Bring the DecisionServices of a cluster to what they say.",
    "admission": "Answer the API server whether a release may run there.",
    "crds": "Print the custom resource definitions.",
    "schema": "Print the JSON Schema of model.yaml.",
}


# Left out of images without training (deploy/images): nothing that serves, verifies, operates or admits imports them.
TRAINING_ONLY = frozenset({"joblib", "optuna", "polars", "scipy", "sklearn"})


class LazyGroup(click.Group):
    """A group whose commands live in modules of the same name, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the road."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"aboveboard.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for a misspelt one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no such command {args[0]!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="aboveboard")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="ABOVEBOARD_HOME",
    help="Where state is kept. Default: the XDG data home.",
)
@click.option("--actor", envvar="ABOVEBOARD_ACTOR", help="Who is acting, as the log records it.")
@click.pass_context
def root(ctx: click.Context, home: Path | None, actor: str | None) -> None:
    """Ship financial models with fairness, reasons and proof built in.

    \b
    A first look:      aboveboard demo
    Your own data:     aboveboard init loans.csv --target approved --favourable 1 --protected sex
    Exit codes:        0 pass, 1 fail, 2 insufficient evidence, 64 and up misuse
    """
    environment = dict(os.environ)
    if home is not None:
        environment["ABOVEBOARD_HOME"] = str(home)
    if actor is not None:
        environment["ABOVEBOARD_ACTOR"] = actor
    ctx.obj = environment


F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(function)


def json_always(function: F) -> F:
    """Accept `--json` on a command whose output is JSON in any case."""
    text = "Taken for uniformity: the output is JSON in any case."
    return click.option("--json", is_flag=True, expose_value=False, help=text)(function)


def settings_of(ctx: click.Context) -> Settings:
    """Return this process's settings, read from the environment and the root options."""
    from aboveboard.settings import Settings

    environment: dict[str, str] = ctx.find_root().obj
    return Settings.from_environment(environment)


def output_of(as_json: bool) -> Output:
    """Return where a command writes."""
    from aboveboard.cli.output import Output

    return Output(as_json=as_json)


def _stop(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Being asked to stop unwinds like Ctrl-C does, so that nothing half-written and no child is left behind.
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = root.main(given, prog_name="aboveboard", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else exits.PASS)
    except AboveboardError as error:
        output_of("--json" in given).error(error)
        sys.exit(exits.for_error(error))
    except click.UsageError as error:
        error.show()
        sys.exit(exits.MISUSE)
    except click.ClickException as error:
        error.show()
        sys.exit(exits.MISUSE)
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("\ninterrupted: nothing half-written was left; the same command can be run again\n")
        sys.exit(exits.INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Point stdout elsewhere so that the exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exits.PASS)
    except Exception as error:  # noqa: BLE001  a defect of ours: say so, with a code of its own
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in TRAINING_ONLY:
            missing = Misuse(
                "this installation is without training", hint="use an image or an environment that has it"
            )
            output_of("--json" in given).error(missing)
            sys.exit(exits.for_error(missing))
        traceback.print_exc()
        sys.stderr.write("this is a defect in aboveboard; please report it with the lines above\n")
        sys.exit(exits.BUG)
