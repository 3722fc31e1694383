"""Runs one decision server as a process of its own: `launch.py HOME '{"release": …}'`; prints its URL when ready."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from aboveboard.clock import system_clock
from aboveboard.errors import AboveboardError
from aboveboard.serving.options import ServerOptions
from aboveboard.serving.server import Served, serve
from aboveboard.serving.tracks import ArmPlan
from aboveboard.settings import Home, LogSettings


def announce(url: str, served: Served) -> None:
    os.write(1, f"{url}\n".encode())


def main() -> None:
    options = json.loads(sys.argv[2])
    for name in ("clients", "identity", "certificate", "certificate_key", "client_authority"):
        if name in options:
            options[name] = Path(options[name])
    if "log" in options:
        options["log"] = LogSettings.from_environment(options["log"])
    if "arms" in options:
        options["arms"] = tuple(ArmPlan(*arm) for arm in options["arms"])
    if "shadows" in options:
        options["shadows"] = tuple(options["shadows"])
    try:
        serve(
            Home(Path(sys.argv[1])),
            ServerOptions(**options),
            actor="tester@bank.example",
            clock=system_clock,
            on_ready=announce,
        )
    except AboveboardError as error:
        sys.stderr.write(json.dumps(error.as_dict()))
        sys.exit(3)


if __name__ == "__main__":
    main()
