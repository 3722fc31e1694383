"""The seeds of the fuzzer, whole and damaged: the parsers understand or refuse them, and nothing else comes out."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from aboveboard.errors import RequestRefused
from aboveboard.serving import oip
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.requests import parse_decision
from tests.fault.serving.parsers import GOOD_TOKENS, Parsers, seeds, tokens_of
from tests.fault.serving.small import small_deployment

ROOT = Path(__file__).parents[3]
DAMAGED = 60
"""Inputs made from each seed."""


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return small_deployment()


@pytest.fixture(scope="module")
def parsers(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Parsers:
    return Parsers(deployment, tokens_of(tmp_path_factory.mktemp("identity")))


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """Return a seed with a few bytes changed, taken out, doubled or put in."""
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(seed) + 1), chance.randint(0, 8)
        put = chance.choice(
            [b"", chance.randbytes(length), seed[at : at + length] * 2, b'"', b"}", b"1e999", b"-", b"[[["]
        )
        seed = seed[:at] + put + seed[at + length :]
    return seed


def test_seeds_are_understood(deployment: Deployment, parsers: Parsers, tmp_path: Path) -> None:
    """Otherwise nothing below would be tested but the first line of each parser."""
    given = seeds(deployment)
    assert parse_decision(given[0]).subject == "a"
    assert oip.infer(deployment, given[5]).json_length is None
    declared, _, body = given[8].partition(b"\n")
    assert oip.infer(deployment, body, declared).json_length is not None
    (token,) = GOOD_TOKENS
    assert tokens_of(tmp_path).client(token).name == "desk"
    for seed in given:
        parsers.feed(seed)


def test_damaged_seeds(deployment: Deployment, parsers: Parsers) -> None:
    chance = random.Random(20_261_121)  # noqa: S311  a seed, not a secret
    refused = 0
    for seed in seeds(deployment):
        for _ in range(DAMAGED):
            data = damaged(seed, chance)
            parsers.feed(data)
            with contextlib.suppress(RequestRefused):
                parse_decision(data)
                continue
            refused += 1
    assert refused > DAMAGED * 10


def test_grpc_seeds_whole_and_damaged() -> None:
    subprocess.run([sys.executable, "-m", "tests.fault.serving.grpc_parser"], check=True, cwd=ROOT)
