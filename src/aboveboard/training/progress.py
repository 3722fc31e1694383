"""What a run reports while it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

Step = Literal["data", "train", "evaluate", "gate"]


class Progress(NamedTuple):
    """A step has come this far: `fraction` runs from 0 to 1, `note` is one line for people."""

    step: Step
    fraction: float
    note: str


Observer = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report to nobody."""
