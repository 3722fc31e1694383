"""A small model of the example, for tests of what reads requests: quickly made, and of no use otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aboveboard.models import Encoding
from aboveboard.models.fit import fit_model
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.spec import load_spec

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default" / "model.yaml"
DIGEST = "sha256:" + "ab" * 32


def small_deployment() -> Deployment:
    """Return the example's model, fitted to applicants who never lived."""
    spec = load_spec(EXAMPLE)
    encoding = Encoding.from_spec(spec)
    chance = np.random.default_rng(7)
    columns: dict[str, list[object]] = {f.name: chance.integers(0, 6, 400).tolist() for f in spec.spec.features}
    rows = encoding.encode_columns(columns)
    good = rows[:, 1] + chance.normal(0, 2, 400) < 4
    model = fit_model(spec, rows[:300], good[:300], rows[300:], good[300:], {"n_estimators": 5, "num_leaves": 4}, 1)
    return deploy(DIGEST, {"model.yaml": EXAMPLE.read_bytes(), **{f"model/{n}": c for n, c in model.files().items()}})
