"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Shell:
    """Runs `aboveboard` in a home of its own."""

    home: Path
    cwd: Path

    def run(self, *arguments: str | Path, actor: str = "ada@bank.example") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aboveboard", "--home", self.home, "--actor", actor, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.cwd,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "160"},
            timeout=240,
            check=False,
        )

    def json(self, *arguments: str | Path, actor: str = "ada@bank.example", code: int = 0) -> Any:
        finished = self.run(*arguments, "--json", actor=actor)
        assert finished.returncode == code, finished.stderr + finished.stdout
        return json.loads(finished.stdout)
