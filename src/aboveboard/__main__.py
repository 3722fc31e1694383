"""`python -m aboveboard` is the command line."""

from __future__ import annotations

from aboveboard.cli import main

main()
