"""The operator with thousands of services: how long it takes, what it asks of the API server, what it holds.

`table` measures and prints; `crowd` is the API server with the services in it, `process` the operator, each a process
of its own.
"""

from __future__ import annotations

from bench.operator.table import main

__all__ = ["main"]
