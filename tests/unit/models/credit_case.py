"""The credit example at a size that fits a unit test: 30,000 real clients, a model fitted on 3,000 of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aboveboard.models import Encoding, Model
from aboveboard.models.fit import Parameters, fit_model
from aboveboard.spec import ModelSpec, load_spec

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default"
SMALL: Parameters = {"n_estimators": 60, "learning_rate": 0.1, "num_leaves": 15, "min_child_samples": 20}


@dataclass(frozen=True)
class CreditCase:
    """Encoded clients and what became of them, cut into a small training part and a large rest."""

    spec: ModelSpec
    encoding: Encoding
    frame: pl.DataFrame
    rows: NDArray[np.float64]
    favourable: NDArray[np.bool_]
    train: NDArray[np.intp]
    calibration: NDArray[np.intp]
    holdout: NDArray[np.intp]

    @classmethod
    def load(cls) -> CreditCase:
        spec = load_spec(EXAMPLE / "model.yaml")
        frame = pl.read_parquet(EXAMPLE / "credit_default_taiwan.parquet")
        encoding = Encoding.from_spec(spec)
        rows = encoding.encode_columns({f.name: frame[f.name].to_list() for f in spec.spec.features})
        order = np.random.default_rng(2005).permutation(len(rows))
        favourable = (frame[spec.spec.data.target.column] == spec.spec.data.target.favourable).to_numpy()
        return cls(spec, encoding, frame, rows, favourable, order[:3000], order[3000:5000], order[5000:])

    def fit(self, parameters: Parameters = SMALL, *, seed: int = 1, spec: ModelSpec | None = None) -> Model:
        return fit_model(
            spec or self.spec,
            self.rows[self.train],
            self.favourable[self.train],
            self.rows[self.calibration],
            self.favourable[self.calibration],
            parameters,
            seed,
        )
