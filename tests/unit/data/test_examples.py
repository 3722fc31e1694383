from __future__ import annotations

from pathlib import Path

import pytest

from aboveboard.data import load_dataset
from aboveboard.spec import load_spec
from tests.unit.data.data_cases import KEY, clock

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/model.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_is_inside_its_contract_and_attributed(path: Path) -> None:
    dataset = load_dataset(load_spec(path), path.parent, token_key=KEY, clock=clock)
    assert set(dataset.lineage.unassigned.values()) == {0}
    assert dataset.lineage.subjects == dataset.lineage.rows
    attribution = (path.parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert dataset.lineage.source.name in attribution
    assert "CC BY 4.0" in attribution or "Attribution 4.0 International" in attribution


def test_german_credit_keeps_what_it_left_out_out() -> None:
    path = EXAMPLES[1]
    dataset = load_dataset(load_spec(path), path.parent, token_key=KEY, clock=clock)
    assert path.parent.name == "02-german-credit"
    assert [column.name for column in dataset.lineage.dropped] == [
        "residence_since",
        "job",
        "dependents",
        "telephone",
    ]
    assert dataset.frame.height == 1000
