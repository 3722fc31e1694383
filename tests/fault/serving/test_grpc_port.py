"""Somebody takes the gRPC port while the server is still loading: it says so as for its HTTP port, and ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator

import pytest

from aboveboard.settings import Home
from tests.integration.serving.process import Released, launch

MODEL = "credit-default"


@contextlib.contextmanager
def held_up(home: Home) -> Iterator[None]:
    """Keep a server from starting behind the point where it takes up its tracks, until the block ends."""
    home.serving.mkdir(mode=0o700)
    turn = os.open(home.serving / f"{MODEL}.tracks.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(turn, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(turn)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_grpc_port_that_is_taken_meanwhile(released: Released, home: Home, workers: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with socket.socket() as taken:
        with held_up(home):
            process = launch(home, port=0, grpc_port=port, workers=workers, release=released.digests[0])
            ends = time.monotonic() + 60
            while not home.audit.exists():  # it is loading: when it began, the port was free
                assert time.monotonic() < ends
                assert process.poll() is None
                time.sleep(0.02)
            taken.bind(("127.0.0.1", port))
            taken.listen()
        out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 3)
    error = json.loads(err.splitlines()[-1])
    assert (error["code"], error["hint"]) == ("conflict", "stop what uses the port, or choose another")
    assert error["message"] == f"cannot listen on 127.0.0.1:{port}"
    assert "Traceback" not in err
