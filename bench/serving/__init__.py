"""The decision server as a user starts it, driven over loopback: as hard as it goes, and at fixed rates.

`table` measures and prints; `example` makes what is served and asked, `server` runs the server and reads what its
processes use, `closed_loop` and `open_loop` are the clients, `responder` is what the second is measured against.
"""

from __future__ import annotations

from bench.serving.closed_loop import drive
from bench.serving.example import released, requests
from bench.serving.server import counters, running
from bench.serving.table import main

__all__ = ["counters", "drive", "main", "released", "requests", "running"]
