"""What the legs of the demo share: a home of its own, two people, and the way a step is announced."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rich.markup import escape
from rich.rule import Rule

from aboveboard.cli.output import Output
from aboveboard.cli.workspace import Workspace
from aboveboard.errors import Conflict
from aboveboard.files import storage_errors
from aboveboard.settings import Home

AUTHOR = "ada.author@bank.example"
APPROVER = "vera.validator@bank.example"


@dataclass
class Scene:
    """The demo's stage."""

    out: Output
    home: Home
    example: Path
    fast: bool
    _lock: int = -1
    _step: int = 0
    timings: dict[str, float] = field(default_factory=dict)

    @classmethod
    def set(cls, out: Output, home: Home, example: Path, *, fast: bool) -> Scene:
        """Return a scene whose home is the directory `demo` below `home`."""
        return cls(out, Home(home.root / "demo"), example, fast)

    def __enter__(self) -> Self:
        """Take the demo's directory, empty it, and hold it until the demo ends."""
        root = self.home.root
        with storage_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                raise Conflict(
                    f"another demo is using {root}", hint="stop it with Ctrl-C there, or give another --home"
                ) from None
            for path in root.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != ".lock":
                    path.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the directory go; its content stays for a look around."""
        os.close(self._lock)

    def acting(self, actor: str) -> Workspace:
        """Return the demo's workspace as one person sees it."""
        return Workspace(self.home, actor)

    @contextmanager
    def step(self, title: str, why: str) -> Iterator[None]:
        """Announce a step with one line of explanation, and note how long it took."""
        self._step += 1
        self.out.console.print()
        self.out.console.print(Rule(f"[bold]{self._step} · {escape(title)}", align="left", style="cyan"))
        self.out.say(f"[italic]{escape(why)}[/]\n")
        started = time.monotonic()
        yield
        self.timings[title] = time.monotonic() - started
        self.out.say(f"[dim]{self.timings[title]:.1f} s[/]")
