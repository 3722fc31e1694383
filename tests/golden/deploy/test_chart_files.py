"""values.yaml, its schema and the CRDs in the chart are what our types say; `make golden` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aboveboard.deploy.chart import chart_files
from aboveboard.deploy.values import Values

CHART = Path(__file__).parents[3] / "deploy" / "chart"


@pytest.mark.parametrize("name", sorted(chart_files()))
def test_generated_files_are_current(name: str, request: pytest.FixtureRequest) -> None:
    text = chart_files()[name]
    path = CHART / name
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"deploy/chart/{name} is not current: run `make golden`"


def test_no_crd_is_left_over() -> None:
    generated = {Path(name).name for name in chart_files() if name.startswith("crds/")}
    assert {path.name for path in (CHART / "crds").iterdir()} == generated


def test_values_yaml_says_what_the_types_say() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert Values.model_validate(values, by_alias=True, by_name=False) == Values()
