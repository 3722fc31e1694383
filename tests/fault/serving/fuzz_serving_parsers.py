"""Coverage-guided fuzzing of everything in the decision server that reads foreign bytes.

Not part of the test run: `pip install atheris`, then from the root `PYTHONPATH=. python <this file>
-max_total_time=60`. What a parser understands, refuses, and what it must never do, `parsers.py` says; the bytes also
go through the HTTP protocol, with the lane and without, and must be answered alike.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["aboveboard.serving"]):
    from aboveboard.audit import AuditLog
    from aboveboard.clock import system_clock
    from tests.fault.serving.exchange import Front, hold_alike
    from tests.fault.serving.grpc_parser import feed_grpc, grpc_seed
    from tests.fault.serving.parsers import Parsers, seeds, tokens_of
    from tests.fault.serving.small import small_deployment
    from tests.fault.serving.test_lane_bytes import PIECES


def main() -> None:
    """Fuzz until told to stop."""
    logging.disable()  # every refusal of uvicorn's is a warning
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        corpus = root / "corpus"
        corpus.mkdir()
        deployment = small_deployment()
        for number, seed in enumerate([*seeds(deployment), grpc_seed(deployment), *PIECES]):
            (corpus / str(number)).write_bytes(seed)
        with AuditLog.open(root / "audit", keys=root / "keys", origin="fuzz.example/log", clock=system_clock) as log:
            front, parsers = Front(deployment, log), Parsers(deployment, tokens_of(root))

            async def both(data: bytes) -> None:
                at = data[0] % len(data) if data else 0
                chunks = [chunk for chunk in (data[:at], data[at:]) if chunk]
                hold_alike(await front.exchange(chunks, lane=True), await front.exchange(chunks, lane=False))

            def one_input(data: bytes) -> None:
                parsers.feed(data)
                feed_grpc(deployment, data)
                asyncio.run(both(data))

            atheris.Setup([*sys.argv, os.fspath(corpus)], one_input)
            atheris.Fuzz()


if __name__ == "__main__":
    main()
