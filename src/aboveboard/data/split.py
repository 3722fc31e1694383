"""Which records train the model, which calibrate it and which judge it. No person is in two parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import DataRefused, Problem
from aboveboard.spec.data import Split

PARTITIONS = ("train", "calibration", "holdout")


def divide(split: Split, people: Sequence[str], moments: NDArray[np.float64] | None) -> dict[str, NDArray[np.int64]]:
    """Return the row numbers (from 0, ascending) of each partition.

    `people` names the person of each record; all records of one person go to one partition. `moments` (n,) is
    needed for a split by time and grows with time.
    """
    if split.method == "time":
        assert moments is not None  # noqa: S101  the contract read them
        assigned = _by_time(split, people, moments)
    else:
        assigned = _by_seed(split, people)
    return {name: np.flatnonzero(assigned == code) for code, name in enumerate(PARTITIONS)}


def position(seed: int, person: str) -> float:
    """Return where a person falls in [0, 1): the first 53 bits of SHA-256 over the seed and the name."""
    digest = hashlib.sha256(b"aboveboard split\n%d\n" % seed + person.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _by_seed(split: Split, people: Sequence[str]) -> NDArray[np.int8]:
    """Assign by position alone, so that a person stays put when records are added, removed or reordered.

    The price is that the shares are met on average and not exactly: of n people, the holdout of share h has a
    standard deviation of sqrt(n h (1 - h)), 14 in a thousand at h = 0.3.
    """
    positions = np.array([position(split.seed, person) for person in people], dtype=np.float64)
    return np.where(
        positions < split.holdout, np.int8(2), np.where(positions < split.holdout + split.calibration, np.int8(1), 0)
    ).astype(np.int8)


def _by_time(split: Split, people: Sequence[str], moments: NDArray[np.float64]) -> NDArray[np.int8]:
    """Hold out the newest records, calibrate on those just before; records of one moment stay together.

    A person with several records goes with the newest of them. Each of the two later parts is the smallest set of
    whole moments that reaches its share.
    """
    _, person = np.unique(np.asarray(people, dtype=np.str_), return_inverse=True)
    newest = np.full(int(person.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(newest, person, moments)
    effective = newest[person]
    distinct, counts = np.unique(effective, return_counts=True)
    from_newest = np.cumsum(counts[::-1])[::-1]  # records at this moment or later
    before = np.append(from_newest[1:], 0)  # records strictly later
    codes = np.where(
        before < split.holdout * len(moments),
        2,
        np.where(before < (split.holdout + split.calibration) * len(moments), 1, 0),
    )
    return np.asarray(codes[np.searchsorted(distinct, effective)], dtype=np.int8)


def require_both_outcomes(
    partitions: dict[str, NDArray[np.int64]], favourable: NDArray[np.bool_], split: Split
) -> None:
    """Raise `DataRefused` unless every partition has favourable and other outcomes."""
    problems = []
    for name in PARTITIONS:
        rows = partitions[name]
        good = int(favourable[rows].sum())
        if len(rows) == 0 or good in (0, len(rows)):
            problems.append(
                Problem(
                    f"split.{name}",
                    f"{len(rows)} records, {good} of them with the favourable outcome: both outcomes are needed",
                    "bring more records of the rarer outcome, or change the shares in data.split"
                    if split.method == "seed"
                    else "choose a finer time column, other shares in data.split, or method: seed",
                )
            )
    if problems:
        raise DataRefused("the data cannot be split as declared", problems, hint=problems[0].hint)
