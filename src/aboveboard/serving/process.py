"""What the server's processes are called by `ps` and `top`, where the system lets them say so."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def call_this_process(name: str) -> None:
    """Name the calling process on Linux: up to 15 ASCII characters; elsewhere, do nothing."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")
