from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aboveboard.models import Encoding, Model
from aboveboard.models.fit import fit_model
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.spec import ModelSpec, load_spec

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default" / "model.yaml"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    return load_spec(EXAMPLE)


@pytest.fixture(scope="session")
def rows(spec: ModelSpec) -> NDArray[np.float64]:
    """Applicants who never lived: late payers and punctual ones, shape (800, width)."""
    random = np.random.default_rng(7)
    encoding = Encoding.from_spec(spec)
    columns: dict[str, list[object]] = {}
    for feature in spec.spec.features:
        low, high = (0, 6) if feature.name.startswith("PAY_") and "AMT" not in feature.name else (0, 200_000)
        columns[feature.name] = random.integers(low, high, 800).tolist()
    return encoding.encode_columns(columns)


def fit(spec: ModelSpec, rows: NDArray[np.float64], seed: int) -> Model:
    favourable = rows[:, 1] + np.random.default_rng(seed).normal(0, 2, len(rows)) < 4
    parameters = {"n_estimators": 20, "num_leaves": 7, "min_child_samples": 20}
    return fit_model(spec, rows[:600], favourable[:600], rows[600:], favourable[600:], parameters, seed)


@pytest.fixture(scope="session")
def model(spec: ModelSpec, rows: NDArray[np.float64]) -> Model:
    return fit(spec, rows, 1)


@pytest.fixture(scope="session")
def release_files(model: Model) -> dict[str, bytes]:
    return {"model.yaml": EXAMPLE.read_bytes(), **{f"model/{n}": c for n, c in model.files().items()}}


def without_recourse(release_files: dict[str, bytes]) -> str:
    return re.sub(r" recourse: \{[^}]*\},", "", release_files["model.yaml"].decode())


@pytest.fixture(scope="session")
def changeable(release_files: dict[str, bytes]) -> Deployment:
    """A release that lets the latest payments be changed, and treats the credit line as a term of the application."""
    text = without_recourse(release_files)
    for name, recourse in (
        ("LIMIT_BAL", "{change: increase, step: 5000, most: 500000, counterOffer: true}"),
        ("PAY_0", "{change: decrease}"),
        ("PAY_2", "{change: decrease}"),
        ("PAY_AMT1", "{change: increase, step: 500, most: 50000}"),
    ):
        text = text.replace(f"name: {name}, ", f"name: {name}, recourse: {recourse}, ")
    return deploy(DIGEST, {**release_files, "model.yaml": text.encode()})
