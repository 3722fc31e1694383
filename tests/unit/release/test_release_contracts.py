"""What a release reads of other packages' documents is there in those packages, under the same name."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from aboveboard.data import lineage
from aboveboard.evaluation import report
from aboveboard.policy import facts, verdict
from aboveboard.release import evidence

PAIRS: list[tuple[type[msgspec.Struct], type[msgspec.Struct]]] = [
    (evidence.Measure, report.Measure),
    (evidence.Performance, report.Performance),
    (evidence.Calibration, report.Calibration),
    (evidence.Group, report.GroupFairness),
    (evidence.Attribute, report.AttributeFairness),
    (evidence.Report, report.Report),
    (evidence.Verdict, verdict.GateVerdict),
    (evidence.ModelFacts, facts.ModelFacts),
    (evidence.DataFacts, facts.DataFacts),
    (evidence.Facts, facts.Facts),
    (evidence.Lineage, lineage.Lineage),
]


@pytest.mark.parametrize(("narrow", "whole"), PAIRS, ids=[whole.__name__ for _, whole in PAIRS])
def test_every_member_read_is_written_by_its_owner(narrow: type[msgspec.Struct], whole: type[msgspec.Struct]) -> None:
    read = {field.encode_name for field in msgspec.structs.fields(narrow)}
    assert read <= {field.encode_name for field in msgspec.structs.fields(whole)}


def test_pass_is_the_word_of_the_gate() -> None:
    assert evidence.PASS == verdict.Verdict.PASS


def test_verifying_loads_nothing_of_the_training_side_and_starts_fast() -> None:
    # The time is the processor's, not the wall's: other work on the machine must not fail this.
    heavy = ["pandas", "polars", "sklearn", "scipy", "lightgbm", "optuna", "regopy"]
    heavy += ["aboveboard.evaluation", "aboveboard.data", "aboveboard.policy", "aboveboard.training"]
    code = (
        "import sys, time, aboveboard.release;"
        f"print([m for m in {heavy!r} if m in sys.modules], time.process_time() < 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"
