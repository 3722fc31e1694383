"""The command line: one module per command group, and nothing but wiring, questions and answers in them.

Every command has `--help` and `--json`; exit codes are in `cli.exits`. Commands are imported when they are
called, so that `aboveboard --help` answers at once. Nothing imports this package.
"""

from __future__ import annotations

from aboveboard.cli.app import main

__all__ = ["main"]
