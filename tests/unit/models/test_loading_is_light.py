"""The decision server loads a model without the heavy packages that made it, and fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aboveboard.models.shapley import HAS_KERNEL
from aboveboard.spec.types import Family
from tests.unit.models.synthetic_case import applicants, fitted

SCRIPT = """
import json, sys, time
if sys.argv[3] == "without-kernel":
    sys.modules["aboveboard.models._shapley"] = None
from pathlib import Path
from aboveboard.models import load_model
loading = time.perf_counter()
model = load_model({path.name: path.read_bytes() for path in Path(sys.argv[1]).iterdir()})
row = model.encoding.encode(json.loads(sys.argv[2]))
score = float(model.score(row.reshape(1, -1))[0])
reasons = [reason.code for reason in model.reasons(row, "de")]
heavy = {"pandas", "sklearn", "scipy", "polars", "lightgbm", "optuna", "shap"}
from aboveboard.models.shapley import HAS_KERNEL
print(json.dumps({
    "kernel": HAS_KERNEL,
    "heavy": sorted(heavy & set(sys.modules)), "score": score, "reasons": reasons,
    "load": time.perf_counter() - loading,
}))
"""


@pytest.mark.parametrize(
    ("family", "kernel"),
    [
        (Family.LIGHTGBM, "with-kernel"),
        (Family.LIGHTGBM, "without-kernel"),
        (Family.SCORECARD, "with-kernel"),
    ],
)
def test_a_model_loads_and_decides_without_heavy_imports(family: Family, kernel: str, tmp_path: Path) -> None:
    model = fitted(family)
    for name, content in model.files().items():
        (tmp_path / name).write_bytes(content)
    record = {name: values[0] for name, values in applicants()[0].items()}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(record), kernel],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    row = model.encoding.encode(record)
    assert found["heavy"] == []
    assert found["kernel"] == (HAS_KERNEL and kernel == "with-kernel")
    assert found["score"] == model.score(row.reshape(1, -1))[0]
    assert found["reasons"] == [reason.code for reason in model.reasons(row, "de")]
    assert found["load"] < 0.5
