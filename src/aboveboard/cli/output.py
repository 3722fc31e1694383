"""What a command says: rich text for people, one JSON document for programs, errors with what to do next."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aboveboard.errors import AboveboardError, DataRefused, SpecInvalid

MARKS = {
    "pass": "[green]✓ pass[/]",
    "fail": "[red]✗ fail[/]",
    "insufficient": "[yellow]? insufficient[/]",
    "not-applicable": "[dim]– not applicable[/]",
}


class Output:
    """Writes for a person or for a program, never both: in JSON mode `say` and `table` are silent."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        # A pipe has no width of its own; tables fold at 120 columns there.
        width = None if sys.stdout.isatty() else 120
        self.console = Console(quiet=as_json, highlight=False, width=width)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Print a line of rich markup for people."""
        self.console.print(text)

    def next(self, command: str, why: str = "") -> None:
        """Print the command a person would most likely run now, by the name under which they can call it."""
        command = command.replace("aboveboard", _program(), 1)
        self.console.print(
            f"[dim]next:[/] [bold]{escape(command)}[/]" + (f"  [dim]# {escape(why)}[/]" if why else "")
        )

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[object]], *, title: str = "") -> None:
        """Print a table; cells are rich markup. Columns whose name ends in `#` are numbers."""
        table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for column in columns:
            justify: Literal["left", "right"] = "right" if column.endswith("#") else "left"
            table.add_column(column.removesuffix("#"), justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self.console.print(table)

    def document(self, document: Any) -> None:
        """Print the machine's answer: one JSON document, in JSON mode only."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
            sys.stdout.flush()

    def error(self, error: AboveboardError) -> None:
        """Print an error to standard error: what happened, where, and what to do."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": error.as_dict()}, ensure_ascii=False, indent=2, default=str) + "\n")
            return
        self._errors.print(f"[red bold]error:[/] {escape(error.message)}")
        if isinstance(error, SpecInvalid | DataRefused):
            for problem in error.problems:
                self._errors.print(f"  [red]•[/] {escape(str(problem))}")
        if error.hint:
            self._errors.print(f"[dim]hint:[/] {escape(error.hint)}")


def _program() -> str:
    """Return what to type for `aboveboard`: inside a checkout it is often not on the path."""
    if shutil.which("aboveboard"):
        return "aboveboard"
    called = Path(sys.argv[0])
    return str(called) if called.name == "aboveboard" else f"{Path(sys.executable).name} -m aboveboard"


def short(path: Path) -> str:
    """Write a path as a person would type it, with `~` for their home directory; safe within markup."""
    home = Path.home()
    return escape(f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path))


def number(value: float | None, digits: int = 3) -> str:
    """Write a number for a table, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Write a confidence interval for a table."""
    return "" if low is None or high is None else f"[dim]{low:.{digits}f} to {high:.{digits}f}[/]"
